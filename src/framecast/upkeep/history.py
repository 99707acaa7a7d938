"""What git keeps: commits, and files as they were, read without checking anything out."""

import os
import posixpath
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from framecast.errors import UserError

AFFECTS_NUMBERS = False
FIELDS = "%H%x00%cs%x00%s"


@dataclass(frozen=True)
class Commit:
    """A commit: its hash, its date as YYYY-MM-DD and the first line of its message."""

    hash: str
    date: str
    subject: str

    @property
    def short(self) -> str:
        """The first nine digits of the hash."""
        return self.hash[:9]


def ask(*arguments: str, given: bytes = b"") -> bytes:
    """What git prints. Raises UserError, one line, where it is not installed or refuses."""
    try:
        command = ["git", "-c", "core.quotePath=false", *arguments]
        done = subprocess.run(command, input=given, capture_output=True, check=False)
    except FileNotFoundError:
        raise UserError("git is not installed, and what it keeps is asked for; install it") from None
    if done.returncode:
        raise UserError(f"git {arguments[0]}: {' '.join(done.stderr.decode(errors='replace').split())}")
    return done.stdout


def commit(revision: str) -> Commit | None:
    """The commit that a revision names, or None where git knows none of that name.

    Raises UserError outside of a repository.
    """
    ask("rev-parse", "--git-dir")
    try:
        found = ask("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except (UserError, ValueError):  # a NUL is no part of a name
        return None
    return _told(ask("log", "-1", f"--format={FIELDS}", found.decode().strip()))


def last_change(at: Commit, path: str) -> Commit | None:
    """The commit, up to this one, that last changed a file; None where none ever did."""
    told = ask("log", "-1", f"--format={FIELDS}", at.hash, "--", path)
    return _told(told) if told else None


def read(at: Commit, path: str) -> bytes | None:
    """A file at a commit, by its path from the working folder; None where that commit has none."""
    return contents([(at, path)])[0]


def contents(wanted: Iterable[tuple[Commit, str]]) -> list[bytes | None]:
    """Files at commits, all by one process of git's; None for each that is not there."""
    prefix = ask("rev-parse", "--show-prefix").decode().rstrip("\n")
    names = [os.fsencode(f"{at.hash}:{posixpath.normpath(prefix + path)}") for at, path in wanted]
    if any(b"\n" in name for name in names):
        raise UserError("a path with a line break; allowed: paths of one line")
    told = ask("cat-file", "--batch", given=b"".join(name + b"\n" for name in names))
    found: list[bytes | None] = []
    for name in names:
        if told.startswith(missing := name + b" missing\n"):
            found.append(None)
            told = told[len(missing) :]
            continue
        header, _, rest = told.partition(b"\n")
        kind, size = header.split()[1:]
        found.append(rest[: int(size)] if kind == b"blob" else None)
        told = rest[int(size) + 1 :]
    return found


def changed(before: Commit, after: Commit | None, folder: str) -> list[str]:
    """The files under a folder that two commits do not share; without a second one, a commit and what is on disk."""
    ends = [before.hash, *([after.hash] if after else [])]
    told = ask("diff", "--name-only", "-z", "--no-renames", "--relative", *ends, "--", folder)
    return [os.fsdecode(name) for name in told.split(b"\0") if name]


def _told(line: bytes) -> Commit:
    return Commit(*line.decode(errors="replace").rstrip("\n").split("\0", 2))
