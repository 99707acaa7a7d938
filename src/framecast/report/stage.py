"""What the page's time cursor moves: stored test sequences, each with the forecasts of its systems once.

A sheet of frames for a video sequence, a set of lines for a series. What can be computed from them while somebody
looks, the |difference| and the wipe between two systems, is computed then.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from PIL import Image

from framecast.figures.base import colour
from framecast.figures.shared.choice import featured
from framecast.report import sequences
from framecast.results import CellFiles, Results, System, label

MANY = 12  #: systems whose forecasts lie in one sheet
#: All sheets of a page together, in bytes of its text; each dataset has its share, and its first scene in any case.
SHEETS = 12_000_000
#: The colours of |difference| from 0 to 1, 256 of them as six hex digits each.
SCALE = "".join(f"{level:02x}" for level in colormaps["inferno"](range(256), bytes=True)[:, :3].ravel().tolist())


@dataclass(frozen=True)
class Shown:
    """A system on the stage: its whole name, how it is called here, and its error at each forecast step.

    ``row`` is that of its forecast among those of the scene, from 1; 0 where it has not stored this sequence.
    """

    system: str
    label: str
    ink: str
    errors: str  #: one number a step, or empty where none are stored
    trained: int | None  #: forecast steps of its training, where there are more here
    row: int


@dataclass(frozen=True)
class Scene:
    """A test sequence: ``context`` observed steps, then ``horizon`` forecast ones."""

    context: int
    horizon: int
    systems: tuple[Shown, ...]
    standing: sequences.Standing

    @property
    def sequence(self) -> int:
        """The number of the test sequence, counted from 1."""
        return self.standing.sequence

    @property
    def steps(self) -> int:
        """All time steps."""
        return self.context + self.horizon

    @property
    def stored(self) -> tuple[Shown, ...]:
        """The systems whose forecast is here."""
        return tuple(shown for shown in self.systems if shown.row)

    @property
    def ends(self) -> tuple[int, ...]:
        """Forecast steps after which some system of the scene is beyond its training."""
        return tuple(sorted({shown.trained for shown in self.stored if shown.trained is not None}))

    @property
    def absent(self) -> tuple[str, ...]:
        """The others."""
        return tuple(shown.label for shown in self.systems if not shown.row)


@dataclass(frozen=True)
class Film(Scene):
    """A sheet of frames: time to the right; rows: truth, then the forecast of each system, black while it observes."""

    sheet: str  #: data URI
    width: int  #: of a frame, in pixels
    height: int

    @property
    def rows(self) -> int:
        """Rows of the sheet."""
        return 1 + len(self.stored)


@dataclass(frozen=True)
class Lines(Scene):
    """Points of polylines in a box of ``steps`` × 1, the value 1 on top."""

    truth: str
    forecasts: tuple[str, ...]  #: one for each system that has stored one
    differences: tuple[str, ...]  #: |forecast − truth| of each


def shown(results: Results, dataset: str) -> list[System]:
    """The systems whose forecasts can be looked at: all or, of very many, one of each model."""
    return featured(results, dataset, MANY)


def scenes(results: Results, dataset: str, most_bytes: int = SHEETS) -> list[Film] | list[Lines]:
    """The stored test sequences with the first seed of every system that has them, the worst forecast ones first.

    What is worth most is shown first; what would go beyond ``most_bytes`` of sheets is left out.
    """
    systems = shown(results, dataset)
    if not systems:
        return []
    cells = [results.scored(dataset, system)[0] for system in systems]
    chosen = sequences.stored(cells, [label(results, dataset, systems, system) for system in systems])
    standings = {one.sequence: one for one in sequences.standings(results, dataset, systems, chosen)}
    found: dict[int, Any] = {}
    for sequence in chosen:
        scene = _scene(results, dataset, cells, standings[sequence])
        most_bytes -= len(getattr(scene, "sheet", ""))
        if found and most_bytes < 0:
            break
        found[sequence] = scene
    return [found[sequence] for sequence in standings if sequence in found]


def forecasts_shown(scenes: Sequence[Scene]) -> dict[int, set[str]]:
    """Sequence, counted from 1 → the whole names of the systems whose forecast of it is on the page."""
    return {scene.sequence: {shown.system for shown in scene.stored} for scene in scenes}


def _scene(results: Results, dataset: str, cells: Sequence[CellFiles], standing: sequences.Standing) -> Film | Lines:
    """One sequence with the forecast of every cell that has kept it."""
    systems, at = [cell.system for cell in cells], standing.sequence - 1
    rows = [tuple(cell.kept).index(standing.sequence) if standing.sequence in cell.kept else None for cell in cells]
    clips = [
        {name: clip[row] for name, clip in cell.kept_clips.items()}
        for cell, row in zip(cells, rows, strict=True)
        if row is not None
    ]
    told = tuple(
        Shown(
            str(system),
            label(results, dataset, systems, system),
            colour(systems, system),
            _told(sequences.errors(cell), at),
            results.trained_steps(dataset, system),
            sum(other is not None for other in rows[: number + 1]) if row is not None else 0,
        )
        for number, (system, cell, row) in enumerate(zip(systems, cells, rows, strict=True))
    )
    return _film(standing, told, clips) if clips[0]["target"].ndim == 4 else _lines(standing, told, clips)


def _told(errors: np.ndarray | None, sequence: int) -> str:
    return "" if errors is None else " ".join(f"{error:.4g}" for error in errors[sequence].tolist())


def _film(standing: sequences.Standing, systems: tuple[Shown, ...], clips: list[dict[str, np.ndarray]]) -> Film:
    """Frames (T, C, H, W) of one sequence as a sheet, in grey where they have one channel."""
    context, target = clips[0]["context"], clips[0]["target"]
    unseen = np.zeros_like(context)
    rows = [np.concatenate([context, target]), *(np.concatenate([unseen, clip["forecast"]]) for clip in clips)]
    sheet = np.stack(rows).clip(0, 1).transpose(0, 3, 1, 4, 2)  # (rows, H, T, W, C)
    height, steps, width, channels = sheet.shape[1:]
    pixels = np.rint(sheet.reshape(len(rows) * height, steps * width, channels) * 255).astype(np.uint8)
    return Film(len(context), len(target), systems, standing, png(pixels), width, height)


def _lines(standing: sequences.Standing, systems: tuple[Shown, ...], clips: list[dict[str, np.ndarray]]) -> Lines:
    """The first channel of one sequence (T, C) as polylines."""
    context, target = clips[0]["context"], clips[0]["target"]
    truth = np.concatenate([context, target])
    forecasts = [clip["forecast"] for clip in clips]
    return Lines(
        len(context),
        len(target),
        systems,
        standing,
        points(truth, 0),
        tuple(points(forecast, len(context)) for forecast in forecasts),
        tuple(points(np.abs(forecast - target), len(context)) for forecast in forecasts),
    )


def points(values: np.ndarray, start: int) -> str:
    """The first channel of values (T, C) as a polyline from step ``start`` on, the value 1 at height 0."""
    return " ".join(f"{start + step + 0.5:g},{1 - value:.4f}" for step, value in enumerate(values[:, 0].tolist()))


def png(pixels: np.ndarray) -> str:
    """(H, W, 1 or 3) uint8 as a data URI: same pixels, same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, format="png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
