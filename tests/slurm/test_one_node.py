"""The private cluster behaves as a real one does in all that the project relies on."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import until
from tests.slurm import one_node
from tests.slurm.one_node import OneNode

SCRIPT = Path(one_node.__file__)


@pytest.fixture
def place() -> Iterator[Path]:
    """A short folder for a cluster of the test's own; whatever is left in it is stopped."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    yield folder
    OneNode(folder).stop(purge=True)
    shutil.rmtree(folder, ignore_errors=True)


def shell(*arguments: str) -> str:
    """Run the script as a user does; a daemon that kept the pipe open would make this wait for ever."""
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=True).stdout


def mentioning(folder: Path) -> list[str]:
    """Command lines of this machine's processes that name a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text(errors="replace"))
        except OSError:
            continue
    return [line.replace("\0", " ") for line in found if str(folder) in line and str(os.getpid()) not in line]


def test_up_and_down_from_a_shell_leave_neither_process_nor_file(slurm: OneNode, place: Path) -> None:
    exports = shell("up", str(place), "--nodes", "2")
    assert exports == shell("env", str(place))
    asked = f"{exports}\nsbatch --wrap 'sleep 600' --output /dev/null >&2; sinfo -h -p main -o %D"
    assert subprocess.run(["sh", "-c", asked], capture_output=True, text=True, check=True).stdout == "2\n"
    assert slurm.configuration.read_text() != (place / "slurm.conf").read_text()
    second = OneNode(place)
    [job] = second.jobs()
    second.wait(job, "RUNNING")
    until(second.processes, "the job's processes: it is RUNNING before they are there")
    shell("down", str(place), "--purge")
    assert not place.exists()
    assert mentioning(place) == []
    assert second.processes() == set()


def test_a_folder_that_slurm_cannot_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(one_node.SlurmError, match="choose another folder"):
        OneNode(tmp_path / ("long" * 20)).start()


def test_two_jobs_at_once_see_different_gpus(slurm: OneNode) -> None:
    told = [slurm.submit('echo "$CUDA_VISIBLE_DEVICES"; sleep 2', "--nodelist=node1", "--gpus=1") for _ in range(2)]
    assert [slurm.wait(job).state for job in told] == ["COMPLETED"] * 2
    assert {slurm.output(job) for job in told} == {"0\n", "1\n"}


def test_a_step_finds_the_cluster_without_any_variable(slurm: OneNode) -> None:
    job = slurm.submit(
        "unset SLURM_CONF; srun --ntasks=1 sh -c 'echo step $SLURM_JOB_ID'; squeue --noheader --format=%A"
    )
    assert slurm.wait(job).state == "COMPLETED"
    assert slurm.output(job) == f"step {job}\n{job}\n"


def test_jobs_over_memory_over_time_and_outranked(slurm: OneNode) -> None:
    greedy = f"{sys.executable} -c 'held = bytearray(300 * 2**20); import time; time.sleep(600)'"
    fat = slurm.submit(greedy, "--mem=100", "--nodelist=node1")
    fat_step = slurm.submit(f"srun {greedy}", "--mem=100", "--nodelist=node1")
    trap = "trap 'echo warned; exit 75' TERM; echo armed; sleep 600 & wait"
    late = slurm.submit(trap, "--time=1", "--nodelist=node1")
    low = slurm.submit("[ $SLURM_RESTART_COUNT ] || sleep 600", "--partition=low", "--exclusive", "--nodelist=node2")
    for job in (late, low):
        slurm.wait(job, "RUNNING")
    until(lambda: "armed" in slurm.output(late), "the trap of the job that is to be late")
    slurm.expire(late)
    high = slurm.submit("sleep 1", "--partition=high", "--exclusive", "--nodelist=node2")

    for job in (fat, fat_step):
        assert slurm.wait(job).state == "FAILED"
        assert "exceeded memory limit" in slurm.output(job)
    assert slurm.wait(late).state == "TIMEOUT"
    until(lambda: "warned" in slurm.output(late), "what the job that was late said when it was told so")
    assert [slurm.wait(job).state for job in (high, low)] == ["COMPLETED"] * 2
    assert slurm.details(low)["Restarts"] == "1"


def test_a_job_outlives_its_controller(slurm: OneNode) -> None:
    running = slurm.submit("echo here; sleep 8; echo done")
    waiting = slurm.submit("echo done", f"--dependency=afterok:{running}")
    until(lambda: slurm.output(running), "the job's first line: RUNNING is said before it is started")
    slurm.kill_controller()
    with pytest.raises((one_node.SlurmError, subprocess.TimeoutExpired)):
        slurm.run("squeue", timeout=2)
    slurm.start_controller()
    assert [slurm.wait(job).state for job in (running, waiting)] == ["COMPLETED"] * 2
    assert slurm.output(running) == "here\ndone\n"


def test_drained_nodes_are_used_again_once_a_new_controller_knows_them(slurm: OneNode) -> None:
    slurm.drain(*slurm.nodes)
    with slurm.silent(*slurm.nodes):
        slurm.kill_controller(saved=False)
        slurm.start_controller()
        resumed = threading.Thread(target=slurm.resume_drained)
        resumed.start()
        resumed.join(1)
        assert resumed.is_alive()
    resumed.join()
    assert slurm.wait(slurm.submit("echo done")).state == "COMPLETED"


def test_a_job_of_a_lost_node_is_queued_again(slurm: OneNode) -> None:
    job = slurm.submit("echo on $SLURMD_NODENAME; [ $SLURM_RESTART_COUNT ] || sleep 600")
    node = slurm.wait(job, "RUNNING").nodes
    until(lambda: slurm.output(job), "the job's first line")
    assert slurm.processes(node)
    slurm.kill_node(node)
    assert not slurm.processes(node)
    [other] = set(slurm.nodes) - {node}
    assert slurm.wait(job).state == "COMPLETED"
    assert slurm.output(job) == f"on {node}\non {other}\n"


def test_a_node_without_network_goes_on_computing(slurm: OneNode) -> None:
    job = slurm.submit("echo here; sleep 600", "--no-requeue")
    node = slurm.wait(job, "RUNNING").nodes
    until(lambda: slurm.output(job), "the job's first line")
    slurm.kill_node(node, jobs=False)
    assert slurm.wait(job).state == "NODE_FAIL"
    assert slurm.processes(node)
