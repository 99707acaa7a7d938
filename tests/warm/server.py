"""A process that has imported torch, Snakemake and DVC once; each program that it is asked for runs in a child of it.

It imports only what lies in site-packages. framecast and its plugin for Snakemake are imported by the child, from where
the child's own PYTHONPATH says, so that a test always runs the source that it stands on. A child has the working
directory, environment, umask and standard streams of whoever asked, and leaves through the interpreter's own exit.

    python server.py FOLDER PID    # answers at FOLDER/socket until the process PID is gone, then removes FOLDER
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import selectors
import shutil
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: What the programs import, third parties' only. What is forgotten here costs time and nothing else.
# fmt: off
PRELOADED = (
    "torch", "torch.nn.utils.stateless", "safetensors.torch", "safetensors.numpy", "numpy.random", "pandas",
    "pandas.io.formats.style", "pydantic", "yaml", "jinja2", "jaxtyping", "typer.main", "typer._adapters",
    "typer._click.decorators", "rich.console", "rich.table", "rich.live", "psutil", "pooch", "requests",
    "matplotlib.pyplot", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "mpl_toolkits",
    "skimage.metrics", "sklearn.datasets", "scipy.stats", "scipy.ndimage", "PIL.Image", "PIL.PngImagePlugin",
    "PIL.GifImagePlugin", "snakemake.cli", "snakemake.api", "snakemake.workflow", "snakemake.linting",
    "snakemake.profiles", "snakemake.assets", "snakemake.report.html_reporter", "snakemake_executor_plugin_slurm",
    "argparse_dataclass", "yte", "docutils.core", "docutils.writers", "dvc.cli", "dvc.cli.parser", "dvc._debug",
    "dvc.repo", "dvc.repo.reproduce", "dvc.repo.status", "dvc.repo.checkout", "dvc.repo.commit", "dvc.repo.push",
    "dvc.repo.pull", "dvc.repo.metrics.diff", "dvc.stage.run", "dvc.scm", "dvc.dependency.param", "dvc.output",
    "dvc.cachemgr",
)
# fmt: on

#: Only the start of an interpreter or the loading of a library heeds these: who sets them needs the real program.
STARTUP = ("PYTHON", "OMP_", "MKL_", "LD_", "MALLOC_", "LANG", "LC_")
#: Except these, which Snakemake tells its jobs: torch can be told later.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
OURS = ("framecast", "snakemake_executor_plugin_slurm_patient")
PROGRAMS = {
    "framecast": "framecast.cli:main",
    "snakemake": "snakemake.cli:main",
    "dvc": "dvc.cli:main",
}


def preload() -> None:
    """Import what the programs share; complains where that started a thread or brought in a source tree."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # no threads before a fork
    path = sys.path[:]
    sys.path[:] = [
        entry for entry in path if "site-packages" in entry or entry.startswith((sys.base_prefix, sys.prefix))
    ]
    for name in PRELOADED:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    sys.path[:] = path
    del os.environ["OPENBLAS_NUM_THREADS"]
    sys.modules["torch"].set_num_threads(1)  # children have small tensors, and are many
    stray = [name for name in sys.modules if name.split(".")[0] in OURS]
    assert not stray, f"imported too early: {stray}"
    threads = len(list(Path("/proc/self/task").glob("*"))) or threading.active_count()
    assert threads == 1, f"{threads} threads before a fork"
    gc.collect()
    gc.freeze()


class Refused(Exception):
    """What a child of this process cannot be."""


def startup(environment: dict[str, str]) -> dict[str, str]:
    """What decided how this interpreter started."""
    told = {name: value for name, value in environment.items() if name.startswith(STARTUP)}
    return {name: value for name, value in told.items() if name not in ("PYTHONPATH", *THREADS)}


