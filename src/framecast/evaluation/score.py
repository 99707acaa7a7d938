"""Scores of one forecaster on one test split: every metric id per horizon step, in one pass over the batches.

Memory does not grow with the test split except for ``Scores.sequences``, which the paired bootstrap needs: N · K
float32 for each compared metric, 0.4 MB for 10 000 sequences of 10 steps.
"""

import importlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from framecast.errors import UserError
from framecast.metrics.base import FrameMean, Metric, Pair
from framecast.metrics.kernels.errors import mean_square
from framecast.study import catalogue

if TYPE_CHECKING:
    from framecast.study.params import Mode

Batch = tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]  #: forecast, target, and the context where one asks

#: Values of forecast per piece on the CPU: whatever the batch size, what metrics derive from them stays in the cache.
PIECE = 2**17


@dataclass(frozen=True)
class Scores:
    """Metric id → value at steps 1..K, and overall; the compared metrics per test sequence and step, (N, K)."""

    per_step: dict[str, list[float]]
    overall: dict[str, float]
    sequences: dict[str, np.ndarray]
    notes: dict[str, str]  #: metric id → what a reader of the number has to know


def create(metric_id: str, horizon: int, frame_shape: tuple[int, ...]) -> Metric:
    """A fresh accumulator for a metric id.

    Raises UserError naming the allowed ids.
    """
    module, name = catalogue.metrics()[_known(metric_id)]
    return getattr(importlib.import_module(f"framecast.metrics.{module}"), name)(horizon, frame_shape)


def applicable(metric_ids: Sequence[str], frames: str) -> list[str]:
    """The ids defined for ``series`` or ``video``, in the given order, each once: series have no PSNR, SSIM, frame sum.

    Raises UserError naming the allowed ids.
    """
    modules = {metric: catalogue.metrics()[_known(metric)][0] for metric in metric_ids}
    return [metric for metric, module in modules.items() if catalogue.frames("metrics", module) in ("any", frames)]


def _known(metric_id: str) -> str:
    if metric_id not in catalogue.metrics():
        allowed = ", ".join(sorted(catalogue.metrics()))
        raise UserError(f"evaluation.metrics: there is no metric {metric_id!r}; there are {allowed}")
    return metric_id


def score(
    batches: Iterable[Batch],
    metric_ids: Sequence[str],
    *,
    horizon: int,
    frame_shape: tuple[int, ...],
    compared: Sequence[str] = ("mse_pix01",),
    taught: bool = False,
) -> Scores:
    """Score (forecast, target, context) batches, (B, K, *frame) twice and (B, T, *frame), truth in [0, 1].

    Ids clip forecasts where they say so; the context may be left out where no id asks for it, and ``taught`` says that
    each forecast saw the truth up to it.

    Raises UserError for an unknown id, a compared metric without a value per sequence, a forecast of the wrong shape or
    with NaN or infinity in it, and when there is no batch.
    """
    metrics = {metric: create(metric, horizon, frame_shape) for metric in dict.fromkeys((*metric_ids, *compared))}
    kept: dict[str, list[np.ndarray]] = {metric: [] for metric in compared}
    _require_values_per_sequence(metrics, compared)
    scored = 0
    for pair in _pieces(batches, (horizon, *frame_shape), taught):
        scored += len(pair.target)
        for identifier, metric in metrics.items():
            if identifier in kept and isinstance(metric, FrameMean):
                values = metric.values(pair).cpu()
                metric.add(values)
                kept[identifier].append(values.float().numpy())
            else:
                metric.update(pair)
    if not scored:
        raise UserError("there is nothing to score: the test split has no sequence")
    metrics = {metric: metrics[metric] for metric in metric_ids}

    per_step = {identifier: metric.result() for identifier, metric in metrics.items()}
    return Scores(
        per_step={identifier: values.tolist() for identifier, values in per_step.items()},
        overall={identifier: metrics[identifier].overall(values) for identifier, values in per_step.items()},
        sequences={identifier: np.concatenate(values) for identifier, values in kept.items()},
        notes={identifier: metric.note() for identifier, metric in metrics.items() if metric.note()},
    )


def _require_values_per_sequence(metrics: dict[str, Metric], compared: Sequence[str]) -> None:
    for identifier in compared:
        metric = metrics[identifier]
        if not isinstance(metric, FrameMean) or type(metric).result is not FrameMean.result:
            raise UserError(
                f"evaluation.compared: {identifier} has no value per test sequence; choose for instance mse_pix01"
            )


def _pieces(batches: Iterable[Batch], shape: tuple[int, ...], taught: bool) -> Iterator[Pair]:
    """Check each batch and cut it into pairs small enough for what the metrics derive from them."""
    seen = 0
    for forecast, target, *context in batches:
        for name, video in (("forecast", forecast), ("target", target)):
            if tuple(video.shape[1:]) != shape or len(video) != len(target):
                raise UserError(f"{name} has shape {tuple(video.shape)}; expected {(len(target), *shape)}")
        rows = max(1, PIECE // math.prod(shape)) if forecast.device.type == "cpu" else len(forecast)
        for piece in zip(*(video.float().split(rows) for video in (forecast, target, *context)), strict=True):
            pair = Pair(piece[0], piece[1], piece[2] if context else None, taught)
            _require_finite(pair, seen)
            seen += len(piece[0])
            yield pair


def _require_finite(pair: Pair, seen: int) -> None:
    """Raise UserError naming sequence and step. A frame's mean square, wanted anyway, is finite if its values are."""
    bad = ~pair.shared(mean_square).isfinite()
    if bad.any():
        sequence, step = bad.nonzero()[0].tolist()
        raise UserError(
            f"forecast of test sequence {seen + sequence} is NaN or infinite at horizon step {step + 1}; "
            "the model has diverged, train it again with a lower learning rate"
        )


def write_scores_csv(path: Path, scores: "Mapping[Mode, Scores]") -> None:
    """Columns ``mode,metric,step,value``: of each mode and metric in turn steps 1..K, then ``all``.

    Floats in full; nan is n/a.
    """
    lines = ["mode,metric,step,value"]
    for mode, told in scores.items():
        for metric, values in told.per_step.items():
            lines += [f"{mode},{metric},{step},{value!r}" for step, value in enumerate(values, start=1)]
            lines.append(f"{mode},{metric},all,{told.overall[metric]!r}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
