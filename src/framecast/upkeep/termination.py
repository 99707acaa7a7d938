"""SIGTERM to a Snakemake, be it the driver or a job's own: whenever it comes, what runs is waited for and then it ends.

Python runs a signal's handler in the main thread, between two steps of whatever that does. Snakemake's handler waits
for its scheduler's lock and for that of the semaphore on which the scheduler sleeps. Where the main thread holds one of
them (it looks after a job that has ended, it is woken, it is in the handler already), it waits for itself until the
walltime, and the GPU with it. ``docs/upstream/snakemake-sigterm.md`` tells it in full.
"""

import queue
import threading
from typing import Any

AFFECTS_NUMBERS = False


def heed() -> None:
    """Let the scheduler's handler take no lock: it sets the flag that the scheduler looks at, and a thread wakes it."""
    from snakemake.scheduling.job_scheduler import JobScheduler

    asked: queue.SimpleQueue[JobScheduler] = queue.SimpleQueue()

    def exit_gracefully(scheduler: JobScheduler, *_: Any) -> None:
        scheduler._user_kill = "graceful"
        asked.put(scheduler)  # the one queue that may be put into from within its own put

    def wake() -> None:
        while True:
            asked.get()._open_jobs.release()

    JobScheduler.exit_gracefully = exit_gracefully
    threading.Thread(target=wake, name="SIGTERM", daemon=True).start()
