"""Each job its own GPU, on machines that have none: what is claimed are names."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from framecast import devices
from framecast.errors import UserError

HOLD = """
import sys
from framecast.devices import claim
print(claim(sys.argv[1].split(",")), flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def holder(names: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, names], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def position(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_jobs_at_once_get_different_gpus_and_a_killed_one_gives_its_own_back() -> None:
    names = "0,1,GPU-7f,3"
    jobs = [holder(names) for _ in range(4)]
    try:
        held = [position(job) for job in jobs]
        assert sorted(held) == [0, 1, 2, 3]
        fifth = holder(names)
        jobs.append(fifth)
        assert position(fifth) == 0  # all are taken: the second place of the first
        jobs[2].kill()
        jobs[2].wait()
        sixth = holder(names)
        jobs.append(sixth)
        assert position(sixth) == held[2]
    finally:
        for job in jobs:
            job.kill()
            job.communicate()


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A folder like /tmp, into which pytest's own lets nobody else."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o1777)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be two people (root)")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_people_who_share_a_machine_share_its_gpus(
    everybodys: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    """What one holds the other does not get, and neither can take it away."""
    monkeypatch.setattr(tempfile, "tempdir", str(everybodys))
    monkeypatch.setattr(devices, "_held", [])
    before = os.umask(umask)
    try:
        assert devices.claim(["0", "1"]) == 0
        (folder,) = everybodys.iterdir()
        assert folder.stat().st_mode & 0o7777 == 0o1777
        os.seteuid(4242)
        assert devices.claim(["0", "1"]) == 1
        with pytest.raises(PermissionError):
            (folder / "0.0").unlink()
    finally:
        os.seteuid(0)
        os.umask(before)
        for lock in devices._held:
            lock.release()
    folder.chmod(0o755)
    os.seteuid(4242)
    try:
        with pytest.raises(UserError, match=f"{folder}: found one in which this user cannot make files"):
            devices.claim(["0"])
    finally:
        os.seteuid(0)


def test_a_gpu_that_is_not_there_is_never_replaced_by_the_cpu() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match="found 'cuda', and this machine has 0 CUDA devices"):
        devices.choose("cuda")
    assert devices.choose("auto").type == "cpu"


@pytest.mark.parametrize("name", ["meta", "mps", "tpu", "", "cuda:x"])
def test_what_is_neither_cpu_nor_gpu_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"^--device: found '{name}'; allowed: auto, cpu, cuda, cuda:N$"):
        devices.choose(name)


def test_only_the_visible_gpus_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert devices.visible(2) == ["2", "5"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert devices.visible(3) == ["0", "1", "2"]
