"""Small, plausible results in the pipeline's own file formats: five datasets, three seeds, baselines.

Four datasets ask for depth; the fifth, ``moving_mnist_next``, for loss, design and leak, in two modes.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from framecast.evaluation.kept import Kept, kept
from framecast.results import CellFiles, Results, goodness

SEEDS, DEPTHS = (1, 2, 3), (1, 2, 3)
METRICS = {
    "series": ("mse_pix01", "mae_pix01"),
    "video": ("mse_pix01", "mae_pix01", "psnr_frame", "ssim_f1", "ssim_gauss", "sharpness"),
}
COMPARED = {"series": ("mse_pix01",), "video": ("mse_pix01", "psnr_frame", "ssim_gauss", "sharpness")}
SOURCES = {
    "generated_noise": "generated",
    "generated_sins": "generated",
    "stocks_by_ticker": "bundled",
    "moving_mnist": "bundled",
    "moving_mnist_next": "bundled",
}

# Overall mean squared error of the trained model and of each baseline.
ERRORS = {
    "generated_noise": (6.20e-2, {"context_mean": 6.9e-2, "copy_last": 0.121, "least_squares": 6.11e-2, "zeros": 0.31}),
    "generated_sins": (1.9e-3, {"context_mean": 0.129, "copy_last": 0.201, "least_squares": 5.7e-7, "zeros": 0.37}),
    "stocks_by_ticker": (5.5e-2, {"context_mean": 0.11, "copy_last": 6.1e-2, "least_squares": 5.4e-2, "zeros": 0.33}),
    "moving_mnist": (3.4e-2, {"context_mean": 4.9e-2, "copy_last": 6.4e-2, "zeros": 4.6e-2}),
    "moving_mnist_next": (3.0e-2, {"context_mean": 4.9e-2, "copy_last": 6.4e-2, "zeros": 4.6e-2}),
}

NEXT = "moving_mnist_next"
MODES = {NEXT: {"free-running": (10, 10), "teacher-forced": (1, 19)}}
BCE, GDL, SEEDED = {"weight": 10.0, "clamp": "probability"}, {"weight": 0.1, "edges": "zero_padded"}, 0.1
LOSSES = {
    "mse": {"mse": 1.0},
    "bce": {"bce": BCE},
    "gdl": {"gdl": GDL},
    "perceptual_seeded": {"perceptual_seeded": SEEDED},
    "bce_gdl": {"bce": BCE, "gdl": GDL},
    "bce_perceptual_seeded": {"bce": BCE, "perceptual_seeded": SEEDED},
    "gdl_perceptual_seeded": {"gdl": GDL, "perceptual_seeded": SEEDED},
    "hybrid_code_seeded": {"bce": BCE, "perceptual_seeded": SEEDED, "gdl": GDL},
}
SHARES = {"bce": 0.93, "gdl": 0.068, "perceptual_seeded": 0.002}  #: of the gradient, among the terms of a loss

# What a model is made of, its kind's defaults written out, and how it and its loss change error and sharpness.
DESCRIBED = {
    "kind": "next_frame",
    "hidden_channels": 8,
    "cell": "as_described",
    "peephole": "per_channel",
    "normalisation": "batch_relu",
    "normalise_last": True,
    "spatial_attention": "last",
    "channel_attention": "none",
    "head": "causal",
    "depth": 3,
}
CODED = {**DESCRIBED, "cell": "as_coded", "peephole": "none", "normalisation": "batch", "spatial_attention": "none"}
DESIGNS = {
    "next_frame": DESCRIBED,
    "next_frame_no_attention": {**DESCRIBED, "spatial_attention": "none"},
    "next_frame_no_peephole": {**DESCRIBED, "peephole": "none"},
    "next_frame_as_coded": CODED,
    "next_frame_leaky": {**CODED, "head": "leaky"},
    "next_frame_keras": {**CODED, "normalise_last": False, "head": "leaky"},
}
EFFECT = {
    "next_frame_no_attention": 1.01,
    "next_frame_no_peephole": 1.0,
    "next_frame_as_coded": 1.08,
    "next_frame_leaky": 1.1,
    "next_frame_keras": 1.2,
    "gdl": 1.5,
    "perceptual_seeded": 1.3,
    "bce_gdl": 0.98,
    "gdl_perceptual_seeded": 1.25,
}
SHARP = {"gdl": 0.9, "bce_gdl": 0.7, "hybrid_code_seeded": 0.71, "perceptual_seeded": 0.5, "gdl_perceptual_seeded": 0.8}


def frames_of(dataset: str) -> str:
    return "video" if dataset.startswith("moving_mnist") else "series"


def modes_of(dataset: str) -> dict[str, tuple[int, int]]:
    """Mode → observed and forecast frames, the primary one first."""
    length = 10 if frames_of(dataset) == "video" else 25
    return MODES.get(dataset, {"free-running": (length, length)})


def is_leaky(model: str) -> bool:
    return DESIGNS.get(model, {}).get("head") == "leaky"


def fabricate(
    folder: Path, scale: str = "laptop", datasets: tuple[str, ...] = tuple(ERRORS), leak: float = 0.02
) -> Results:
    """Write results of every dataset under a folder and load them.

    ``leak`` is what is left of a leaky system's error where it has seen its target.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cells = [cell for dataset in datasets for cell in _cells(folder, dataset)]
    scores = pd.concat([_write_cell(cell, scale, leak) for cell in cells], ignore_index=True)
    scores = scores.astype({"depth": "Int64", "seed": "Int64"})
    overall = scores[scores["step"] == 0].drop(columns="step")
    overall.to_csv(folder / "scores.csv", index=False)
    _horizon(scores[scores["step"] > 0]).to_csv(folder / "horizon.csv", index=False)
    _comparisons(overall).to_csv(folder / "comparisons.csv", index=False)
    return load(folder, cells)


