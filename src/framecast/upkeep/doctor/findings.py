"""What a check yields: one line."""

from dataclasses import dataclass
from typing import Literal

AFFECTS_NUMBERS = False
Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Line:
    """What one check found; ``cure`` says what to do where it is not ok."""

    level: Level
    about: str
    found: str
    cure: str = ""

    def __str__(self) -> str:
        told = f"{self.level:<8} {self.about}: {self.found}"
        return " ".join(f"{told}; {self.cure}".split("\n")) if self.cure else told


def sized(count: int) -> str:
    """Bytes as people say them: ``1.65 MB``."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= 0.9995 * size:  # what would be rounded to a thousand of the next smaller unit
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


def first_line(error: Exception) -> str:
    """What an error says, without what it adds."""
    return (str(error).strip().splitlines() or ["no reason given"])[0]
