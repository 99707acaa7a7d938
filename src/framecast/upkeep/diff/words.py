"""How a comparison is written: text that no terminal takes for a command, and numbers that can be read downwards."""

import math
from collections.abc import Iterable

AFFECTS_NUMBERS = False
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MOST_DIGITS = 7  #: significant ones; what differs only beyond them is told by its change alone


def plain(text: str) -> str:
    """Text as it stands, or with everything escaped that is not printed as a letter.

    >>> plain("main"), plain("\\x1b[31mred")
    ('main', '\\\\x1b[31mred')
    """
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def power_of(means: Iterable[float]) -> int:
    """The power of ten in which a block of numbers is read: that of the smallest, unless they are of a usual size.

    >>> power_of([5.5e-4, 0.2]), power_of([0.31, 22.1]), power_of([0.0])
    (-4, 0, 0)
    """
    sizes = [abs(mean) for mean in means if mean and math.isfinite(mean)]
    power = math.floor(math.log10(min(sizes))) if sizes else 0
    return power if power < -1 or power > 3 else 0


def scaled(metric: str, power: int) -> str:
    """A metric with the power of ten that its numbers are read in: mse_pix01 × 10⁻²."""
    return f"{metric} × 10{str(power).translate(SUPERSCRIPT)}" if power else metric


def decimals_of(mean: float, change: float) -> int:
    """Decimals that show four digits of a mean, and two of a change that is smaller than that.

    >>> decimals_of(21.3411, 0.5), decimals_of(21.3411, 0.00052), decimals_of(0.0, 0.0)
    (2, 5, 0)
    """
    if not (mean and math.isfinite(mean)):
        return 0
    size = math.floor(math.log10(abs(mean)))
    wanted = 3 - size
    if change and math.isfinite(change):
        wanted = max(wanted, 1 - math.floor(math.log10(abs(change))))
    return max(0, min(wanted, MOST_DIGITS - 1 - size))


def fixed(value: float, decimals: int, *, signed: bool = False) -> str:
    """A number with so many decimals and a true minus sign; what rounds to zero has no sign.

    >>> fixed(-1.25, 1), fixed(0.5, 2, signed=True), fixed(-0.004, 2, signed=True), fixed(float("nan"), 2)
    ('−1.2', '+0.50', '0.00', 'nan')
    """
    text = f"{value:{'+' if signed else ''}.{decimals}f}"
    rounds_to_zero = math.isfinite(value) and not text.strip("+-0.")
    return text.lstrip("+-") if rounds_to_zero or value != value else text.replace("-", "−")


def counted(number: int, what: str) -> str:
    """A number with its noun.

    >>> counted(1, "cell"), counted(3, "cell")
    ('1 cell', '3 cells')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def few(names: Iterable[str], most: int = 3) -> str:
    """The first of them, and how many more there are."""
    listed = list(names)
    more = len(listed) - most
    return ", ".join(listed[:most]) + (f" and {more} more" if more > 0 else "")