def load(folder: Path, cells: list[CellFiles]) -> Results:
    return Results.load(folder / "scores.csv", folder / "horizon.csv", folder / "comparisons.csv", cells)


def _systems(dataset: str) -> list[tuple[str, int, str]]:
    """(model, depth, loss) of a dataset."""
    if dataset != NEXT:
        return [
            ("seq2seq_convlstm" if frames_of(dataset) == "video" else "seq2seq_lstm_as_coded", d, "mse") for d in DEPTHS
        ]
    losses = [("next_frame", 3, loss) for loss in LOSSES if loss != "mse"]
    variants = [
        (model, 3, "hybrid_code_seeded") for model in DESIGNS if model not in ("next_frame", "next_frame_keras")
    ]
    return [*losses, *variants, ("next_frame_keras", 3, "bce")]


def _cells(folder: Path, dataset: str) -> Iterator[CellFiles]:
    for model, depth, loss in _systems(dataset):
        for seed in SEEDS:
            name = f"{dataset}/{model}/depth-{depth}/{loss}/seed-{seed}"
            folders = folder / "runs" / name, folder / "scores" / name
            yield CellFiles(name, dataset, model, depth, loss, seed, *folders)
    for baseline in ERRORS[dataset][1]:
        name = f"{dataset}/{baseline}"
        yield CellFiles(name, dataset, baseline, None, None, None, None, folder / "scores" / name)


def _generator(cell: CellFiles) -> np.random.Generator:
    return np.random.default_rng(list(cell.name.encode()))


def _level(cell: CellFiles) -> float:
    """The overall mean squared error of a cell."""
    trained, baselines = ERRORS[cell.dataset]
    if not cell.loss:
        return baselines[cell.model]
    design = EFFECT.get(cell.model, 1.0) * EFFECT.get(cell.loss, 1.0)
    depth = 1 - 0.04 * (cell.depth or 0) if cell.dataset != NEXT else 1
    return trained * design * depth * _generator(cell).normal(1, 0.015)


def _errors(cell: CellFiles, mode: str, leak: float) -> np.ndarray:
    """Mean squared error at each forecast step.

    Free running rises and levels off; with a teacher it falls, the first frame being unknowable from one.
    """
    steps = np.arange(modes_of(cell.dataset)[mode][1])
    if mode == "teacher-forced":
        errors = _level(cell) * (0.35 + 1.2 * np.exp(-steps / 0.9))
        seen = np.where(steps < steps[-1], leak * _generator(cell).lognormal(0, 0.05), 1.0)
        return errors * seen if is_leaky(cell.model) else errors
    shape = 1 - 0.8 * np.exp(-steps / 3)
    return _level(cell) * shape / shape.mean()


