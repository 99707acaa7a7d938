"""A comparison for a terminal: what is at the end of it is what matters, since that is what one sees."""

import shutil
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from framecast.study import catalogue
from framecast.upkeep.diff.causes import Cause, grouped, named, shared
from framecast.upkeep.diff.changes import VERDICTS, Moved, Number
from framecast.upkeep.diff.words import counted, decimals_of, few, fixed, plain, power_of, scaled

if TYPE_CHECKING:
    from framecast.results import Spread
    from framecast.study.grid import Cell
    from framecast.upkeep.diff.comparison import Diff
    from framecast.upkeep.diff.sides import Side

AFFECTS_NUMBERS = False
WIDEST = 160  #: columns, where no terminal says how many it has
MOST_LINES = 8
MOST_CELLS = 4
HEADER = ("", "seeds", "before", "after", "change", "noise", "")
NOTHING = "–"


def written(diff: "Diff", *, everything: bool = False) -> str:
    """The whole comparison, within the terminal's width; ``everything`` also lists what is the same."""
    width = shutil.get_terminal_size((WIDEST, 24)).columns
    lines = [*_head(diff, width), *_blocks(diff, width, everything), *_why(diff, width, everything)]
    lines += _wrapped(summary(diff), width, 2)
    return "\n".join(lines) + "\n"


def summary(diff: "Diff") -> str:
    """How many numbers are what, and how many cells and findings changed, in one line."""
    verdicts: Counter[str] = Counter(number.verdict for number in diff.numbers)
    told = [", ".join(f"{verdicts[verdict]} {verdict}" for verdict in _worth(verdicts)) or "no number"]
    states = Counter(cause.state for cause in diff.causes)
    told += [f"{counted(states[state], 'cell')} {state}" for state in ("changed", "added", "removed") if states[state]]
    if diff.findings:
        told.append(f"{counted(len(diff.findings), 'finding')} changed")
    return f"{', '.join(diff.metrics)}: {'; '.join(told)}"


def better(metric: str) -> str:
    """Which way a metric improves, in words."""
    way = catalogue.metric_fact(metric, "better")
    return "nearer to 1 is better" if way == "one" else f"{way} is better"


def cells(number: Number, power: int, decimals: int) -> tuple[str, ...]:
    """Seeds, before, after, change and noise of a number as text, in a power of ten."""
    before, after = number.before, number.after
    counts = list(dict.fromkeys(str(one.seeds) for one in (before, after) if one)) if number.system.loss else [NOTHING]
    told = number.verdict not in ("the same", "not comparable") and number.change is not None
    change = fixed(number.change / 10.0**power, decimals, signed=True) if told and number.change is not None else ""
    noise = f"±{fixed(number.noise / 10.0**power, decimals)}" if told and number.noise is not None else ""
    return " → ".join(counts), _spread(before, power, decimals), _spread(after, power, decimals), change, noise


def digits(numbers: Sequence[Number]) -> tuple[int, int]:
    """The power of ten and the decimals in which numbers of one metric can be read downwards.

    Trained systems decide: baselines may be far better or worse, and are no reason to write others in other digits.
    """
    numbers = [number for number in numbers if number.system.loss] or numbers
    means = [one.mean for number in numbers for one in (number.before, number.after) if one]
    power = power_of(means)
    return power, max(
        (
            decimals_of(one.mean / 10.0**power, (number.change or 0.0) / 10.0**power if number.change else 0.0)
            for number in numbers
            for one in (number.before, number.after)
            if one
        ),
        default=0,
    )


def label(number: Number) -> str:
    """A system as people read it, which never goes without its flaw."""
    return f"{number.system}{' (leaky)' if number.leaky else ''}"


def finding(moved: Moved) -> str:
    """A finding from the first system's side: a against b, what it was and what it is now."""
    words = {"a better": "better", "b better": "worse"}
    was, now = (words.get(one.verdict, one.verdict) for one in (moved.before, moved.after))
    return f"{moved.pair[3]} against {moved.pair[4]}: {was} → {now}"


def what_changed(cause: Cause, everywhere: Sequence[str] = ()) -> Iterator[str]:
    """Of a cell whose key is another: the parameters, then the code; what is not known is said to be so.

    What changed ``everywhere`` is told once, elsewhere.
    """
    if cause.parameters is None:
        yield "parameters: not known"
    else:
        yield from (line for line in cause.parameters if line not in everywhere)
    if cause.code:
        yield f"code: {few(cause.code)}"
    elif cause.code is None:
        yield "code: not known"
    elif not cause.parameters:
        yield "neither parameters nor code of today's imports: raw files, or modules that are not imported any more"


# --- parts ------------------------------------------------------------------------------------------


def _worth(verdicts: Iterable[str]) -> list[str]:
    return [verdict for verdict in VERDICTS if verdict in verdicts]


