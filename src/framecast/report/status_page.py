"""``reports/status.html``: how a grid fares, as a page that a browser loads again by itself while there is work left.

It is written whole under its final name or not at all, so whoever looks never sees half of one. No engine knows it.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from framecast import artifacts
from framecast.report.render import environment, source
from framecast.study.grid import REPORTS
from framecast.upkeep.status import LONG, STATES, WATCH_SECONDS, State, states

if TYPE_CHECKING:
    from framecast.study.grid import Grid

PAGE = REPORTS / "status.html"


@dataclass(frozen=True)
class Dataset:
    """The cells of a dataset, each with its state."""

    name: str
    cells: tuple[State, ...]

    @property
    def done(self) -> int:
        """How many are done."""
        return sum(cell.state == "done" for cell in self.cells)


def show(grid: "Grid") -> bool:
    """Write the page and say where; whether every cell is done."""
    found = list(states(grid))
    artifacts.write_text(PAGE, page(found, grid.params.scale, time.strftime("%Y-%m-%d %H:%M:%S")))
    print(PAGE)
    return all(one.state == "done" for one in found)


def watch(grid: "Grid") -> None:
    """Write it again and again until interrupted, or until every cell is done."""
    try:
        while not show(grid):
            time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return


def page(found: Sequence[State], scale: str, moment: str) -> str:
    """The page of these states as they were seen at a moment; once all are done it is not loaded again."""
    counts = Counter(one.state for one in found)
    names = dict.fromkeys(one.cell.dataset for one in found)
    jinja = environment()
    return jinja.get_template("status.html.j2").render(
        style=source(jinja, "report.css"),
        scale=scale,
        moment=moment,
        again=0 if counts["done"] == len(found) else WATCH_SECONDS,
        count=len(found),
        counts={state: counts[state] for state in STATES if counts[state]},
        datasets=[Dataset(name, tuple(one for one in found if one.cell.dataset == name)) for name in names],
        told=[one for one in found if one.state not in LONG],
    )
