"""The patient Slurm executor beside a Slurm that answers what the test says, or nothing; no cluster is needed."""

import asyncio
import contextlib
import errno
import logging
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from snakemake_executor_plugin_slurm_patient import Executor, ExecutorSettings

#: What stands in for Slurm: a queue that is what the file ``squeue.says`` holds, and is silent where there is none.
SQUEUE = r"""case "$*" in *%F*) sed 's/\([0-9]*\)|.*/\1|\1|None/' "$0.says";; *) cat "$0.says";; esac"""
PROGRAMS = {"squeue": SQUEUE, "scancel": 'echo "$@" > "$0.log"', "scontrol": "echo MinJobAge = 300", "sacct": "exit 1"}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of these programs, which are all that PATH has of Slurm."""
    bins = tmp_path / "bin"
    bins.mkdir()
    for name, script in PROGRAMS.items():
        (bins / name).write_text(f"#!/bin/sh\n{script}\n")
        (bins / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bins}:/usr/bin:/bin")
    return bins


@pytest.fixture
def executor(slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Executor:
    """An executor in a folder of its own, without the thread that would ask it again and again."""
    (tmp_path / "study").mkdir()
    monkeypatch.chdir(tmp_path / "study")
    made = Executor.__new__(Executor)
    settings = ExecutorSettings(status_command="squeue", delete_logfiles_older_than=0)
    scheduler = SimpleNamespace(finished=[], failed=[])
    scheduler.finish_callback, scheduler.error_callback = scheduler.finished.append, scheduler.failed.append
    made.workflow = SimpleNamespace(executor_settings=settings, scheduler=scheduler)
    made.logger = logging.getLogger("test")
    made.status_rate_limiter = contextlib.nullcontext()
    made._next_seconds_between_status_checks = 1
    made.__post_init__()
    return made


def submitted(number: int) -> SubmittedJobInfo:
    job = SimpleNamespace(name=f"train{number}", wildcards=None, output=[], log_error=lambda *_, **__: None)
    return SubmittedJobInfo(job, external_jobid=str(number), aux={"slurm_logfile": Path(f"{number}.log")})


def looked_at(executor: Executor, jobs: list[SubmittedJobInfo]) -> list[SubmittedJobInfo]:
    """The jobs that still run after one look at the queue."""

    async def left() -> list[SubmittedJobInfo]:
        return [job async for job in executor.check_active_jobs(jobs)]

    return asyncio.run(left())


def test_the_thread_may_look_before_the_executor_is_ready() -> None:
    """It is started first, and a driver whose thread has ended with an exception waits for ever."""
    jobs = [submitted(7)]
    assert looked_at(Executor.__new__(Executor), jobs) == jobs


def test_jobs_outlive_a_controller_that_does_not_answer_for_however_long(
    executor: Executor, slurm: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Dropped by the plugin after five queries in vain, they would never be asked for again."""
    jobs = [submitted(number) for number in (7, 8, 9)]
    for _ in range(3):
        assert looked_at(executor, jobs) == jobs
    assert [record.message for record in caplog.records] == ["squeue does not answer; 3 jobs wait until it does"]
    (slurm / "squeue.says").write_text("7|RUNNING\n8|COMPLETED\n9|FAILED\n")
    assert looked_at(executor, jobs) == jobs[:1]
    assert executor.workflow.scheduler.finished == [jobs[1].job]
    assert executor.workflow.scheduler.failed == [jobs[2].job]
    (slurm / "squeue.says").unlink()
    assert looked_at(executor, jobs[:1]) == jobs[:1]
    assert [record.levelname for record in caplog.records if "does not answer" in record.message] == ["WARNING"] * 2


def test_a_driver_ends_with_its_folder_and_cancels_its_jobs(
    executor: Executor, slurm: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stale() -> str:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    exits: list[int] = []
    monkeypatch.setattr(os, "_exit", exits.append)
    (slurm / "squeue.says").write_text("7|RUNNING\n")
    assert looked_at(executor, [submitted(7)])
    with monkeypatch.context() as away:
        away.setattr(os, "getcwd", stale)
        assert looked_at(executor, [submitted(7)])
    assert exits == []
    folder = Path.cwd()
    shutil.rmtree(folder)
    looked_at(executor, [submitted(7)])
    assert exits == [1]
    assert f"framecast: {folder}: was removed; ending, and cancelling the jobs" in capsys.readouterr().err
    assert (slurm / "scancel.log").read_text() == "7\n"