class Server:
    """Forks on request, and tells how each child ended."""

    def __init__(self, folder: Path, guardian: int) -> None:
        self.folder, self.guardian = folder, guardian
        self.children: dict[int, socket.socket] = {}
        self.born = startup(dict(os.environ))
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(folder / "binding"))
        self.listening.listen(128)
        (folder / "binding").rename(folder / "socket")  # whoever sees it may connect
        self.ended, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.waker = waker
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listening, selectors.EVENT_READ, self.accept)
        self.selector.register(self.ended, selectors.EVENT_READ, self.reap)

    def serve(self) -> Callable[[], object] | None:
        """Answer until nobody needs this any more; in a child, returns what the child is to do."""
        while self.is_needed():
            for key, _ in self.selector.select(timeout=1):
                if program := key.data(key.fileobj):
                    return program  # type: ignore[no-any-return]
        for pid in self.children:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)
        return None

    def is_needed(self) -> bool:
        try:
            os.kill(self.guardian, 0)
        except ProcessLookupError:
            return False
        return self.folder.exists()

    def accept(self, listening: socket.socket) -> Callable[[], object] | None:
        asking, _ = listening.accept()
        with contextlib.suppress(ConnectionError):
            asked, streams = receive(asking)
            try:
                self.check(asked)
            except Refused as error:
                os.write(streams[2], f"{error}\n".encode())
                asking.sendall(struct.pack("!ii", 0, 125))
            else:
                if (pid := os.fork()) == 0:
                    self.forget()
                    return lambda: become(asked, streams)
                asking.sendall(struct.pack("!i", pid))
                self.children[pid] = asking
                self.selector.register(asking, selectors.EVENT_READ, self.hang_up)
            for stream in streams:
                os.close(stream)
            if asking not in self.children.values():
                asking.close()
        return None

    def check(self, asked: dict[str, Any]) -> None:
        wanted = startup(asked["environment"])
        if different := sorted(name for name in wanted | self.born if wanted.get(name) != self.born.get(name)):
            raise Refused(f"a warm process was started with another {', '.join(different)}: start the real program")

    def hang_up(self, asking: socket.socket) -> None:
        """Whoever asked has died, and the child dies with it."""
        for pid, other in self.children.items():
            if other is asking:
                self.selector.unregister(asking)
                os.kill(pid, signal.SIGKILL)

    def reap(self, ended: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(ended, 4096)
        for pid in list(self.children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                asking = self.children.pop(pid)
                with contextlib.suppress(KeyError):
                    self.selector.unregister(asking)
                with contextlib.suppress(ConnectionError):
                    asking.sendall(struct.pack("!i", os.waitstatus_to_exitcode(status)))
                asking.close()

    def forget(self) -> None:
        """In a child: hold nothing of the server's."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.selector.close()
        self.listening.close()
        for asking in self.children.values():
            asking.close()
        os.close(self.ended)
        os.close(self.waker)


def receive(asking: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """One request: what to run, and the three streams to run it with."""
    head, streams, _, _ = socket.recv_fds(asking, 4, 3)
    (size,) = struct.unpack("!i", head)
    told = bytearray()
    while len(told) < size:
        told += asking.recv(size - len(told)) or end()
    return json.loads(told), list(streams)


def end() -> bytes:
    raise ConnectionError


def become(asked: dict[str, Any], streams: list[int]) -> object:
    """Be the program, as if started by whoever asked."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.setpgid(0, 0)
    os.chdir(asked["cwd"])
    os.umask(asked["umask"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    program = Path(asked["argv"][0])
    sys.argv = asked["argv"]
    sys.executable = str(program.with_name("python"))  # what it starts of itself, on this machine or another, is warm
    sys.orig_argv = [sys.executable, *sys.argv]
    added = [entry or os.getcwd() for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    sys.path[:0] = [str(program.parent), *added]
    importlib.invalidate_caches()
    sys.modules["numpy.random"].seed()  # a fresh process has a fresh one
    if threads := os.environ.get("OMP_NUM_THREADS"):
        sys.modules["torch"].set_num_threads(int(threads))
    if any((Path(entry) / "sitecustomize.py").exists() for entry in added):
        sys.modules.pop("sitecustomize", None)
        importlib.import_module("sitecustomize")
    if program.name == "snakemake":
        from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

        ExecutorPluginRegistry().collect_plugins()  # with the one on this child's path
    module, function = PROGRAMS[program.name].split(":")
    return getattr(importlib.import_module(module), function)()


def leave(program: Callable[[], object]) -> None:
    """Run a program to its end, and end as the interpreter would, but without freeing what all children share."""
    code: object = 0
    try:
        sys.exit(program())
    except SystemExit as ending:
        code = ending.code
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if code == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit((code or 0) & 0xFF)


if __name__ == "__main__":
    preload()
    if program := Server(Path(sys.argv[1]), int(sys.argv[2])).serve():
        leave(program)
