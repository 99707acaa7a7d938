"""A changed number as a small picture: a dot for each seed before and after, a bar for their mean, one axis for both.

Plain SVG, drawn from the tables alone, so whatever writes the comparison needs neither a network nor Matplotlib.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from framecast import artifacts
from framecast.upkeep.diff import show
from framecast.upkeep.diff.words import fixed, scaled

if TYPE_CHECKING:
    from framecast.upkeep.diff.changes import Number
    from framecast.upkeep.diff.comparison import Diff
    from framecast.upkeep.diff.sides import Side

AFFECTS_NUMBERS = False
WIDTH, HEIGHT = 360, 112
LEFT, RIGHT = 56, WIDTH - 16
ROWS = {"before": (44, "#767b84"), "after": (72, "#0b5cad")}  #: where a side stands, and its colour on light and dark


def write(diff: "Diff", numbers: Sequence["Number"], folder: Path) -> list[str]:
    """Draw each of these numbers into a folder, and give its file's name."""
    names = []
    for number in numbers:
        named = f"{number.dataset} {number.system} {number.mode} {number.metric}"
        names.append(f"{re.sub('[^A-Za-z0-9_.]+', '-', named)}.svg")
        seeds = (_seeds(side, number) for side in (diff.before, diff.after))
        artifacts.write_text(folder / names[-1], drawn(number, *seeds))
    return names


def told(number: "Number") -> str:
    """What a picture shows, for who cannot see it."""
    return f"{number.dataset}, {show.label(number)}: {number.metric} of each seed before and after, {number.verdict}"


def drawn(number: "Number", before: Sequence[float], after: Sequence[float]) -> str:
    """The picture as SVG; values that are not finite have no dot."""
    sides = {"before": [*filter(math.isfinite, before)], "after": [*filter(math.isfinite, after)]}
    every = [value for values in sides.values() for value in values] or [0.0]
    margin = (max(every) - min(every)) / 20 or abs(every[0]) / 20 or 1.0
    low, high = min(every) - margin, max(every) + margin
    power, decimals = show.digits([number])
    heading = f"{number.dataset} · {show.label(number)} · {scaled(number.metric, power)}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="11">',
        f"<title>{escape(told(number))}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="4" fill="#fff"/>',
        f'<text x="8" y="18" textLength="{min(WIDTH - 16, 6 * len(heading))}" lengthAdjust="spacingAndGlyphs">'
        f"{escape(heading)}</text>",
        f'<line x1="{LEFT}" x2="{RIGHT}" y1="90" y2="90" stroke="#aab"/>',
    ]
    for end, anchor, x in ((low, "start", LEFT), (high, "end", RIGHT)):
        parts.append(f'<text x="{x}" y="104" text-anchor="{anchor}">{fixed(end / 10.0**power, decimals)}</text>')
    for side, values in sides.items():
        y, ink = ROWS[side]
        at = [LEFT + (value - low) / (high - low) * (RIGHT - LEFT) for value in values]
        parts.append(f'<text x="8" y="{y + 4}" fill="{ink}">{side}</text>')
        parts += [f'<circle cx="{x:.1f}" cy="{y}" r="4" fill="{ink}" fill-opacity="0.6"/>' for x in at]
        if at:
            mean = sum(at) / len(at)
            parts.append(f'<path d="M{mean:.1f} {y - 10}v20" stroke="{ink}" stroke-width="2"/>')
    return "\n".join([*parts, "</svg>", ""])


def _seeds(side: "Side", number: "Number") -> list[float]:
    """The value of each seed on one side."""
    about = number.dataset, number.mode, number.metric, number.system
    return [row.value for row in side.rows if (row.cell.dataset, row.mode, row.metric, row.system) == about]
