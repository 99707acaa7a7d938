"""The machine that a job runs on: what a record of the run names it by."""

import functools
import os
import platform
from dataclasses import dataclass
from pathlib import Path

AFFECTS_NUMBERS = False
CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Machine:
    """Processor, the cores that this process may use, memory in MB of 10⁶ bytes, and the operating system."""

    processor: str
    cores: int
    memory_mb: int
    platform: str


@functools.cache
def here() -> Machine:
    """This machine."""
    import psutil

    return Machine(_processor(), _cores(), round(psutil.virtual_memory().total / 1e6), platform.platform())


def _processor() -> str:
    """The processor's model; where the system does not name it, its architecture."""
    lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines() if CPUINFO.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(filter(None, named), platform.processor() or platform.machine())


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
