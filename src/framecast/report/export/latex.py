r"""The numbers that a paper quotes, as LaTeX macros: one line each, so that no number is typed by hand.

LaTeX's own names have letters only, and a cell's name has digits, dashes and underscores, so the name is an argument:
``\fc{moving_mnist/simvp/depth-3/mse/psnr_frame}``. A name that is not in the file stops LaTeX with its own words.
"""

import math
from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from framecast import artifacts
from framecast.errors import UserError
from framecast.report.export.cells import scores
from framecast.report.export.outputs import expect_own_file
from framecast.report.tables import marks_of
from framecast.results import Spread
from framecast.study import catalogue
from framecast.upkeep import history
from framecast.upkeep.record import CODE

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid

FIRST_LINE = "% Numbers of framecast, written by `framecast export latex`; an edit is lost when they are written again."
SPREAD_DIGITS, ALONE_DIGITS = 2, 4  #: significant digits of an sd; of a mean without one
LEAKY = "it sees frames that it forecasts"
PLAIN = range(-2, 5)  #: powers of ten of a mean that is written without one: 0.012 to 12345

USAGE = r"""%
%   \fc{NAME}      mean ± sd over seeds, or the one value: $22.03 \pm 0.12$
%   \fcmean{NAME}  the mean alone          \fcsd{NAME}  the sample standard deviation alone
%   \fcn{NAME}     how many seeds it is of
%
% NAME is dataset/system/metric, and /mode behind it in any other than the dataset's leading mode. Put
% \input{this file} before \begin{document}. A mean has the last decimal of its sd, of which two significant digits
% are written; without one, four significant digits of the mean.
"""
MACROS = r"""\makeatletter
\newcommand*{\fc@set}[5]{\expandafter\gdef\csname fc@\detokenize{#1}\endcsname{{#2}{#3}{#4}{#5}}}
\newcommand*{\fc@get}[2]{\ifcsname fc@\detokenize{#2}\endcsname
  \expandafter\expandafter\expandafter#1\csname fc@\detokenize{#2}\endcsname
  \else\PackageError{framecast}{no number is called \detokenize{#2}}{The exported file lists them.}\textbf{??}\fi}
\newcommand*{\fc@nosd}{\PackageError{framecast}{a single value has no standard deviation}{Use \string\fcmean.}}
\newcommand*{\fc@times}[1]{\ifx\relax#1\relax\else\times 10^{#1}\fi}
\newcommand*{\fc@with}[3]{\ifx\relax#3\relax#1\pm#2\else(#1\pm#2)\fi}
\newcommand*{\fc@pick}[4]{\ensuremath{\ifx\relax#2\relax#1\else\fc@with{#1}{#2}{#3}\fi\fc@times{#3}}}
\newcommand*{\fc@pickmean}[4]{\ensuremath{#1\fc@times{#3}}}
\newcommand*{\fc@picksd}[4]{\ifx\relax#2\relax\fc@nosd\else\ensuremath{#2\fc@times{#3}}\fi}
\newcommand*{\fc@pickn}[4]{\ensuremath{#4}}
\DeclareRobustCommand*{\fc}[1]{\fc@get\fc@pick{#1}}
\DeclareRobustCommand*{\fcmean}[1]{\fc@get\fc@pickmean{#1}}
\DeclareRobustCommand*{\fcsd}[1]{\fc@get\fc@picksd{#1}}
\DeclareRobustCommand*{\fcn}[1]{\fc@get\fc@pickn{#1}}
% Each line: \fc@set{NAME}{mean}{sd}{power of ten}{seeds}, without sd or power where there is none.
"""


class Written(NamedTuple):
    """A spread as digits: of ``mean`` and ``sd`` times 10^``power``; sd and power are empty where there is none."""

    mean: str
    sd: str
    power: str


def write(grid: "Grid", cells: "Sequence[Cell]", path: Path) -> None:
    """One line for each system, metric and mode: mean and sd over its seeds, and in a comment what it is."""
    expect_own_file(path, FIRST_LINE)
    lines = [
        FIRST_LINE,
        f"% scale {grid.params.scale}, {_commit()}, {len(cells)} cells",
        USAGE.rstrip(),
        MACROS.rstrip(),
    ]
    artifacts.write_text(path, "\n".join([*lines, *_lines(grid, cells), r"\makeatother"]) + "\n")