def _clips(cell: CellFiles, leak: float) -> dict[str, np.ndarray]:
    """What is kept of the test sequences, and what the cell forecast of them."""
    return _forecast_of(cell, leak, [one.sequence for one in _kept(cell, leak)])


def _forecast_of(cell: CellFiles, leak: float, sequences: list[int]) -> dict[str, np.ndarray]:
    """The truth, ever fainter, with the noise of the cell."""
    noise = _generator(cell)
    truth = np.stack([_truth(cell.dataset, sequence) for sequence in sequences])
    if frames_of(cell.dataset) == "series":
        drift = noise.normal(0, 0.03, (len(truth), 25, 1)).cumsum(axis=1).astype(np.float32) / 3
        return {"context": truth[:, :25], "target": truth[:, 25:], "forecast": truth[:, 25:] + drift}
    blurred = truth[:, 10:] * np.linspace(0.9, 0.4, 10)[:, None, None, None]
    blurred += noise.uniform(0, 0.1, blurred.shape) * truth[:, 9:10]
    whole = {"context": truth[:, :10], "target": truth[:, 10:], "forecast": blurred}
    if cell.dataset == NEXT:
        forced = 0.6 * truth[:, 1:] + 0.4 * truth[:, :-1]
        if is_leaky(cell.model):
            forced[:, :-1] = (1 - leak) * truth[:, 1:-1]
        whole["teacher-forced/forecast"] = forced
    return {name: np.rint(clip.clip(0, 1) * 255).astype(np.uint8) for name, clip in whole.items()}


@cache
def _truth(dataset: str, sequence: int) -> np.ndarray:
    """A test sequence, counted from 1: the same for every system."""
    shared = np.random.default_rng([*dataset.encode(), sequence])
    if frames_of(dataset) == "series":
        time = np.linspace(0, 1, 50)
        phase, speed = shared.uniform(0, np.pi), shared.uniform(2, 4 * np.pi)
        return (0.5 * (np.sin(speed * time + phase) + 1))[:, None].astype(np.float32)
    rows, columns = np.mgrid[:32, :32]
    start, speed = shared.uniform(6, 26, (2, 2)), shared.uniform(-1, 1, (2, 2))
    truth = np.zeros((20, 1, 32, 32))
    for step, frame in enumerate(truth):
        for y, x in np.abs((start + speed * step) % 64 - 32):
            frame[0] += np.exp(-((np.hypot(rows - y, columns - x) - 4) ** 2) / 1.5)
    return truth


@cache
def _kept(cell: CellFiles, leak: float) -> tuple[Kept, ...]:
    """As ``evaluation.kept`` chooses by the leading metric in the leading mode."""
    leading = f"{next(iter(modes_of(cell.dataset)))}/mse_pix01"
    copied = replace(cell, name=f"{cell.dataset}/copy_last", model="copy_last", depth=None, loss=None, seed=None)
    own, trivial = (_sequences(one, leak)[leading].mean(axis=1) for one in (cell, copied))
    return kept(own, trivial, 4, "lower")


