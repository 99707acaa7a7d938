"""Truth, forecast and absolute difference, frame by frame (Coleman, Figures 11 and 12 and appendix)."""

import numpy as np
from matplotlib.figure import Figure

from framecast.figures.base import difference, picture
from framecast.figures.shared.choice import featured
from framecast.figures.shared.strips import DIFFERENCE, GUTTER, Strip, draw_strip
from framecast.results import Results, label

FRAMES = "video"
CAPTION = (
    "One or two test sequences of {dataset}: the observed frames, their true continuation, and for each system the "
    "forecast with its absolute difference to the truth below (black: 0, pale yellow: 1). Numbers are time steps. Each "
    "system shows its first seed; of more than six systems, one of each model is shown, with the loss that most of "
    "them share."
)
COUNTERPART = {"moving_mnist": "Coleman, Figures 11 and 12 and appendix 9.2.1"}
SEQUENCES, TALL = 2, 4  #: test sequences; of more systems than TALL, one sequence is enough
WIDTH, LABELS, LONG = 7.6, 0.95, 1.55  #: inches: the whole figure, and in it the column of short or long row labels
TITLE, NUMBERS, SPACE = 0.32, 0.16, 0.05  #: inches: above a block, below a numbered strip, below every strip


def filmstrip(results: Results, dataset: str) -> Figure:
    """A block of strips for each test sequence, time running to the right."""
    systems = featured(results, dataset)
    forecasts = {
        label(results, dataset, systems, system): results.scored(dataset, system)[0].clips["forecast"]
        for system in systems
    }
    clips = results.scored(dataset)[0].clips
    blocks = []
    for sequence in range(min(SEQUENCES if len(systems) <= TALL else 1, len(clips["target"]))):
        chosen = {name: forecast[sequence] for name, forecast in forecasts.items()}
        blocks.append(_strips(clips["context"][sequence], clips["target"][sequence], chosen))
    return _stack(blocks)


def _strips(context: np.ndarray, target: np.ndarray, forecasts: dict[str, np.ndarray]) -> list[Strip]:
    """The rows of one test sequence; every array is (T, C, H, W) in [0, 1]."""
    strips = [Strip("observed", picture(context), 1), Strip("truth", picture(target), len(context) + 1)]
    for name, forecast in forecasts.items():
        strips += [Strip(name, picture(forecast)), Strip(DIFFERENCE, difference(forecast, target))]
    return strips


def _stack(blocks: list[list[Strip]]) -> Figure:
    """Lay the strips out from the top down, all frames of one size."""
    columns = max(len(strip.frames) for strip in blocks[0])
    labels = LONG if any(strip.is_long for strip in blocks[0]) else LABELS
    _, height, width, _ = blocks[0][0].frames.shape
    row = (WIDTH - labels) / columns / (1 + GUTTER) * height / width  # inches
    below = [[SPACE + NUMBERS * bool(strip.first) for strip in block] for block in blocks]
    total = sum(TITLE + sum(row + space for space in spaces) for spaces in below)
    figure = Figure(figsize=(WIDTH, total))
    top = total
    for number, (block, spaces) in enumerate(zip(blocks, below, strict=True), start=1):
        figure.text(0.01, (top - 0.18) / total, f"test sequence {number}", fontweight="bold")
        top -= TITLE
        for strip, space in zip(block, spaces, strict=True):
            box = (labels / WIDTH, (top - row) / total, 1 - labels / WIDTH, row / total)
            draw_strip(figure.add_axes(box), strip, columns)
            top -= row + space
    return figure
