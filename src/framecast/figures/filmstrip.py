"""Truth, forecast and absolute difference, frame by frame (Coleman, Figures 11 and 12 and appendix)."""

import numpy as np
from matplotlib.figure import Figure

from framecast.figures.base import difference, picture
from framecast.figures.shared.choice import featured
from framecast.figures.shared.strips import DIFFERENCE, Block, Strip, stacked
from framecast.results import Results, label

FRAMES = "video"
CAPTION = (
    "One or two test sequences of {dataset}: the observed frames, their true continuation, and for each system the "
    "forecast with its absolute difference to the truth below (black: 0, pale yellow: 1). Numbers are time steps. Each "
    "system shows its first seed; of more than six systems, one of each model is shown, with the loss that most of "
    "them share. An upright line: the last step that a system was trained on, where it is asked for more."
)
Forecast = tuple[str, int | None, np.ndarray]  #: whose, how many of its steps were trained on (None: all), frames
SEQUENCES, TALL = 2, 4  #: test sequences; of more systems than TALL, one sequence is enough


def filmstrip(results: Results, dataset: str) -> Figure:
    """A block of strips for each test sequence, time running to the right."""
    systems = featured(results, dataset)
    forecasts = [
        (
            label(results, dataset, systems, system),
            results.trained_steps(dataset, system),
            results.scored(dataset, system)[0].clips["forecast"],
        )
        for system in systems
    ]
    clips = results.scored(dataset)[0].clips
    blocks = []
    for sequence in range(min(SEQUENCES if len(systems) <= TALL else 1, len(clips["target"]))):
        chosen = [(name, trained, forecast[sequence]) for name, trained, forecast in forecasts]
        strips = _strips(clips["context"][sequence], clips["target"][sequence], chosen)
        blocks.append(Block(f"test sequence {sequence + 1}", strips))
    return stacked(blocks)


def _strips(context: np.ndarray, target: np.ndarray, forecasts: list[Forecast]) -> list[Strip]:
    """The rows of one test sequence; every array is (T, C, H, W) in [0, 1]."""
    strips = [Strip("observed", picture(context), 1), Strip("truth", picture(target), len(context) + 1)]
    for name, trained, forecast in forecasts:
        strips.append(Strip(name, picture(forecast), trained=trained))
        strips.append(Strip(DIFFERENCE, difference(forecast, target), trained=trained))
    return strips
