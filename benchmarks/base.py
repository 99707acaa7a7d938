"""How a measurement is taken and told."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
TINY = (ROOT / "tests" / "params.yaml").read_text(encoding="utf-8")  #: a study of seconds


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, the figure, the reference beside it, and the goal.

    ``meets`` is None where the figure is reported without a goal.
    """

    name: str
    ours: str
    reference: str
    figure: float
    unit: str
    goal: str
    meets: bool | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


MOST_GROWTH = 1.2  #: of the peak memory of what reads or draws its data piece by piece, whatever their size


def streamed(name: str, unit: str, peaks: dict[int, float]) -> Row:
    """Peaks of memory in MiB by the size of the data, small and large, where they should be alike."""
    (small, least), (large, most) = peaks.items()
    return Row(
        f"peak memory, {name}",
        f"{most:.0f} MiB at {large}{unit}",
        f"{least:.0f} MiB at {small}",
        most / least,
        f"× for {large // small} × the data",
        f"≤ {MOST_GROWTH:g} ×",
        most / least <= MOST_GROWTH,
    )


def paired(
    ours: Callable[[], Any],
    reference: Callable[[], Any],
    repeats: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, float, float]:
    """Median seconds of both, run in turn (A B A B …) so that drift hits both; and the median ratio reference/ours."""
    ours()
    reference()
    pairs = [(seconds(ours, clock), seconds(reference, clock)) for _ in range(repeats)]
    mine, theirs = zip(*pairs, strict=True)
    return statistics.median(mine), statistics.median(theirs), statistics.median(b / a for a, b in pairs)


def seconds(call: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """What a call takes by a clock."""
    start = clock()
    call()
    return clock() - start


@dataclass(frozen=True)
class Usage:
    """What a program used, with the programs that it started and waited for."""

    wall: float  #: seconds
    cpu: float  #: seconds, user and system
    peak: float  #: MiB of resident memory, the largest of these programs


def used_by(*command: str, cwd: Path, exit_code: int = 0) -> Usage:
    """Run a program of this environment in a folder; on another exit code raise with what it printed."""
    program, *arguments = command
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "GIT_CONFIG_GLOBAL": os.devnull}
    launch = [sys.executable, "-S", "-c", _LAUNCHER, shutil.which(program, path=path) or program, *arguments]
    done = subprocess.run(launch, cwd=cwd, env=environment, capture_output=True, text=True, check=True)
    found, wall, cpu, peak = json.loads(done.stdout)
    if found != exit_code:
        raise RuntimeError(f"{' '.join(command)}: exit {found}\n{done.stderr}")
    return Usage(wall, cpu, peak / 1024)


#: A process starts its life with its parent's peak memory, so the parent must be a small one: not us, but this.
_LAUNCHER = """
import json, os, subprocess, sys, time
start = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
_, status, usage = os.wait4(child.pid, 0)
wall = time.perf_counter() - start
print(json.dumps([os.waitstatus_to_exitcode(status), wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""


@contextmanager
def scratch(*names: str, params: str) -> Iterator[Path]:
    """A folder with this ``params.yaml`` and copies of files and folders of the repository; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="framecast-benchmark-") as place:
        folder = Path(place)
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, folder / name)
        (folder / "params.yaml").write_text(params, encoding="utf-8")
        yield folder