def written(spread: Spread) -> Written:
    """A spread, rounded by its sd, in a power of ten where plain digits would be many or would mislead.

    >>> written(Spread(22.0312, 0.1249, 3)), written(Spread(5.514e-4, 1.234e-5, 3))
    (Written(mean='22.03', sd='0.12', power=''), Written(mean='5.51', sd='0.12', power='-4'))
    >>> written(Spread(22.0312, None, 1)), written(Spread(5678.9, 123.4, 3))
    (Written(mean='22.03', sd='', power=''), Written(mean='5680', sd='120', power=''))
    """
    mean, sd = Decimal(repr(spread.mean)), Decimal(repr(spread.sd or 0.0))
    last = _last_digit(sd, SPREAD_DIGITS) if sd else _last_digit(mean, ALONE_DIGITS) if mean else 0
    leading = max(mean, sd, key=abs)
    power = leading.adjusted() if leading and leading.adjusted() not in PLAIN else 0
    told_mean, told_sd = (_rounded(number, last, power) for number in (mean, sd))
    return Written(told_mean, "" if spread.sd is None else told_sd, str(power) if power else "")


def _last_digit(number: Decimal, digits: int) -> int:
    """The power of ten of a number's last significant digit, once it is rounded: 0.0996 has two in 0.10."""
    return Decimal(f"{number:.{digits - 1}e}").adjusted() - digits + 1


def _rounded(number: Decimal, last: int, power: int) -> str:
    """``number`` / 10^power, rounded at 10^last."""
    exact = number.quantize(Decimal((0, (1,), last)), rounding=ROUND_HALF_EVEN).scaleb(-power)
    text = f"{exact:f}"
    return text.removeprefix("-") if exact.is_zero() else text


def _lines(grid: "Grid", cells: "Sequence[Cell]") -> Iterator[str]:
    for system, seeds in _by_system(cells).items():
        read = [scores(grid, cell) for cell in seeds]
        numbers: dict[tuple[str, str], list[float]] = {}
        for one in (one for _, told in read for one in told if one.is_overall):
            numbers.setdefault((one.mode, one.metric), []).append(one.value)
        for (mode, metric), values in numbers.items():
            name = "/".join([system, metric] + [mode] * (mode != next(iter(numbers))[0]))
            about = _about(grid, read[0][0], mode, seeds)
            yield _line(name, values, f"{catalogue.metric_fact(metric, 'unit')}; {mode}; {about}")


def _line(name: str, values: list[float], about: str) -> str:
    if not all(map(math.isfinite, values)):
        return f"% {name} is not defined for these forecasts: {about}"
    spread = Spread.of(np.array(values))
    assert spread is not None
    mean, sd, power = written(spread)
    return rf"\fc@set{{{name}}}{{{mean}}}{{{sd}}}{{{power}}}{{{spread.seeds}}}% {about}"


def _about(grid: "Grid", facts: dict[str, Any], mode: str, seeds: "Sequence[Cell]") -> str:
    """What a reader has to know of a system's numbers besides their unit."""
    wanted = len(grid.params.seeds)
    told = "untrained" if seeds[0].is_baseline else f"{len(seeds)} of {wanted} seeds"
    marks = [f"{mark}: {LEAKY}" if mark == "leaky" else mark for mark in marks_of(facts, mode)]
    return "; ".join([told, f"{facts['source']} data", *marks])


def _by_system(cells: "Sequence[Cell]") -> "dict[str, list[Cell]]":
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.name.partition("/seed-")[0], []).append(cell)
    return found


def _commit() -> str:
    """The commit that is checked out, and whether it is what is on disk."""
    try:
        head = history.commit("HEAD")
        if head is None:
            return "no commit"
        changed = history.ask("status", "--porcelain", "--", *CODE)
    except UserError:
        return "not in a git repository"
    return f"commit {head.hash}" + (" with uncommitted changes" if changed else "")
