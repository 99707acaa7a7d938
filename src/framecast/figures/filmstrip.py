"""Truth, forecast and absolute difference, frame by frame (Coleman, Figures 11 and 12 and appendix).

Which sequences are shown no forecast of ours decides: those that copying the last frame forecasts best and worst. In
the one next to nothing moves, so that its forecast may come out clear; the other moves most, and blurs.
"""

import numpy as np
from matplotlib.figure import Figure

from framecast.evaluation.kept import COPIED
from framecast.figures.base import difference, picture
from framecast.figures.shared.choice import featured
from framecast.figures.shared.strips import DIFFERENCE, Block, Strip, stacked
from framecast.results import CellFiles, Results, label

FRAMES = "video"
CAPTION = (
    "The test sequences of {dataset} that copying the last frame forecasts best and worst (of more than four systems, "
    "the median one alone): the observed frames, their true continuation, and for each system the forecast with its "
    "absolute difference to the truth below (black: 0, pale yellow: 1). Numbers are time steps. Each system shows its "
    "first seed; of more than six systems, one of each model is shown, with the loss that most of them share, and of "
    "more than six models the best. An "
    "upright line: the last step that a system was trained on, where it is asked for more."
)
Forecast = tuple[str, int | None, np.ndarray]  #: whose, how many of its steps were trained on (None: all), frames
TALL = 4  #: of more systems than these, one sequence is enough
SHOWN = {"best": "the best one for copy_last", "worst": "the worst one for copy_last"}
ALONE = {"median": "the median one for copy_last"}


def filmstrip(results: Results, dataset: str) -> Figure:
    """A block of strips for each test sequence, time running to the right."""
    systems = featured(results, dataset)
    forecasts = [
        (
            label(results, dataset, systems, system),
            results.trained_steps(dataset, system),
            results.scored(dataset, system)[0],
        )
        for system in systems
    ]
    any_cell = results.scored(dataset)[0]
    blocks = []
    for place, told in (SHOWN if len(systems) <= TALL else ALONE).items():
        chosen = [(name, trained, _kept(cell, "forecast", place)) for name, trained, cell in forecasts]
        strips = _strips(_kept(any_cell, "context", place), _kept(any_cell, "target", place), chosen)
        blocks.append(Block(f"test sequence {_sequence(any_cell, place)}: {told}", strips))
    return stacked(blocks)


def _sequence(cell: CellFiles, place: str) -> int:
    """The number of the test sequence that has a place for copying the last frame: the same for each cell."""
    return next(sequence for sequence, why in cell.kept.items() if f"{COPIED} {place}" in why)


def _kept(cell: CellFiles, name: str, place: str) -> np.ndarray:
    """Its frames, (T, C, H, W)."""
    return cell.kept_clips[name][list(cell.kept).index(_sequence(cell, place))]


def _strips(context: np.ndarray, target: np.ndarray, forecasts: list[Forecast]) -> list[Strip]:
    """The rows of one test sequence; every array is (T, C, H, W) in [0, 1]."""
    strips = [Strip("observed", picture(context), 1), Strip("truth", picture(target), len(context) + 1)]
    for name, trained, forecast in forecasts:
        strips.append(Strip(name, picture(forecast), trained=trained))
        strips.append(Strip(DIFFERENCE, difference(forecast, target), trained=trained))
    return strips
