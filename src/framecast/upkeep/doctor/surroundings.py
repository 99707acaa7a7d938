"""What several checks ask about, found out once."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framecast.study.grid import Grid

AFFECTS_NUMBERS = False
COMMANDS = ("sbatch", "squeue", "scontrol", "sinfo", "srun")
PATIENCE_SECONDS = 10


@dataclass(frozen=True)
class Partition:
    """A partition as the controller describes it; memory and CPUs are of its largest node."""

    name: str
    is_default: bool
    is_up: bool
    limit: str
    memory_mb: int
    cpus: int
    gpus: tuple[str, ...]

    def __str__(self) -> str:
        gpus = ", ".join(self.gpus) or "none"
        node = f"nodes up to {self.memory_mb} MB and {self.cpus} CPUs, GPUs per node: {gpus}"
        return f"{'default, ' if self.is_default else ''}{'up' if self.is_up else 'down'}, limit {self.limit}, {node}"

    @property
    def minutes(self) -> int | None:
        """The time limit; None where there is none, or none that we can read."""
        days, _, clock = self.limit.rpartition("-")
        numbers = [days or "0", *["0", "0", *clock.split(":")][-3:]]  # sinfo writes days-hours:minutes:seconds
        if not all(number.isdecimal() for number in numbers):
            return None
        return int(numbers[0]) * 1440 + int(numbers[1]) * 60 + int(numbers[2])


class Refused(Exception):
    """A command that is missing, failed, or did not answer in time, in one line."""


class Surroundings:
    """What several checks ask about, found out once; each raises what it met."""

    @cached_property
    def grid(self) -> "Grid":
        """The study of ``params.yaml``."""
        from framecast.study import reading
        from framecast.study.grid import Grid

        return Grid(reading.load())

    @cached_property
    def has_slurm(self) -> bool:
        """Whether any of Slurm's commands is installed."""
        return any(map(shutil.which, COMMANDS))

    @property
    def partitions(self) -> dict[str, Partition]:
        """Every partition that the controller knows; Refused where it does not answer, and it is asked only once."""
        if isinstance(self._answer, Refused):
            raise self._answer
        return self._answer

    @cached_property
    def _answer(self) -> "dict[str, Partition] | Refused":
        try:
            told = _ask("sinfo", "--noheader", "--format=%P|%a|%l|%m|%c|%G")
        except Refused as refusal:
            return refusal
        rows = [line.strip().split("|") for line in told.splitlines()]
        found: dict[str, Partition] = {}
        for name, state, limit, memory, cpus, gres in (row for row in rows if len(row) == 6):
            plain = name.rstrip("*")
            before = found.get(plain)
            gpus = {part.split("(")[0] for part in gres.split(",") if part.startswith("gpu")}
            found[plain] = Partition(
                plain,
                name.endswith("*"),
                state == "up",
                limit,
                max(_number(memory), before.memory_mb if before else 0),
                max(_number(cpus), before.cpus if before else 0),
                tuple(sorted(gpus.union(before.gpus if before else ()))),
            )
        return found


def _ask(*command: str) -> str:
    """What a command prints; Refused in one line when it does not."""
    try:
        told = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        raise Refused(f"`{command[0]}` said nothing for {PATIENCE_SECONDS} s") from None
    except OSError as error:
        raise Refused(f"`{command[0]}`: {error.strerror}") from None
    if told.returncode != 0:
        said = [line for line in (told.stderr or told.stdout).splitlines() if line.strip(" :")]
        raise Refused(f"`{command[0]}` ended with exit code {told.returncode}: {said[-1] if said else 'no word'}")
    return told.stdout


def _number(text: str) -> int:
    digits = re.match(r"\d+", text)
    return int(digits[0]) if digits else 0
