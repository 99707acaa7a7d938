"""The whole way of ``framecast predict``: a clip in; its future, and an account of how it was made, out."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import PackageLoader

from framecast import artifacts, assemble
from framecast.errors import UserError
from framecast.figures.base import PALETTE
from framecast.predict import clip, film, players, systems
from framecast.predict.notes import Notes
from framecast.predict.systems import Forecast
from framecast.report.render import environment, surroundings
from framecast.report.write import PARTIAL

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid

COMPARED = "compare.html"
SHOWN_RATE, FASTEST = 5.0, 60.0  #: frames a second: of a film whose clip has no rate, and above which nobody sees one
LONGEST = 10_000  #: forecast steps


@dataclass(frozen=True)
class Future:
    """A clip and what was forecast of it."""

    path: Path
    cell: "Cell"  #: the one that was asked for
    clip: clip.Clip
    forecasts: list[Forecast]
    trained_horizon: int  #: forecast steps of training; of systems that differ in it, the fewest
    notes: Notes

    @property
    def horizon(self) -> int:
        """Forecast steps."""
        return len(self.forecasts[0].frames)

    @property
    def is_video(self) -> bool:
        """Whether frames have rows and columns."""
        return self.clip.context.ndim == 4


def predict(
    grid: "Grid",
    path: Path,
    run: str,
    wanted: clip.Wanted,
    *,
    horizon: int | None = None,
    every_seed: bool = False,
    everything: bool = False,
    output: str = "",
) -> tuple[list[str], list[Path]]:
    """Forecast a clip, write it in four files, and say in lines what was done and how good it was.

    Raises UserError for whatever does not fit, before anything is written.
    """
    notes = Notes()
    cells = systems.chosen(grid, run, notes, every_seed=every_seed, everything=everything)
    data = assemble.dataset(grid, cells[0].dataset)
    observed = grid.params.protocols(cells[0].dataset).get("free-running", data.context)
    asked = data.context + data.horizon - observed
    trained = systems.trained_steps(grid, cells, asked)
    if horizon is not None and not 1 <= horizon <= LONGEST:
        raise UserError(f"--horizon: found {horizon}; allowed: 1 to {LONGEST}; in training it was {min(trained)}")
    place = _place(path, output, len(data.frame_shape) == 3)
    kind = grid.params.datasets[cells[0].dataset].kind
    part = clip.read(path, data, kind, observed, horizon or asked, wanted, notes)
    found = [
        systems.forecast(grid, cell, name, part, data.frame_shape, horizon or asked)
        for cell, name in zip(cells, systems.names(cells), strict=True)
    ]
    if (steps := horizon or asked) > min(trained):
        whose = [one.name for one, own in zip(found, trained, strict=True) if own == min(trained)]
        of = f" of {', '.join(whose)}" if len(whose) < len(found) else ""
        notes.warn(
            "horizon", f"forecast steps {min(trained) + 1} to {steps} lie beyond the {min(trained)} of training{of}"
        )
    future = Future(path, cells[0], part, found, min(trained), notes)
    if future.is_video:
        notes.converted("writing", _writing(future))
    account = _account(grid, future)
    return [*notes.lines(), *_scores_in_words(grid, future, account)], _write(future, account, place)


def _place(path: Path, output: str, is_video: bool) -> Path:
    """Where the clip is to be written."""
    place = Path(output) if output else PARTIAL / f"{path.stem}-future" / ("future.mp4" if is_video else "future.csv")
    allowed = tuple(film.FORMATS) if is_video else (".csv",)
    if place.suffix.lower() not in allowed:
        raise UserError(f"--output: found {place}; allowed: a file name that ends in {', '.join(allowed)}")
    taken = [place, *(place.with_suffix(suffix) for suffix in (".npz", ".json"))]
    if any(one.exists() and path.exists() and one.samefile(path) for one in taken):
        raise UserError(f"--output: found {place}, which would take the place of the clip {path}; name another file")
    if path.is_dir() and place.parent.exists() and place.parent.samefile(path):
        raise UserError(f"--output: found {place}, in the folder of the clip's images; name another folder")
    return place


# --- what is told -----------------------------------------------------------------------------------


def _account(grid: "Grid", future: Future) -> dict[str, Any]:
    """Everything that a reader of the files has to know, as a tree for JSON."""
    told = future.clip
    compared = future.forecasts
    if len(told.truth) and all(one.name != systems.REFERENCE for one in compared):
        shape = tuple(told.truth.shape[1:])
        compared = [*compared, systems.reference(grid, future.cell, told, shape, future.horizon)]
    return {
        "clip": str(future.path),
        "dataset": future.cell.dataset,
        "scale": grid.params.scale,
        "cells": {one.name: _named(grid, one.cell) for one in future.forecasts},
        "first": told.first,
        "context": len(told.context),
        "horizon": future.horizon,
        "trained_horizon": future.trained_horizon,
        "known": len(told.truth),
        "rate": told.rate,
        "values": {"low": told.low, "high": told.high},
        "conversions": [{"about": about, "told": text} for about, text in future.notes.conversions.items()],
        "warnings": [{"about": about, "told": text} for about, text in future.notes.warnings.items()],
        "scores": {one.name: _numbers(one) for one in compared if one.scores},
        "spread": systems.spread(future.forecasts),
    }


def _named(grid: "Grid", cell: "Cell") -> str:
    return cell.name if cell.is_baseline else str(grid.run_folder(cell))


def _numbers(one: Forecast) -> dict[str, Any]:
    """Metric → its value at each step and overall; null where it is not defined."""
    assert one.scores is not None
    return {
        metric: {"overall": _finite(one.scores.overall[metric]), "per_step": [_finite(value) for value in values]}
        for metric, values in one.scores.per_step.items()
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _scores_in_words(grid: "Grid", future: Future, account: dict[str, Any]) -> list[str]:
    """A line for each system: the leading metric over the known steps, and how far its seeds are apart."""
    metric = grid.params.evaluation.primary
    lines = [
        f"{name}: {metric} {_short(numbers[metric]['overall'])} over {account['known']} known steps"
        for name, numbers in account["scores"].items()
        if metric in numbers
    ]
    for name, deviations in account["spread"].items():
        lines.append(f"{name}: seeds differ by {deviations[0]:.4f} at the first step, {deviations[-1]:.4f} at the last")
    return lines


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


# --- files ------------------------------------------------------------------------------------------


def _write(future: Future, account: dict[str, Any], place: Path) -> list[Path]:
    """The clip, its numbers, its account and the page that compares: all four, or none."""
    made = [place, *(place.with_suffix(suffix) for suffix in (".npz", ".json")), place.with_name(COMPARED)]
    with artifacts.together(made) as (clip_file, arrays_file, account_file, page_file):
        if future.is_video:
            frames = film.drawn(_panels(future), len(future.clip.context), future.trained_horizon)
            film.write(clip_file, frames, _shown_rate(future.clip.rate), film.FORMATS[place.suffix.lower()])
        else:
            artifacts.write_text(clip_file, _table(future))
        with arrays_file.open("wb") as file:
            np.savez(file, **_arrays(future))  # type: ignore[arg-type]  # its stub takes them for a flag
        artifacts.write_json(account_file, json.loads(json.dumps({**account, "files": [path.name for path in made]})))
        artifacts.write_text(page_file, _page(future, account))
    return made


def _shown_rate(rate: float | None) -> float:
    return rate if rate and rate <= FASTEST else FASTEST if rate else SHOWN_RATE


def _writing(future: Future) -> str:
    """What becomes of the frames on their way into the film."""
    factor, rate, shown = film.enlargement(future.clip.context.shape), future.clip.rate, _shown_rate(future.clip.rate)
    size = f"each pixel of a frame becomes {factor}×{factor}" if factor > 1 else "frames in their own size"
    speed = f"{shown:g} frames a second" + ("" if rate == shown else f" instead of {rate:.4g}" if rate else "")
    is_odd = any(side % 2 for side in film.size(len(_panels(future)), future.clip.context.shape))
    return f"{size}, in a border, at {speed}" + ", padded by a pixel to an even size" * is_odd


def _panels(future: Future) -> list[film.Panel]:
    context, truth = future.clip.context, future.clip.truth
    known = [film.Panel("the clip", np.concatenate([context, truth]), marked=False)] if len(truth) else []
    return [*known, *(film.Panel(one.name, np.concatenate([context, one.frames])) for one in future.forecasts)]


def _table(future: Future) -> str:
    """A series as CSV: a row for each step, in the units of the file."""
    told = future.clip
    span = told.high - told.low
    channels = range(told.context.shape[1])
    suffixes = [""] if len(channels) == 1 else [f" {channel + 1}" for channel in channels]
    names = ["the clip", *(one.name for one in future.forecasts)]
    rows = [",".join(["step", "phase", *(f"{name}{suffix}" for name in names for suffix in suffixes)])]
    truth = np.concatenate([told.context, told.truth])
    for step in range(len(told.context) + future.horizon):
        ahead = step - len(told.context)
        phase = "observed" if ahead < 0 else "forecast" if ahead < future.trained_horizon else "beyond training"
        columns = [truth[step] if step < len(truth) else None]
        columns += [one.frames[ahead] if ahead >= 0 else told.context[step] for one in future.forecasts]
        values = [
            "" if column is None else f"{told.low + float(column[channel]) * span:.9g}"
            for column in columns
            for channel in channels
        ]
        rows.append(",".join([str(told.first + step), phase, *values]))
    return "\n".join(rows) + "\n"


def _arrays(future: Future) -> dict[str, np.ndarray]:
    """``context`` (T, *frame), ``truth`` (K′, *frame), ``forecast`` (S, K, *frame) unclipped, ``names`` (S,)."""
    return {
        "context": future.clip.context,
        "truth": future.clip.truth,
        "forecast": np.stack([one.frames for one in future.forecasts]),
        "names": np.array([one.name for one in future.forecasts]),
        "trained_horizon": np.array(future.trained_horizon),
    }


def _page(future: Future, account: dict[str, Any]) -> str:
    """``compare.html``: the report's player, and the account in words."""
    told, frames = future.clip, [one.frames for one in future.forecasts]
    names = [one.name for one in future.forecasts]
    player: players.Player
    if future.is_video:
        player = players.film(names, told.context, told.truth, frames)
    else:
        inks = [PALETTE[number % len(PALETTE)] for number in range(len(names))]
        player = players.lines(names, inks, told.context, told.truth, frames)
    jinja = environment(PackageLoader("framecast.predict"))
    scores = account["scores"]
    return jinja.get_template("compare.html.j2").render(
        **surroundings(jinja, ["players.js", "report.js"], ["players.css"]),
        name=future.path.name or str(future.path),
        told=account,
        player=player,
        conversions=future.notes.conversions,
        warnings=future.notes.warnings,
        metrics=list(next(iter(scores.values()), {})),
        scores={name: {metric: _short(row[metric]["overall"]) for metric in row} for name, row in scores.items()},
        spread=account["spread"],
        cells=account["cells"],
    )
