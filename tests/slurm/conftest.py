"""The ground of the tests that need a real Slurm: a private cluster of two nodes, and small studies to run in it.

``slurm``
    The cluster (``OneNode``), one for the whole session: two nodes, each with 4 CPUs, 2 pretended GPUs and 8 GB. A test
    may kill and restart its daemons; after each test what still runs is cancelled, and dead daemons are started again.
``study``
    A fresh small study without git (``ClusterStudy``). ``study.submit()`` is ``snakemake --profile slurm`` in it,
    ``study.driver()`` the same in the background, to be killed, and ``study.jobs()`` what came of them in the cluster.
    Shorten a job's life with ``slurm.expire``, a cell's slices with ``FRAMECAST_WALLTIME`` and ``FRAMECAST_MARGIN``.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import BIN, ROOT, run
from tests.pipeline.conftest import Clone, built, fresh
from tests.slurm.one_node import PACKAGES, Job, OneNode, missing

__all__ = ["built", "fresh"]  # fixtures of the pipeline's tests that are fixtures here, too


#: The profile's pauses are for a cluster of hundreds of jobs: between two looks at the queue up to a minute.
HASTE = ("--slurm-patient-init-seconds-before-status-checks", "1", "--slurm-patient-patience", "0.02")
SNAKEMAKE = ("snakemake", "--profile", "slurm", *HASTE)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs Slurm, and time."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("slurm")
            item.add_marker("slow")


@pytest.fixture(scope="session")
def slurm() -> Iterator[OneNode]:
    """The cluster of this session; skips where Slurm is not installed."""
    if absent := missing():
        pytest.skip(f"not installed: {', '.join(absent)}; {PACKAGES}")
    cluster = OneNode(Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp")), nodes=2, cpus=4, gpus=2, memory=8000)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop(purge=True)


@pytest.fixture(autouse=True)
def healed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test did to the cluster is over when the next one begins."""
    yield
    if "slurm" in request.fixturenames:
        request.getfixturevalue("slurm").heal()


@dataclass(frozen=True)
class ClusterStudy(Clone):
    """A copy of the study in which every program speaks to the private cluster."""

    cluster: OneNode
    drivers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The clone's environment, and what the private cluster is like."""
        bins = os.pathsep.join([str(self.cluster.folder / "bin"), str(BIN)])
        site = {"DEVICE": "cpu", "GPUS": "1", "MEMORY_MB": str(self.cluster.memory)}
        named = {f"FRAMECAST_{key}": value for key, value in site.items()}
        path = {"PATH": f"{bins}{os.pathsep}{os.environ['PATH']}"}
        return {**super().environment, **self.cluster.environment(), **named, **path}

    def submit(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ``snakemake --profile slurm`` to its end; keywords are further environment variables."""
        return run(*SNAKEMAKE, *arguments, cwd=self.folder, check=check, **{**self.environment, **environment})

    def driver(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start the same in the background; it prints to ``driver.log``.

        ``kill()`` ends it alone, ``os.killpg(driver.pid, …)`` with all that it started on this machine, as the end of a
        login does. Whatever is left of it when the test ends is killed.
        """
        with (self.folder / "driver.log").open("ab") as log:
            started = subprocess.Popen(
                [BIN / SNAKEMAKE[0], *SNAKEMAKE[1:], *arguments],
                cwd=self.folder,
                env={**os.environ, **self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.drivers.append(started)
        return started

    def jobs(self) -> list[Job]:
        """What the controller knows of this study's jobs, in the order of their submission."""
        return [job for _, job in sorted(self.cluster.jobs().items()) if job.folder == str(self.folder)]

    def printed(self) -> str:
        """What every ``driver`` so far has printed."""
        return (self.folder / "driver.log").read_text(encoding="utf-8")


@pytest.fixture
def study(slurm: OneNode, fresh: Callable[[], Clone]) -> Iterator[ClusterStudy]:
    """A fresh small study in a folder that git knows nothing of, with the cluster's profile."""
    folder = fresh().folder
    shutil.rmtree(folder / ".git")
    shutil.copytree(ROOT / "slurm", folder / "slurm", dirs_exist_ok=True)
    made = ClusterStudy(folder, slurm)
    yield made
    for driver in made.drivers:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
