"""``00sequences.txt``: which frames of each KTH clip show the person (Schuldt, Laptev, Caputo 2004).

A prose header, then one line for each of the 600 clips, in any order, with blank lines between persons::

    person01_boxing_d1      frames  1-95, 96-185, 186-245, 246-360
    person13_handclapping_d3        *missing*

Lines end in CRLF. Frame numbers start at 1 and both ends are included. Usually a clip has four ranges; they may touch,
overlap (``193-306, 186-200``) and be out of order.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from annotated_types import Interval
from pydantic import StringConstraints

from framecast.errors import UserError

#: In the order of their names.
Action = Literal["boxing", "handclapping", "handwaving", "jogging", "running", "walking"]
Person = Annotated[int, Interval(ge=1, le=25)]
Scenario = Annotated[int, Interval(ge=1, le=4)]
NAMED = "person(0[1-9]|1[0-9]|2[0-5])_(boxing|handclapping|handwaving|jogging|running|walking)_d([1-4])"
ClipName = Annotated[str, StringConstraints(pattern=f"^{NAMED}$")]
ACTIONS: tuple[Action, ...] = get_args(Action)

NAME = "00sequences.txt"
SHA256 = "4a1287ee0318ea6662c74fe66d4cfdadeb627996d1c34ac2fed38e628ab1eb4b"  #: of the published list
SIZE = 38292

#: sha1 of the published archives, one for each action.
ARCHIVES_SHA1 = {
    "walking": "a3e81537271a0ab4576591774baa38c2d97b7e3a",
    "jogging": "21943bdbcef9dad106db0d74661e49eaeaa15a25",
    "running": "da83bb313edfd4455fffdda6263696fa10d43c6f",
    "boxing": "adb36ed9c29c846d44d2ba15f348bd115c951bbd",
    "handwaving": "0792f7cd69f7f895a205c08ac212ddaa7177e370",
    "handclapping": "d3b81261aa822ef63d0d1523f945bfaff27814d2",
}

#: Their sizes as they are told, roughly.
ARCHIVES_MB = {"walking": 242, "jogging": 168, "running": 149, "boxing": 194, "handwaving": 218, "handclapping": 176}

LINE = re.compile(rf"({NAMED})\s+(?:\*missing\*|frames\s+(\d+-\d+(?:,\s*\d+-\d+)*))")
LONGEST = 10**6  #: a frame number above this is a typing error
EXPECTED = "'personNN_action_dM frames a-b, c-d, …' or 'personNN_action_dM *missing*'"

Segment = tuple[int, int]  # first and last frame, from 1


@dataclass(frozen=True, order=True)
class Clip:
    """One recording: who does what, where (1 to 3: outdoors, of which 2 zooms and 3 has other clothes; 4: indoors)."""

    action: str
    person: int
    scenario: int

    def __str__(self) -> str:
        return f"person{self.person:02}_{self.action}_d{self.scenario}"

    @classmethod
    def named(cls, name: str) -> "Clip | None":
        """The clip of a name like ``person01_boxing_d1``; None where it is none of the 600."""
        match = re.fullmatch(NAMED, name)
        return cls(match[2], int(match[1]), int(match[3])) if match else None


def read_segments(path: Path) -> dict[Clip, tuple[Segment, ...]]:
    """The ranges of every listed clip, as written; none for a clip that is marked missing.

    Raises UserError with path, line number and what was expected for a line after the header that names no clip, a
    clip that is listed twice, and a range that is none.
    """
    found: dict[Clip, tuple[Segment, ...]] = {}
    lines = path.read_bytes().decode("latin-1").splitlines()
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or not (found or line.startswith("person")):
            continue
        where = f"{path}, line {number}"
        match = LINE.fullmatch(line)
        clip = Clip.named(match[1]) if match else None
        if match is None or clip is None:
            raise UserError(f"{where}: expected {EXPECTED}, found {line[:80]!r}")
        if clip in found:
            raise UserError(f"{where}: expected each clip once, found {clip} again")
        found[clip] = tuple(_segment(written, where) for written in re.findall(r"\d+-\d+", match[5] or ""))
    if not found:
        raise UserError(f"{path}: expected lines {EXPECTED}, found none")
    return found


def _segment(written: str, where: str) -> Segment:
    first, last = map(int, written.split("-"))
    if not 1 <= first <= last <= LONGEST:
        raise UserError(f"{where}: expected a range of frames a-b with 1 ≤ a ≤ b ≤ {LONGEST}, found {written}")
    return first, last
