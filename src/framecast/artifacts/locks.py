"""One writer at a time, on every file system: the kernel's locks, or what can be done without them."""

import errno
import fcntl
import glob
import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

from framecast.artifacts import sha256

AFFECTS_NUMBERS = False
HEARTBEAT_SECONDS = 20
STALE_SECONDS = 300  #: who is on another machine and has shown no sign of life for so long is dead

#: What a file system answers that keeps no locks for the kernel: Lustre without ``-o flock``, NFS without its daemon.
WITHOUT_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK}


class Lock:
    """The right to be the only one who writes something, kept by a file that at most one process holds.

    The kernel keeps it (``flock``) and takes it back from a process that is killed. Where a file system has no such
    locks, a process announces itself by a file beside, then looks for others. Of any two the second sees the first, so
    never do both go on; when both see each other, both withdraw and try again a little later. No name is ever used
    twice, so anybody may remove what the dead have left. Dead is, on this machine, who no longer runs; on another, who
    has not renewed the time of its file for ``STALE_SECONDS``.

    A ``with`` block releases it at the end, the end of the process in any case.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None
        self._announced: _Announced | None = None

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def take(self, seconds: float = 0.0) -> bool:
        """Hold it; False when another process does for longer than these seconds."""
        deadline = time.monotonic() + seconds
        while not (self._file or self._announced or self._taken()):
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.1)
        return True

    def release(self) -> None:
        """Let others have it."""
        if self._announced is not None:
            self._announced.withdraw()
        if self._file is not None:
            self._file.close()
        self._announced = self._file = None

    def _taken(self) -> bool:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = _opened(self.path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        except OSError as error:
            file.close()
            if error.errno not in WITHOUT_LOCKS:
                raise OSError(error.errno, error.strerror, str(self.path)) from None
            self._announced = _announce(self.path)
            return self._announced is not None
        if not _is_at(file, self.path):
            file.close()
            return self._taken()
        self._file = file
        return True


def is_held(path: Path) -> bool:
    """Whether a process holds the ``Lock`` of this path now. Looking makes nothing, and keeps nobody from taking it."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        return any(map(_lives, _announcements(path)))
    return False


def keeps_locks(handle: int) -> bool:
    """Whether the file system of an open file keeps locks for the kernel."""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in WITHOUT_LOCKS:
            return False
        raise
    return True


def _opened(path: Path) -> IO[str]:
    """A file to lock; another user's that is only readable will do on a disk of this machine."""
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.fdopen(os.open(path, flags | os.O_RDWR | os.O_CREAT, 0o666), "r+")
    except PermissionError:
        if not path.exists():
            raise
        return os.fdopen(os.open(path, flags | os.O_RDONLY), "r")


def _is_at(file: IO[str], path: Path) -> bool:
    """Whether an open file still has its name: its last holder may have removed it, and the next one makes another."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


class _Announced:
    """A file that says who holds a lock, renewed until it is withdrawn or the process ends."""

    def __init__(self, path: Path) -> None:
        token = secrets.token_hex(4)
        self.file = path.with_name(f"{path.name}.{_machine()}-{os.getpid()}-{_start_of(os.getpid())}-{token}.held")
        self.file.touch(exist_ok=False)
        _ours.add(self.file.name)
        self._done = threading.Event()
        self._beat = threading.Thread(target=self._renew, daemon=True)
        self._beat.start()

    def withdraw(self) -> None:
        self._done.set()
        self._beat.join()
        self.file.unlink(missing_ok=True)
        _ours.discard(self.file.name)

    def _renew(self) -> None:
        while not self._done.wait(HEARTBEAT_SECONDS):
            with suppress(OSError):  # a full disk must not end a run that can still compute
                os.utime(self.file)


_ours: set[str] = set()  #: announcements of this process since it runs this program


def _announce(path: Path, tries: int = 5) -> _Announced | None:
    """Announce this process and look for others; None where one of them lives."""
    for attempt in range(tries):
        if attempt:
            time.sleep(0.05 * (1 + secrets.randbelow(8)))  # the other one of two may have withdrawn as well
        announced = _Announced(path)
        others = [file for file in _announcements(path) if file != announced.file]
        dead = [file for file in others if not _lives(file)]
        if len(dead) == len(others):
            for file in dead:
                file.unlink(missing_ok=True)
            return announced
        announced.withdraw()
    return None


def _announcements(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{glob.escape(path.name)}.*-*-*-*.held"))


def _lives(announcement: Path) -> bool:
    """Whether the process of an announcement still runs, or may run."""
    try:
        machine, pid, start, _ = announcement.name.removesuffix(".held").rsplit(".", 1)[1].split("-")
        if machine == _machine() and int(pid) == os.getpid():
            return announcement.name in _ours  # else it was announced before this process became another program
        if machine == _machine() and (runs := _runs(int(pid), start)) is not None:
            return runs
        return abs(time.time() - announcement.stat().st_mtime) < STALE_SECONDS
    except (FileNotFoundError, ValueError):
        return False


def _runs(pid: int, start: str) -> bool | None:
    """Whether a process of this machine runs that started then; None where another user's cannot be seen."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    found = _start_of(pid)
    return found == start if found else None


def _start_of(pid: int) -> str:
    """When a process started, in ticks since this machine did; empty for one that has ended or is hidden."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return told.rpartition(")")[2].split()[19]


@cache
def _machine() -> str:
    """This machine since it was started, as far as its processes see each other; where that is hidden, nobody's."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        seen = os.readlink("/proc/self/ns/pid")
    except OSError:
        return secrets.token_hex(6)
    return sha256(f"{socket.gethostname()} {boot} {seen}")[:12]