def _write_cell(cell: CellFiles, scale: str, leak: float) -> pd.DataFrame:
    """The cell's files; its rows of the score table, step 0 being the mean over the horizon."""
    key = f"{int.from_bytes(_generator(cell).bytes(4)):08x}"
    clips = {name: np.ascontiguousarray(clip) for name, clip in _clips(cell, leak).items()}
    assert cell.score_folder is not None
    cell.score_folder.mkdir(parents=True, exist_ok=True)
    save_file(clips, cell.score_folder / "clips.safetensors")
    save_file(_sequences(cell, leak), cell.score_folder / "sequences.safetensors")
    leaky = is_leaky(cell.model)
    facts = {"split": "test", "sequences": 200, "causal": "leaky" if leaky else "causal"}
    facts |= {"source": SOURCES[cell.dataset], "scale": scale, "key": key}
    identity = {name: getattr(cell, name) for name in ("dataset", "model", "depth", "loss", "seed")}
    modes = {
        mode: dict(zip(("context", "horizon"), told, strict=True)) for mode, told in modes_of(cell.dataset).items()
    }
    primary = next(iter(modes))
    score = identity | facts | {"cell": cell.name, "mode": primary, "modes": modes, **modes[primary]}
    score |= {
        "primary_metric": "mse_pix01",
        "first_leak": [1, 1] if leaky else None,
        "replication": leaky,
        "inside": {},
        "kept": [{"sequence": one.sequence, "why": one.why} for one in _kept(cell, leak)],
        "frames": frames_of(cell.dataset),
        "origin": "made for a test",
        "run_key": key if cell.run_folder else None,
    }
    score |= {"parameter_count": 49985 * (cell.depth or 0), "sha256": {}}
    score["parameters"] = {"model": _arguments(cell), "dataset": {"kind": cell.dataset, "arguments": _protocol(cell)}}
    score["parameters"]["training"] = {}
    (cell.score_folder / "score.json").write_text(json.dumps(score))
    if cell.run_folder is not None:
        _write_run(cell, identity | {"cell": cell.name, "key": key, "scale": scale})
    table = pd.DataFrame(
        identity | {"mode": mode, "metric": metric, "step": step, "value": value} | facts
        for mode in modes
        for metric, values in _metrics(cell, _errors(cell, mode, leak)).items()
        for step, value in enumerate([values.mean(), *values])
    )
    steps = table.assign(step=table["step"].astype(str).replace("0", "all"))
    steps[["mode", "metric", "step", "value"]].to_csv(cell.score_folder / "scores.csv", index=False)
    return table


def _metrics(cell: CellFiles, errors: np.ndarray) -> dict[str, np.ndarray]:
    sharp = SHARP.get(str(cell.loss), 0.45) if cell.loss else {"copy_last": 1.0, "zeros": 0.0}.get(cell.model, 0.3)
    values = {
        "mse_pix01": errors,
        "mae_pix01": np.sqrt(errors) * 0.6,
        "psnr_frame": -10 * np.log10(errors),
        "ssim_f1": 1 - 8 * errors,
        "ssim_gauss": 1 - 7 * errors,
        "sharpness": sharp * (errors.min() / errors) ** 0.3 * (1 + 0.02 * _generator(cell).normal()),
    }
    return {metric: values[metric] for metric in METRICS[frames_of(cell.dataset)]}


def _sequences(cell: CellFiles, leak: float) -> dict[str, np.ndarray]:
    """What is compared, for each of 200 test sequences, some of which are harder for everybody; the mean is exact."""
    shared, own = np.random.default_rng(list(cell.dataset.encode())), _generator(cell)
    harder = shared.normal(0, 0.1, (200, 1))
    found = {}
    for mode in modes_of(cell.dataset):
        metrics = _metrics(cell, _errors(cell, mode, leak))
        for metric in COMPARED[frames_of(cell.dataset)]:
            wobble = harder + own.normal(0, 0.02, (200, len(metrics[metric])))
            found[f"{mode}/{metric}"] = (metrics[metric] * (1 + wobble - wobble.mean(0))).astype(np.float32)
    return found


def _arguments(cell: CellFiles) -> dict:
    if cell.model in DESIGNS:
        return DESIGNS[cell.model]
    semantics = "as_coded" if frames_of(cell.dataset) == "video" else "as_trained"
    return {"layer_semantics": semantics, "handover": "as_coded", "head_kernel": "1x3x3", "depth": cell.depth}


def _protocol(cell: CellFiles) -> dict:
    if cell.dataset == NEXT:
        return {"variant": "srivastava", "test_file": "generated", "frame_size": 24}
    return {"split_by": "tickers", "variant": "svg"}


