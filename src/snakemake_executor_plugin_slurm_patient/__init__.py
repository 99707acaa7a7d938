"""Snakemake's Slurm executor, with patience: ``executor: slurm-patient``.

Everything is done by snakemake-executor-plugin-slurm; its options are the same, under ``--slurm-patient-…``. What
happens to every grid of hundreds of cells is answered here, where it would lose jobs or wait for ever:

* A submission that fails for a passing reason (controller restarting, too many jobs in the queue) is tried again
  with growing pauses, those of ``BACK_OFF``, and does not use up one of the job's ``retries``. One that Slurm will
  never accept (no such partition, more memory than any node has) ends the job at once: ``retries`` are refused, too.
* A job that the controller no longer knows is given up after ``GONE_SECONDS``: finished where its outputs stand, else
  failed with that reason, which hands it to ``retries``. A second writer is impossible all the same: cells are leased.
* While the controller does not answer, however long, jobs are as they were. There they are dropped after some queries
  without an answer, and a driver that has dropped its jobs never ends, nor looks at them again
  (``docs/upstream/slurm-plugin-dropped-jobs.md``).
* A driver whose folder was removed ends, and cancels its jobs: nothing that they make has a place any more.

``--slurm-patient-patience`` multiplies all pauses: below 1 for a small cluster of one's own, above for a busy one.
"""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_slurm import Executor as SlurmExecutor
from snakemake_executor_plugin_slurm import ExecutorSettings as SlurmExecutorSettings
from snakemake_executor_plugin_slurm import common_settings
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from framecast.cluster.site import load, refuse_flags
from framecast.errors import UserError

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

BACK_OFF = (2, 4, 8, 16, 32, 60, 60, 60)  #: seconds before each further attempt at a submission
GONE_SECONDS = 60
GONE_LOOKS = 3  #: and at least so many queries in a row that were answered without it
HELD = "launch failed requeued held"  #: the reason that squeue gives for a job that Slurm itself has put on hold
MAX_RELEASES = 5  #: of one job
LOOK_SECONDS = 60  #: between two looks at the queue, at most; while nothing ends they become rarer

#: What the executor adds where there is no accounting; the state before it is the reason.
USELESS = " Detailed failure reason unavailable (status command is not 'sacct')."

#: What sbatch says when the same submission may well succeed a little later.
PASSING = re.compile(
    r"unable to contact|connect failure|timed out|temporarily|zero bytes|transmi|connection (refused|reset)|try again"
    r"|submit limit|queue limit|MaxSubmit|too many jobs|slurmdbd|dns srv|unexpected message",
    re.IGNORECASE,
)

#: What it says when the same submission will never succeed.
LASTING = re.compile(
    r"\binvalid (partition|account|qos|feature|generic|gres|trackable|job constraint|user|reservation|license)"
    r"|not available|can ?not be satisfied|not permitted|permission denied|access.*denied|unrecognized option"
    r"|more processors requested than permitted|node count specification invalid|time limit.*invalid",
    re.IGNORECASE,
)


@dataclass
class ExecutorSettings(SlurmExecutorSettings):  # type: ignore[misc]
    """The Slurm executor's settings, and how patient this one is."""

    patience: float = field(
        default=1.0,
        metadata={
            "help": "Multiplies every pause: before a submission is tried again, until a job that the controller has "
            "forgotten is given up, and the longest between two looks at the queue.",
            "env_var": False,
            "required": False,
        },
    )


