"""A comparison for a pull request: both commits, a line of what moved, three numbers, and the rest folded."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from framecast.upkeep.diff import pictures, show
from framecast.upkeep.diff.causes import grouped, named, shared
from framecast.upkeep.diff.changes import VERDICTS, Number
from framecast.upkeep.diff.words import counted, few, plain, scaled

if TYPE_CHECKING:
    from framecast.upkeep.diff.comparison import Diff
    from framecast.upkeep.diff.sides import Side

AFFECTS_NUMBERS = False
SHOWN = 3  #: changed numbers that stand in the open
HEADER = ("dataset", "system", "metric", "seeds", "before", "after", "change", "noise", "verdict")


def written(diff: "Diff", folder: Path | None = None) -> str:
    """The whole comparison; what moved most stands first, what got worse before everything else.

    With a folder, a picture of each number that stands in the open is drawn there, and linked.
    """
    moved = sorted((number for number in diff.numbers if number.verdict != "the same"), key=_order)
    lines = [
        f"### What moved: {_code(diff.before.name)} → {_code(diff.after.name)}",
        "",
        f"- before: {_commit(diff.before)}",
        f"- after: {_commit(diff.after)}",
        *(f"- {_code(line)}" for line in diff.unknown),
        "",
        show.summary(diff),
        "",
        *_table(moved[:SHOWN]),
        *(_pictures(diff, moved[:SHOWN], folder) if folder else ()),
        *_folded(counted(len(moved) - SHOWN, "more number"), _table(moved[SHOWN:])),
        *_folded("Findings that changed", (f"- {_where(one.pair)}: {show.finding(one)}" for one in diff.findings)),
        *_folded("Cells, and what changed in them", _causes(diff)),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def _order(number: Number) -> tuple[int, float]:
    """What got worse first; among its like, by how many times the noise, or else by how much of what it was."""
    size = number.noise or abs(number.before.mean if number.before else 0.0) or 1.0
    return VERDICTS.index(number.verdict), -abs(number.gain or 0.0) / size


def _commit(side: "Side") -> str:
    commit, tables = side.commit, side.tables
    told = f"{commit.short} {_code(plain(commit.subject))}, {commit.date}" if commit else side.name
    other = tables and (commit is None or tables.hash != commit.hash)
    return told + (f" (tables of {tables.short}, {tables.date})" if tables and other else "")


def _table(numbers: Sequence[Number]) -> Iterator[str]:
    if not numbers:
        return
    yield f"| {' | '.join(HEADER)} |"
    yield f"|{'---|' * 3}{'---:|' * 5}---|"
    for number in numbers:
        power, decimals = show.digits([number])
        metric = f"{scaled(number.metric, power)} ({show.better(number.metric)}), {number.mode}"
        why = f": {'; '.join(number.why)}" if number.verdict == "not comparable" else ""
        row = (number.dataset, show.label(number), metric, *show.cells(number, power, decimals), number.verdict + why)
        yield f"| {' | '.join(text.replace('|', '/') for text in row)} |"
    yield ""


def _pictures(diff: "Diff", numbers: Sequence[Number], folder: Path) -> Iterator[str]:
    names = pictures.write(diff, numbers, folder)
    for number, name in zip(numbers, names, strict=True):
        yield f"![{pictures.told(number)}]({quote((folder / name).as_posix())})"
    if numbers:
        yield ""


def _causes(diff: "Diff") -> Iterator[str]:
    everywhere = shared(diff.causes)
    if everywhere:
        yield "- in every changed cell"
        yield from (f"  - {_code(line)}" for line in everywhere)
    for cause, group in grouped(diff.causes):
        yield f"- {counted(len(group), 'cell')} {cause.state}: {few(named(group), 10)}"
        if cause.state == "changed":
            yield from (f"  - {_code(line)}" for line in show.what_changed(cause, everywhere))


def _folded(title: str, lines: Iterable[str]) -> list[str]:
    """Nothing where there is nothing to fold."""
    inner = list(lines)
    if not inner:
        return []
    return [f"<details><summary>{title}</summary>", "", *inner, *([""] if inner[-1] else []), "</details>", ""]


def _where(pair: Sequence[str]) -> str:
    return ", ".join(pair[:3])


def _code(text: str) -> str:
    """Text of which a page makes no markup, no link and no mention of anybody."""
    return f"`{text.replace('`', chr(39)).strip() or ' '}`"