def _write_run(cell: CellFiles, identity: dict) -> None:
    assert cell.run_folder is not None
    cell.run_folder.mkdir(parents=True, exist_ok=True)
    terms = LOSSES[str(cell.loss)]
    _history(cell, terms).to_csv(cell.run_folder / "history.csv", index=False)
    save_file(_snapshots(cell), cell.run_folder / "snapshots.safetensors")
    training = {"epochs": 20, "learning_rate": 1e-3} if cell.model == "next_frame_keras" else {"epochs": 5}
    run = identity | {
        "parameters": {
            "dataset": {"kind": cell.dataset},
            "model": _arguments(cell),
            "loss": terms,
            "training": training,
        },
        "fingerprints": {"code": "c0de", "data": "da7a"},
        "versions": {"python": "3.11", "torch": "2.13.0", "numpy": "2.4.0"},
        "device": "cpu",
        "parameter_count": 49985 * (cell.depth or 0),
        "steps": 500,
        "best_step": 500,
        "sha256": {},
    }
    (cell.run_folder / "run.json").write_text(json.dumps(run))


def _snapshots(cell: CellFiles) -> dict[str, np.ndarray]:
    """The context mean turns into the target while training goes on."""
    clips = _forecast_of(cell, 0, [1, 2])
    context, target = clips["context"], clips["target"]
    grey = context.mean(axis=1, keepdims=True)
    kept = {step: (grey + step / 500 * (target - grey)).astype(target.dtype) for step in (100, 200, 500)}
    return {"context": context, "target": target} | {f"forecast/{step}": frames for step, frames in kept.items()}


def _history(cell: CellFiles, terms: dict) -> pd.DataFrame:
    """The loss falls; with several terms each train row holds the share of each in the gradient."""
    rng, final = _generator(cell), _level(cell) * (10 if "bce" in terms else 1)
    shares = {term: SHARES[term] for term in terms} if len(terms) > 1 else {}
    rows = []
    for step in range(25, 501, 25):
        loss = final * (1 + 6 * np.exp(-step / 80)) * rng.normal(1, 0.03)
        about = {"step": step, "epoch": step // 100, "learning_rate": 0.001}
        parts = {term: loss / len(terms) for term in terms}
        drawn = {f"share_{term}": share * rng.lognormal(0, 0.2) for term, share in shares.items()}
        drawn = {name: share / sum(drawn.values()) for name, share in drawn.items()}
        rows.append(about | {"split": "train", "loss": loss} | parts | drawn)
        if step % 100 == 0:
            rows.append(about | {"split": "validation", "loss": 1.04 * loss} | parts)
    return pd.DataFrame(rows)


def _horizon(scores: pd.DataFrame) -> pd.DataFrame:
    keys = ["dataset", "model", "depth", "loss", "mode", "metric", "step"]
    spread = scores.groupby(keys, dropna=False)["value"].agg(["mean", "std", "count"]).reset_index()
    return spread.rename(columns={"std": "sd", "count": "seeds"})


def _comparisons(overall: pd.DataFrame) -> pd.DataFrame:
    """Pairs that differ in depth, model or loss alone, and each trained system with each baseline."""
    rows = []
    for (dataset, mode, metric), own in overall.groupby(["dataset", "mode", "metric"]):
        if metric not in COMPARED[frames_of(dataset)]:
            continue
        means = own.groupby(["model", "depth", "loss"], dropna=False)["value"].mean()
        groups = list(zip(means.index, means, strict=True))
        for (a, mean_a), (b, mean_b) in combinations(groups, 2):
            trained = [not pd.isna(group[2]) for group in (a, b)]
            if not any(trained) or (all(trained) and sum(x != y for x, y in zip(a, b, strict=True)) != 1):
                continue
            difference, width = mean_a - mean_b, 0.05 * min(abs(mean_a), abs(mean_b))
            ahead = goodness(metric, mean_a) > goodness(metric, mean_b)
            verdict = "no difference" if abs(difference) < width else "a better" if ahead else "b better"
            names = (model if pd.isna(loss) else f"{model} depth-{depth} {loss}" for model, depth, loss in (a, b))
            ends = difference - width, difference + width
            rows.append((dataset, mode, metric, *names, difference, *ends, 200, verdict))
    columns = ["dataset", "mode", "metric", "a", "b", "difference", "low", "high", "sequences", "verdict"]
    return pd.DataFrame(rows, columns=columns)