class Executor(SlurmExecutor):  # type: ignore[misc]
    """The Slurm executor that waits for a controller that is away, and does not wait for a job that is gone."""

    #: The thread that looks at the queue starts before ``__post_init__``, and ends for good with any exception.
    _is_ready = False

    def __post_init__(self, test_mode: bool = False) -> None:
        self._patience = float(self.workflow.executor_settings.patience)
        self._folder = os.getcwd()
        self._is_silent = False  # the controller, at the last look
        self._ended: dict[int, SubmittedJobInfo] = {}
        self._tries: dict[Any, int] = {}
        self._missing: dict[str, tuple[int, float]] = {}
        self._releases: dict[str, int] = {}
        super().__post_init__(test_mode)
        try:
            refuse_flags(load())
        except UserError as error:
            raise WorkflowError(str(error)) from None
        self._fallback_account_arg = ""  # without an account of the site's, Slurm takes the user's own: no guessing
        self._is_ready = True

    # --- submission -------------------------------------------------------------------------------

    def _report_job_error_threadsafe(self, job_info: SubmittedJobInfo, msg: str) -> None:
        """What run_job calls, in a thread of its own, when sbatch has failed."""
        job, refusal = job_info.job, _refusal(msg)
        tries = self._tries.get(job, 0)
        if PASSING.search(refusal) and tries < len(BACK_OFF):
            self._tries[job] = tries + 1
            pause = BACK_OFF[tries] * self._patience
            self.logger.warning(f"sbatch: {refusal}; trying again in {pause:g} s ({tries + 1} of {len(BACK_OFF)})")
            time.sleep(pause)
            self.run_job(job)
            return
        self._tries.pop(job, None)
        if LASTING.search(refusal):
            job._attempt = job.restart_times + 1  # so it was the last; the property would compute new resources
        waited = f", also after {tries} more attempts in {self._patience * sum(BACK_OFF[:tries]):g} s" if tries else ""
        super()._report_job_error_threadsafe(job_info, f"sbatch refused {_named(job)}{waited}: {refusal}")

    def _report_job_submission_threadsafe(self, job_info: SubmittedJobInfo) -> None:
        self._tries.pop(job_info.job, None)
        super()._report_job_submission_threadsafe(job_info)

    # --- jobs that ended --------------------------------------------------------------------------

    def report_job_success(self, job_info: SubmittedJobInfo) -> None:
        """Remember that this one is over."""
        self._ended[id(job_info)] = job_info
        super().report_job_success(job_info)

    def report_job_error(self, job_info: SubmittedJobInfo, msg: str | None = None, **more: Any) -> None:
        """Say in one line which job failed and why: a quiet Snakemake would only say that it starts a job again."""
        if _has_outputs(
            job_info.job
        ):  # whole, since the manifest comes last: it was hit in its last second, or by another's end
            self.logger.warning(f"{_named(job_info.job)}: its job ended badly, and its outputs are whole")
            self.report_job_success(job_info)
            return
        self._ended[id(job_info)] = job_info
        told = " ".join((msg or "failed").split()).replace(USELESS, "")
        self.logger.error(told if _named(job_info.job) in told else f"{_named(job_info.job)}: {told}")
        super().report_job_error(job_info, msg=msg, **more)

    # --- jobs that are gone -----------------------------------------------------------------------

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncGenerator[SubmittedJobInfo, None]:
        """The jobs that still run; those that the controller has forgotten are ended."""
        if not self._is_ready:
            for job_info in active_jobs:
                yield job_info
            return
        self._end_with_its_folder(active_jobs)
        running = await self._not_ended(active_jobs)
        interval: float = self.next_seconds_between_status_checks  # type: ignore[has-type]
        self.next_seconds_between_status_checks = min(interval, LOOK_SECONDS * self._patience)
        known = self._known() if running and self.get_status_command() == "squeue" else None
        for job_info in running:
            if known is None or not self._gone(str(job_info.external_jobid), known):
                yield job_info
            elif _has_outputs(job_info.job):
                self.report_job_success(job_info)
            else:
                told = (
                    f"Slurm no longer knows job {job_info.external_jobid} ({_named(job_info.job)}), nor has it finished"
                )
                self.report_job_error(job_info, msg=told, aux_logs=[str(job_info.aux["slurm_logfile"])])

    async def _not_ended(self, active_jobs: list[SubmittedJobInfo]) -> list[SubmittedJobInfo]:
        """The jobs of which nobody says that they are over, be it that nobody says anything."""
        self._ended.clear()
        told = {id(job_info) async for job_info in super().check_active_jobs(active_jobs)}
        running = [job_info for job_info in active_jobs if id(job_info) not in self._ended]
        is_silent = any(id(job_info) not in told for job_info in running)
        if is_silent and not self._is_silent:
            self.logger.warning(f"{self.get_status_command()} does not answer; {len(running)} jobs wait until it does")
        self._is_silent = is_silent
        return running

    def _end_with_its_folder(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """End at once, with the jobs, where the folder of this run was removed: no file of it can be written any more,
        and what would be done at an orderly end begins with such files."""
        if _working_folder_is_gone():
            print(
                f"framecast: {self._folder}: was removed; ending, and cancelling the jobs", file=sys.stderr, flush=True
            )
            with contextlib.suppress(Exception):
                self.cancel_jobs(active_jobs)
            os._exit(1)

    def _known(self) -> set[str] | None:
        """Every job of this run that the controller remembers, with its array's id; None where it does not answer.

        One that Slurm has put on hold, after a launch that failed, is released: nobody else would.
        """
        ask = ["squeue", "--noheader", "--states=all", "--format=%i|%F|%r", f"--name={self.run_uuid}"]
        try:
            told = subprocess.run(ask, capture_output=True, text=True, timeout=60, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            return None
        rows = [line.split("|") for line in told.splitlines()]
        for name, _, reason in rows:
            if reason == HELD and self._releases.get(name, 0) < MAX_RELEASES:
                self._releases[name] = self._releases.get(name, 0) + 1
                self.logger.warning(f"Slurm job {name}: {reason}; released")
                subprocess.run(["scontrol", "release", name], capture_output=True, timeout=60, check=False)
        return {name for row in rows for name in row[:2]}

    def _gone(self, job_id: str, known: set[str]) -> bool:
        if job_id in known or job_id.split("_")[0] in known:
            self._missing.pop(job_id, None)
            return False
        looks, since = self._missing.get(job_id, (0, time.monotonic()))
        self._missing[job_id] = looks + 1, since
        if looks + 1 < GONE_LOOKS or time.monotonic() - since < GONE_SECONDS * self._patience:
            return False
        del self._missing[job_id]  # a controller that has lost its state gives the same number to another job
        return True


def _working_folder_is_gone() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    except OSError:  # a network file system that is away comes back
        return False
    return False


def _refusal(message: str) -> str:
    """sbatch's own words out of the plugin's message."""
    told = re.search(r"error message was '(.*?)'\.?\n", message, re.DOTALL)
    return " ".join((told[1] if told else message.split("sbatch call:")[0]).replace("sbatch: error: ", "").split())


def _named(job: JobExecutorInterface) -> str:
    wildcards = getattr(job, "wildcards", None)
    return f"{job.name} {'/'.join(map(str, wildcards))}" if wildcards else str(job.name)


def _has_outputs(job: JobExecutorInterface) -> bool:
    outputs: Sequence[str] = list(job.output)
    return bool(outputs) and all(Path(output).exists() for output in outputs)
