"""One test sequence at a glance: the truth above, the forecast below, small enough for the head of a page."""

import numpy as np
from matplotlib.figure import Figure

from framecast.figures.base import MUTED, picture
from framecast.figures.shared.choice import featured
from framecast.figures.shared.strips import GUTTER, Strip, draw_strip
from framecast.results import CellFiles, Results, label

FRAMES = "video"
CAPTION = (
    "The first test sequence of {dataset}: all of its frames, and below those that a system did not observe its "
    "forecast of them. Numbers are time steps. Each system shows its first seed. An upright line: the last step that a "
    "system was trained on, where it is asked for more."
)
WIDTH, LABELS, LONG = 7.6, 0.75, 1.55  #: inches: the whole figure, and in it the column of short or long row labels
HEAD, NUMBERS, SPACE, FOOT = 0.24, 0.16, 0.05, 0.24  #: inches: above and below the strips, below the truth, between


def glimpse(results: Results, dataset: str) -> Figure:
    """Strips of truth and forecasts, time running to the right, and a line that says what they are of."""
    systems = featured(results, dataset)
    cells = [results.scored(dataset, system)[0] for system in systems]
    clips = results.scored(dataset)[0].clips
    context, target = picture(clips["context"][0]), picture(clips["target"][0])
    names = ["forecast"] if len(cells) == 1 else [label(results, dataset, systems, system) for system in systems]
    strips = [Strip("truth", np.concatenate([context, target]), 1)]
    for name, cell in zip(names, cells, strict=True):
        steps = results.trained_steps(dataset, cell.system)
        frames = np.concatenate([np.ones_like(context), picture(cell.clips["forecast"][0])])
        strips.append(Strip(name, frames, trained=None if steps is None else len(context) + steps))
    figure = _laid_out(strips, len(context))
    figure.text(0.01, 0.06 / figure.get_figheight(), _about(results, dataset, cells), fontsize=6.5, color=MUTED)
    return figure


def _laid_out(strips: list[Strip], observed: int) -> Figure:
    """The strips from the top down, and above them which steps are observed and which are forecast."""
    columns, height, width, _ = strips[0].frames.shape
    labels = LONG if any(strip.is_long for strip in strips) else LABELS
    column = (WIDTH - labels) / columns  # inches
    row = column / (1 + GUTTER) * height / width
    top = HEAD + len(strips) * (row + SPACE) + NUMBERS + FOOT
    figure = Figure(figsize=(WIDTH, top))
    for first, words in ((0, f"{observed} observed"), (observed, f"{columns - observed} to forecast")):
        figure.text((labels + first * column) / WIDTH, 1 - 0.16 / top, words, fontsize=7, color=MUTED)
    bottom = top - HEAD
    for strip in strips:
        bottom -= row
        box = (labels / WIDTH, bottom / top, 1 - labels / WIDTH, row / top)
        draw_strip(figure.add_axes(box), strip, columns)
        bottom -= SPACE + NUMBERS * bool(strip.first)
    return figure


def _about(results: Results, dataset: str, cells: list[CellFiles]) -> str:
    """What must not go unsaid under a picture that travels alone."""
    score = results.scored(dataset)[0].score
    facts = f"{score['source']} data, scale {score['scale']}, {results.primary_mode(dataset)}"
    told = f"{dataset}: {facts}, first test sequence"
    if len(cells) != 1:
        return told
    flaw = " (leaky)" if results.is_leaky(dataset, cells[0].system) else ""
    return f"{told}; {cells[0].system}{flaw}, seed {cells[0].seed}"