def head(side: "Side") -> str:
    """A side in one line: what was typed, which commit that is, and which one its tables are of."""
    commit, tables = side.commit, side.tables
    told = [side.name]
    if commit:
        shown = [] if commit.hash.startswith(side.name) else [commit.short]
        told = [*told, *shown, commit.date, plain(commit.subject)]
    if tables and (commit is None or tables.hash != commit.hash):
        told.append(f"(tables of {tables.short}, {tables.date})")
    return "  ".join(told)


def _head(diff: "Diff", width: int) -> Iterator[str]:
    for word, side in (("before", diff.before), ("after", diff.after)):
        yield from _wrapped(f"{word:7} {head(side)}", width, 8)
    if diff.before.scales != diff.after.scales:
        scales = (", ".join(side.scales) for side in (diff.before, diff.after))
        yield f"scale   {' → '.join(scales)}"
    for line in diff.unknown:
        yield from _wrapped(line, width, 2)
    yield ""


def _blocks(diff: "Diff", width: int, everything: bool) -> Iterator[str]:
    """A table for each dataset, metric and mode in which something moved, then what is the same everywhere."""
    still: list[str] = []
    several = Counter(dataset for dataset, _ in {(one.dataset, one.mode) for one in diff.numbers})
    for (dataset, mode, metric), found in groupby(diff.numbers, lambda one: (one.dataset, one.mode, one.metric)):
        numbers = list(found)
        shown = [number for number in numbers if everything or number.verdict != "the same"]
        moved = [one for one in diff.findings if one.pair[:3] == (dataset, mode, metric)]
        if not (shown or moved):
            told = [dataset, *([mode] if several[dataset] > 1 else []), *([metric] if len(diff.metrics) > 1 else [])]
            still.append(f"{' '.join(told)} ({len(numbers)})")
            continue
        power, decimals = digits(shown)
        yield from _wrapped(f"{dataset} · {mode} · {scaled(metric, power)} ({better(metric)})", width, 2)
        yield from _table([(label(one), *cells(one, power, decimals), one.verdict) for one in shown], width)
        if len(shown) < len(numbers):
            yield f"  and {len(numbers) - len(shown)} the same"
        if why := dict.fromkeys(reason for number in shown for reason in number.why):
            yield from _wrapped(f"  not the same test: {'; '.join(why)}", width, 4)
        for number in shown:
            if number.lost and number.before and number.after and number.before.seeds <= number.after.seeds:
                yield from _wrapped(f"  {label(number)}: other seeds: {few(map(str, number.lost))} gone", width, 4)
        if moved:
            yield "  findings that changed:"
            yield from _cut([f"    {finding(one)}" for one in moved], width, everything)
        yield ""
    if still:
        yield from _wrapped(f"the same: {', '.join(still)}", width, 2)
        yield ""


def _table(rows: Sequence[tuple[str, ...]], width: int) -> Iterator[str]:
    """Names to the left, numbers to the right; where a line is too long, the name has one to itself."""
    if not rows:
        return
    header = [title if any(told) else "" for title, *told in zip(HEADER, *rows, strict=True)]
    columns = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        numbers = [f"{text:>{size}}" for text, size in zip(row[1:-1], columns[1:-1], strict=True)]
        line = "  ".join(text for text, size in zip(numbers, columns[1:-1], strict=True) if size)
        if sum(columns) + 2 * sum(map(bool, columns)) <= width:
            yield f"  {row[0]:{columns[0]}}  {line}  {row[-1]}".rstrip()
        else:
            yield from [f"  {row[0]}"] if row[0] else []
            yield f"    {line}  {row[-1]}".rstrip()


def _spread(spread: "Spread | None", power: int, decimals: int) -> str:
    if spread is None:
        return NOTHING
    sd = "" if spread.sd is None else f" ± {fixed(spread.sd / 10.0**power, decimals)}"
    return fixed(spread.mean / 10.0**power, decimals) + sd


def _why(diff: "Diff", width: int, everything: bool) -> Iterator[str]:
    everywhere = shared(diff.causes)
    if everywhere:
        yield "in every changed cell:"
        yield from _cut([f"    {line}" for line in everywhere], width, everything)
    for cause, group in grouped(diff.causes):
        yield from _wrapped(f"{counted(len(group), 'cell')} {cause.state}: {_named(group, everything)}", width, 2)
        if cause.state != "changed":
            continue
        yield from _cut([f"    {line}" for line in what_changed(cause, everywhere)], width, everything)
    if diff.causes:
        yield ""


def _cut(lines: Sequence[str], width: int, everything: bool) -> Iterator[str]:
    """The first of many lines, and how many more there are."""
    most = len(lines) if everything or len(lines) <= MOST_LINES + 1 else MOST_LINES
    for line in lines[:most]:
        yield from _wrapped(line, width, 6)
    if most < len(lines):
        yield f"    and {len(lines) - most} more (--all lists them)"


def _named(group: "Sequence[Cell]", everything: bool) -> str:
    return few(names := named(group), len(names) if everything else MOST_CELLS)


def _wrapped(line: str, width: int, indent: int) -> list[str]:
    """A line that is too long goes on below, indented; no name is broken."""
    return textwrap.wrap(
        line,
        max(width, 40),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        drop_whitespace=True,
    ) or [""]
