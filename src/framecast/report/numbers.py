"""How a number is written: rounded for the eye, and whole in attributes that a program can check."""

import math
from dataclasses import dataclass

from framecast.results import Results, Spread, System
from framecast.upkeep.diff.words import SUPERSCRIPT


@dataclass(frozen=True)
class Number:
    """A number as it is read, and as ``data-…`` attributes that say exactly what it is."""

    text: str
    data: dict[str, str]


@dataclass(frozen=True)
class Score:
    """A system's score: mean, sd over its seeds where there are several, and where its provenance stands."""

    mean: Number
    sd: Number | None
    seeds: int
    anchor: str


def anchor(dataset: str, system: System) -> str:
    """The id of a system's provenance, of letters, digits and dashes."""
    return "cell-" + "".join(part if part.isalnum() else "-" for part in f"{dataset}-{system}")


def significant(value: float, power: int = 0, digits: int = 4) -> str:
    """``value`` / 10^power with four significant digits, so that a column in one power can be read downwards.

    >>> significant(0.06213, power=-2), significant(1892.3), significant(0.0)
    ('6.213', '1892', '0')
    """
    if not math.isfinite(value):
        return _without_digits(value)
    if not value:
        return "0"
    text = f"{value / 10.0**power:.{_decimals(value / 10.0**power, digits)}f}"
    return text.replace("-", "−")


def fixed(value: float, decimals: int) -> str:
    """A number with so many decimals; what rounds to zero has no sign.

    >>> fixed(-1.25, 1), fixed(-0.004, 2), fixed(-math.inf, 1)
    ('−1.2', '0.00', '−∞')
    """
    if not math.isfinite(value):
        return _without_digits(value)
    text = f"{value:.{decimals}f}"
    return text.replace("-", "−" if text.strip("-0.") else "")


def _without_digits(value: float) -> str:
    """What stands where a metric is not defined, and for an end of an interval that is open."""
    return "n/a" if math.isnan(value) else "∞" if value > 0 else "−∞"


def power_of(value: float) -> int:
    """The power of ten that a number is read in: none while it is neither small nor large.

    >>> power_of(5.5e-4), power_of(0.31), power_of(22.1)
    (-4, 0, 0)
    """
    power = math.floor(math.log10(abs(value))) if value else 0
    return power if power < -1 or power > 3 else 0


def scientific(value: float) -> str:
    """Four significant digits, in powers of ten where the plain number would be mostly zeros.

    >>> scientific(0.7474), scientific(0.000551)
    ('0.7474', '5.510 × 10⁻⁴')
    """
    if not value or not math.isfinite(value) or 1e-3 <= abs(value) < 1e6:
        return significant(value)
    power = math.floor(math.log10(abs(value)))
    return f"{significant(value, power)} × 10{str(power).translate(SUPERSCRIPT)}"


def _decimals(value: float, digits: int) -> int:
    return max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value and math.isfinite(value) else 0


def score(
    results: Results, dataset: str, system: System, metric: str, power: int | None = None, mode: str | None = None
) -> Score | None:
    """Mean and sd of a system in a mode, written in a power of ten or (None) by themselves."""
    mode = mode or results.primary_mode(dataset)
    spread = results.spread(dataset, system, metric, mode)
    return written(spread, data_of(dataset, system, metric, mode), power, anchor(dataset, system)) if spread else None


def written(spread: Spread, data: dict[str, str], power: int | None, anchor: str, whose: str = "") -> Score:
    """A spread as it is read; its sd has the mean's last decimal. ``whose`` tells a statistic from the page's own."""
    text = scientific(spread.mean) if power is None else significant(spread.mean, power)
    return Score(
        Number(text, {**data, "statistic": f"{whose}mean", "value": repr(spread.mean)}),
        _sd(spread, data, power, whose),
        spread.seeds,
        anchor,
    )


def _sd(spread: Spread, data: dict[str, str], power: int | None, whose: str) -> Number | None:
    if spread.sd is None or math.isnan(spread.mean):
        return None
    scale = 10.0 ** (power or 0)
    plain = power is not None or abs(spread.mean) >= 1e-3
    text = f"{spread.sd / scale:.{_decimals(spread.mean / scale, 4)}f}" if plain else scientific(spread.sd)
    return Number(text, {**data, "statistic": f"{whose}sd", "value": repr(spread.sd)})


def data_of(dataset: str, system: System, metric: str, mode: str, steps: str = "all") -> dict[str, str]:
    """What a number is about, for a program: whose score, by which metric, in which mode, over which steps."""
    depth = "" if system.depth is None else str(system.depth)
    whose = {"dataset": dataset, "model": system.model, "depth": depth, "loss": system.loss or ""}
    return {**whose, "metric": metric, "mode": mode, "steps": steps}
