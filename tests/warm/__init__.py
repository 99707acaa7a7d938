"""The environment's programs as children of a process that has imported what they import, so that they start at once.

``programs()`` is a folder like the ``bin`` of the environment, in which ``framecast``, ``snakemake`` and ``dvc`` are
such: put first on PATH, or started by their full name, they do what the real ones do, and so does what they start.
One server serves all workers of a test session. What is about the process itself (its own start, its place in a tree
of processes, a Slurm job, kills) needs the real programs.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

from filelock import FileLock

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
PROGRAMS = ("framecast", "snakemake", "dvc")
VARIABLE = "WARM_PROCESSES"  #: names the folder of this test session to its workers
#: Its own command line names no program, lest that program takes what stands for it for another of its kind.
PROGRAM = "#!/usr/bin/env -S {0}/bin/python3 -ISE {0}/client.py {0}/socket\n"
#: Snakemake starts itself, on the node that has a job, as a module of its own Python.
PYTHON = """#!/bin/sh
[ "$1 $2" = "-m snakemake" ] && shift 2 && exec {0}/bin/snakemake "$@"
exec {0}/bin/python3 "$@"
"""


def offer() -> None:
    """Say to the processes of this test session where the server is, once one of them has started it."""
    folder = Path(tempfile.mkdtemp(prefix="warm-", dir="/tmp"))  # a socket's address must be short
    (folder / "guardian").write_text(str(os.getpid()))
    os.environ[VARIABLE] = str(folder)


def withdraw() -> None:
    """Let the server end."""
    shutil.rmtree(os.environ[VARIABLE])


@cache
def programs() -> Path:
    """The folder with the programs; the first who asks starts the server, which ends with the test session."""
    folder = Path(os.environ[VARIABLE])
    with FileLock(folder / "lock"):
        if not (folder / "socket").exists():
            _imitate_the_environment(folder)
            _start(folder)
    return folder / "bin"


def _imitate_the_environment(folder: Path) -> None:
    """A virtual environment that is this one with other programs: what asks for its own Python stays in it."""
    (folder / "client.py").symlink_to(HERE / "client.py")
    (folder / "lib").symlink_to(Path(sys.prefix) / "lib")
    (folder / "pyvenv.cfg").write_text(f"home = {Path(sys._base_executable).resolve().parent}\n")
    bins = folder / "bin"
    bins.mkdir()
    for program in BIN.iterdir():
        if program.name.startswith("python3"):
            (bins / program.name).symlink_to(program.resolve())
        elif program.name not in (*PROGRAMS, "python"):
            (bins / program.name).symlink_to(program)
    for name, text in {**dict.fromkeys(PROGRAMS, PROGRAM), "python": PYTHON}.items():
        (bins / name).write_text(text.format(folder))
        (bins / name).chmod(0o755)


def _start(folder: Path) -> None:
    command = [folder / "bin" / "python3", "-P", HERE / "server.py", folder, (folder / "guardian").read_text()]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    log = folder / "log"
    with log.open("wb") as out:
        server = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    while not (folder / "socket").exists():
        assert server.poll() is None, log.read_text()
        time.sleep(0.05)
    server.returncode = 0  # nobody here waits for it: it ends with the test session
