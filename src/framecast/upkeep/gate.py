"""Hold the numbers of a change against those of a commit: what got worse by more than is allowed, and than noise?

    mse_pix01=0.002   at most that much worse, in the metric's own unit
    mse_pix01=5%      at most that share of what it was

A number offends when it got worse by more than the amount **and** the change is more than noise, as
``upkeep.diff.changes`` defines it. With one seed on each side nothing is known of noise, so the amount alone decides,
and the line says so. What has a number no more, where it had one, offends too.

Something is missing where a cell or number of the commit is not there any more, or cannot be compared since it is of
another test. What came new is not asked about.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from framecast.errors import UserError
from framecast.results import goodness
from framecast.upkeep import diff
from framecast.upkeep.diff import show
from framecast.upkeep.diff.changes import Number
from framecast.upkeep.diff.words import counted, few, plain

AFFECTS_NUMBERS = False
HELD, WORSE, MISSING = 0, 1, 2  #: exit codes


class Missing(UserError):
    """Something that the gate was asked about is not there: neither held nor worse."""

    exit_code = MISSING


@dataclass(frozen=True)
class Allowed:
    """How much worse a metric may become: an amount, or a share of what it was."""

    amount: float
    is_share: bool
    written: str

    def limit(self, before: float) -> float:
        """In the metric's unit."""
        return self.amount * abs(before) if self.is_share else self.amount


def gate(named: Iterable[str], amounts: Iterable[str], study: str = "") -> int:
    """Print a line for each offender and for each thing that is missing, then the outcome; return the exit code.

    0: every number held. 1: at least one got worse by more than is allowed and than noise. 2: none did, and something
    is missing. Raises Missing (exit code 2) for a mistake, be it a revision, a metric or an amount.
    """
    try:
        allowed = parsed(amounts)
        found = diff.compare(named, allowed, study)
    except UserError as error:
        raise Missing(str(error)) from None
    offenders = [line for number in found.numbers if (line := _offence(number, allowed[number.metric]))]
    missing = _missing(found)
    for line in (*offenders, *missing):
        print(line)
    asked = sum(number.system.loss is not None and number.before is not None for number in found.numbers)
    if not asked:
        raise Missing(f"gate: {found.before.name} has no number of a trained system by {', '.join(allowed)}")
    told = [f"{len(offenders)} worse"] * bool(offenders) + [f"{len(missing)} missing"] * bool(missing)
    limits = ", ".join(f"{metric} by {one.written}" for metric, one in allowed.items())
    outcome = ", ".join(told) or "all hold"
    print(f"gate: {counted(asked, 'number')} held against {found.before.name} ({limits}): {outcome}")
    return WORSE if offenders else MISSING if missing else HELD


def parsed(amounts: Iterable[str]) -> dict[str, Allowed]:
    """``METRIC=AMOUNT`` or ``METRIC=SHARE%``, each metric once. Raises UserError for anything else.

    >>> parsed(["psnr_frame=0.2"])["psnr_frame"].limit(20.0), parsed(["mse_pix01=5%"])["mse_pix01"].limit(0.02)
    (0.2, 0.001)
    """
    found: dict[str, Allowed] = {}
    for text in amounts:
        metric, _, amount = text.partition("=")
        number = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)(%?)", amount)
        if metric in ("", "all") or not number or not math.isfinite(float(number[1])):
            raise UserError(
                f"--max-regress: found '{plain(text)}'; allowed: METRIC=AMOUNT, such as psnr_frame=0.2 or mse_pix01=5%"
            )
        if metric in found:
            raise UserError(f"--max-regress: found {plain(metric)} twice; allowed: each metric once")
        share = bool(number[2])
        found[metric] = Allowed(float(number[1]) / (100 if share else 1), share, amount)
    if not found:
        raise UserError("--max-regress: found nothing; allowed: METRIC=AMOUNT, at least once")
    return found


def _offence(number: Number, allowed: Allowed) -> str:
    """What is said of a number that got worse by more than is allowed and than noise; empty where it did not."""
    before, after = number.before, number.after
    if before is None or after is None or number.verdict not in ("worse", "worse (one seed)", "not defined"):
        return ""
    where = f"{number.dataset} {show.label(number)}, {number.mode}, {number.metric}"
    if number.verdict == "not defined":
        return f"worse: {where}: {before.mean:.6g} → {after.mean:.6g}" if math.isfinite(before.mean) else ""
    loss = goodness(number.metric, before.mean) - goodness(number.metric, after.mean)
    if loss <= allowed.limit(before.mean):
        return ""
    noise = "one seed, so that noise is not known" if number.noise is None else f"noise {number.noise:.3g}"
    told = f"{before.mean:.6g} → {after.mean:.6g}, worse by {loss:.3g} (allowed {allowed.written}; {noise})"
    return f"worse: {where}: {told}"


def _missing(found: diff.Diff) -> list[str]:
    lines = []
    for number in found.numbers:
        where = f"missing: {number.dataset} {show.label(number)}, {number.mode}, {number.metric}"
        if number.verdict == "removed":
            lines.append(f"{where}: not in {found.after.name}")
        elif number.verdict == "not comparable":
            lines.append(f"{where}: not comparable: {'; '.join(number.why)}")
        elif number.lost:
            lines.append(f"{where}: of seed {few(map(str, number.lost))} not in {found.after.name}")
    return lines
