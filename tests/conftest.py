"""Shared ground of the tests: a small study in a folder of its own, and the real programs run in it."""

import compileall
import itertools
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import HTTPServer
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Any

import pytest

from framecast.study import source
from tests import warm

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


def pytest_configure(config: pytest.Config) -> None:
    """One server of warm processes for all workers."""
    if not hasattr(config, "workerinput"):
        warm.offer()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Its end."""
    if not hasattr(config, "workerinput"):
        warm.withdraw()


#: The files that take longest, longest first. Only the order in which they are begun depends on this.
LONGEST = (
    "slurm/test_faults_jobs.py",
    "slurm/test_chaos.py",
    "slurm/test_faults_driver.py",
    "pipeline/test_resume.py",
    "pipeline/test_promises.py",
    "pipeline/test_workflow.py",
    "test_faults.py",
    "slurm/test_docs.py",
    "pipeline/test_paper_scale.py",
    "slurm/test_one_node.py",
    "test_faults_more.py",
    "pipeline/test_local_faults.py",
    "study/test_params.py",
    "training/test_kills.py",
    "test_security.py",
    "study/test_scale.py",
    "figures/test_figures.py",
    "study/test_grid.py",
    "evaluation/test_causality.py",
    "report/test_report.py",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that wait for Slurm beside files that compute, the longest first, so that no core idles at the end.

    Workers take whole files in this order (``--dist loadfile --no-loadscope-reorder``).
    """
    rank = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    slow, waits = Counter[Path](), dict[Path, bool]()
    for item in items:
        slow[item.path] += item.get_closest_marker("slow") is not None
        waits[item.path] = item.get_closest_marker("slurm") is not None
    files = sorted(waits, key=lambda path: (rank.get(path, len(rank)), -slow[path]))
    waiting = [path for path in files if waits[path]]
    computing = [path for path in files if not waits[path]]
    order = [path for pair in itertools.zip_longest(waiting, computing) for path in pair if path]
    items.sort(key=lambda item: order.index(item.path))


def pytest_collection_finish() -> None:
    """One thread for each worker: on tensors as small as these, threads of several workers only wait for each other."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the tiny ``params.yaml``, made the working directory."""
    shutil.copy(ROOT / "tests" / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


STUCK_SECONDS = 3600  #: what takes longer hangs. No claim about speed: machines are shared, and differ widely


def until(condition: Callable[[], object], what: str, seconds: float = STUCK_SECONDS) -> None:
    """Wait for something that is bound to happen, which on a loaded machine may take long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.1)


def run(
    *command: str, cwd: Path, check: bool = True, cold: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run one of the environment's programs; on an unexpected failure show what it printed.

    Ours and the engines run as warm processes (``tests.warm``), and so does what they start, unless ``cold`` is asked
    for: the program as it lies in the environment, from its first import on.
    """
    place = BIN if cold or command[0] not in warm.PROGRAMS else warm.programs()
    env = {**os.environ, "PATH": f"{place}{os.pathsep}{os.environ['PATH']}", **environment}
    program = str(place / command[0])
    done = subprocess.run([program, *command[1:]], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture
def framecast(study: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``framecast`` in the tiny study."""

    def call(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return run("framecast", *arguments, cwd=study, **options)

    return call


def compile_source(folder: Path) -> None:
    """Leave beside a copy of the source what the first process to import it would: what is compiled, and its facts.

    Each file holds for what the source says and not for when it was written, so that ``share_compiled`` can hand it on.
    """
    compileall.compile_dir(folder / "src", quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
    for path in (folder / "src").rglob("*.py"):
        source.read(path)


def share_compiled(folder: Path, other: Path) -> None:
    """Let another copy of the same source begin with all of that. A file that is edited there is compiled anew."""
    for cache in (folder / "src").rglob("__pycache__"):
        shutil.copytree(cache, other / cache.relative_to(folder))


@contextmanager
def serving(server: HTTPServer) -> Iterator[None]:
    """Let a local server answer in a thread of its own for as long as the block lasts."""
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The single line that a user's mistake may print; fails on success, silence, or a traceback."""
    lines = done.stderr.strip().splitlines()
    assert done.returncode not in (0, 75), f"exit {done.returncode}"
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("framecast: ")
    return lines[0]
