"""Small, plausible results in the pipeline's own file formats: four datasets, three depths, three seeds, baselines."""

import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from framecast.figures.base import CellFiles, Results

SEEDS, DEPTHS = (1, 2, 3), (1, 2, 3)
BASELINES = ("context_mean", "copy_last", "least_squares", "zeros")
METRICS = {"series": ("mse_pix01", "mae_pix01"), "video": ("mse_pix01", "psnr_frame", "ssim_f1")}
SOURCES = {
    "generated_noise": "generated",
    "generated_sins": "generated",
    "stocks": "bundled",
    "moving_mnist": "bundled",
}

# Overall mean squared error of the trained model and of each baseline.
ERRORS = {
    "generated_noise": (6.20e-2, {"context_mean": 6.9e-2, "copy_last": 0.121, "least_squares": 6.11e-2, "zeros": 0.31}),
    "generated_sins": (1.9e-3, {"context_mean": 0.129, "copy_last": 0.201, "least_squares": 5.7e-7, "zeros": 0.37}),
    "stocks": (5.5e-2, {"context_mean": 0.11, "copy_last": 6.1e-2, "least_squares": 5.4e-2, "zeros": 0.33}),
    "moving_mnist": (3.4e-2, {"context_mean": 4.9e-2, "copy_last": 6.4e-2, "zeros": 4.6e-2}),
}


def frames_of(dataset: str) -> str:
    return "video" if dataset == "moving_mnist" else "series"


def fabricate(folder: Path, scale: str = "laptop", datasets: tuple[str, ...] = tuple(ERRORS)) -> Results:
    """Write results of every dataset under a folder and load them."""
    folder.mkdir(parents=True, exist_ok=True)
    cells = [cell for dataset in datasets for cell in _cells(folder, dataset)]
    scores = pd.concat([_write_cell(cell, scale) for cell in cells], ignore_index=True)
    scores = scores.astype({"depth": "Int64", "seed": "Int64"})
    overall = scores[scores["step"] == 0].drop(columns="step")
    overall.to_csv(folder / "scores.csv", index=False)
    _horizon(scores[scores["step"] > 0]).to_csv(folder / "horizon.csv", index=False)
    _comparisons(overall).to_csv(folder / "comparisons.csv", index=False)
    return load(folder, cells)


def load(folder: Path, cells: list[CellFiles]) -> Results:
    return Results.load(folder / "scores.csv", folder / "horizon.csv", folder / "comparisons.csv", cells)


def _cells(folder: Path, dataset: str) -> Iterator[CellFiles]:
    model = "seq2seq_convlstm" if frames_of(dataset) == "video" else "seq2seq_lstm"
    for depth in DEPTHS:
        for seed in SEEDS:
            name = f"{dataset}/{model}/depth-{depth}/mse/seed-{seed}"
            folders = folder / "runs" / name, folder / "scores" / name
            yield CellFiles(name, dataset, model, depth, "mse", seed, *folders)
    for baseline in ERRORS[dataset][1]:
        name = f"{dataset}/{baseline}"
        yield CellFiles(name, dataset, baseline, None, None, None, None, folder / "scores" / name)


def _generator(cell: CellFiles) -> np.random.Generator:
    return np.random.default_rng(list(cell.name.encode()))


def _errors(cell: CellFiles) -> np.ndarray:
    """Mean squared error at each forecast step, rising and levelling off."""
    rng, horizon = _generator(cell), 10 if frames_of(cell.dataset) == "video" else 25
    trained, baselines = ERRORS[cell.dataset]
    level = trained * (1 - 0.04 * (cell.depth or 0)) * rng.normal(1, 0.015) if cell.loss else baselines[cell.model]
    shape = 1 - 0.8 * np.exp(-np.arange(horizon) / 3)
    return level * shape / shape.mean()


def _clips(cell: CellFiles) -> dict[str, np.ndarray]:
    shared = np.random.default_rng(list(cell.dataset.encode()))
    noise = _generator(cell)
    if frames_of(cell.dataset) == "series":
        time = np.linspace(0, 1, 50)
        phase, speed = shared.uniform(0, np.pi, (4, 1)), shared.uniform(2, 4 * np.pi, (4, 1))
        truth = (0.5 * (np.sin(speed * time + phase) + 1))[..., None].astype(np.float32)
        forecast = truth[:, 25:] + noise.normal(0, 0.03, (4, 25, 1)).cumsum(axis=1).astype(np.float32) / 3
        return {"context": truth[:, :25], "target": truth[:, 25:], "forecast": forecast}
    rows, columns = np.mgrid[:32, :32]
    truth = np.zeros((4, 20, 1, 32, 32))
    for clip, start, speed in zip(
        truth, shared.uniform(6, 26, (4, 2, 2)), shared.uniform(-1, 1, (4, 2, 2)), strict=True
    ):
        for step, frame in enumerate(clip):
            for y, x in np.abs((start + speed * step) % 64 - 32):
                frame[0] += np.exp(-((np.hypot(rows - y, columns - x) - 4) ** 2) / 1.5)
    blurred = truth[:, 10:] * np.linspace(0.9, 0.4, 10)[:, None, None, None]
    blurred += noise.uniform(0, 0.1, blurred.shape) * truth[:, 9:10]
    whole = {"context": truth[:, :10], "target": truth[:, 10:], "forecast": blurred}
    return {name: np.rint(clip.clip(0, 1) * 255).astype(np.uint8) for name, clip in whole.items()}


def _write_cell(cell: CellFiles, scale: str) -> pd.DataFrame:
    """The cell's files; its rows of the score table, step 0 being the mean over the horizon."""
    errors, key = _errors(cell), f"{int.from_bytes(_generator(cell).bytes(4)):08x}"
    horizon = len(errors)
    clips = {name: np.ascontiguousarray(clip) for name, clip in _clips(cell).items()}
    assert cell.score_folder is not None
    cell.score_folder.mkdir(parents=True, exist_ok=True)
    save_file(clips, cell.score_folder / "clips.safetensors")
    facts = {"split": "test", "sequences": 200, "mode": "free-running", "causal": "causal"}
    facts |= {"source": SOURCES[cell.dataset], "scale": scale, "key": key}
    identity = {name: getattr(cell, name) for name in ("dataset", "model", "depth", "loss", "seed")}
    score = (
        identity | facts | {"cell": cell.name, "context": horizon, "horizon": horizon, "primary_metric": "mse_pix01"}
    )
    score |= {
        "frames": frames_of(cell.dataset),
        "origin": "made for a test",
        "run_key": key if cell.run_folder else None,
    }
    score |= {"parameter_count": 49985 * (cell.depth or 0), "sha256": {}}
    coded = {"layer_semantics": "as_coded", "handover": "as_coded", "head_kernel": "1x3x3", "depth": cell.depth}
    protocol = {"split_by": "tickers", "variant": "svg"}
    score["parameters"] = {"model": coded, "dataset": {"kind": cell.dataset, "arguments": protocol}}
    (cell.score_folder / "score.json").write_text(json.dumps(score))
    if cell.run_folder is not None:
        _write_run(cell, identity | {"cell": cell.name, "key": key, "scale": scale}, float(errors.mean()))
    values = {
        "mse_pix01": errors,
        "mae_pix01": np.sqrt(errors) * 0.6,
        "psnr_frame": -10 * np.log10(errors),
        "ssim_f1": 1 - 8 * errors,
    }
    return pd.DataFrame(
        identity | facts | {"metric": metric, "step": step, "value": value}
        for metric in METRICS[frames_of(cell.dataset)]
        for step, value in enumerate([values[metric].mean(), *values[metric]])
    )


def _write_run(cell: CellFiles, identity: dict, final: float) -> None:
    assert cell.run_folder is not None
    cell.run_folder.mkdir(parents=True, exist_ok=True)
    rng, rows = _generator(cell), []
    for step in range(25, 501, 25):
        loss = final * (1 + 6 * np.exp(-step / 80)) * rng.normal(1, 0.03)
        rows.append((step, step // 100, "train", 0.001, loss, loss))
        if step % 100 == 0:
            rows.append((step, step // 100, "validation", 0.001, 1.04 * loss, 1.04 * loss))
    columns = ["step", "epoch", "split", "learning_rate", "loss", "mse"]
    pd.DataFrame(rows, columns=columns).to_csv(cell.run_folder / "history.csv", index=False)
    run = identity | {
        "parameters": {"dataset": {"kind": cell.dataset}, "model": {"depth": cell.depth}, "training": {"epochs": 5}},
        "fingerprints": {"code": "c0de", "data": "da7a"},
        "versions": {"python": "3.11", "torch": "2.13.0", "numpy": "2.4.0"},
        "device": "cpu",
        "parameter_count": 49985 * (cell.depth or 0),
        "steps": 500,
        "best_step": 500,
        "sha256": {},
    }
    (cell.run_folder / "run.json").write_text(json.dumps(run))


def _horizon(scores: pd.DataFrame) -> pd.DataFrame:
    keys = ["dataset", "model", "depth", "loss", "metric", "step"]
    spread = scores.groupby(keys, dropna=False)["value"].agg(["mean", "std", "count"]).reset_index()
    return spread.rename(columns={"std": "sd", "count": "seeds"})


def _comparisons(overall: pd.DataFrame) -> pd.DataFrame:
    rows = []
    primary = overall[overall["metric"] == "mse_pix01"]
    for dataset, own in primary.groupby("dataset"):
        names = own["model"].where(
            own["loss"].isna(), own["model"] + " depth-" + own["depth"].astype(str) + " " + own["loss"].astype(str)
        )
        means = own["value"].groupby(names).mean()
        for a, b in combinations(means.index, 2):
            difference, width = means[a] - means[b], 0.05 * min(means[a], means[b])
            verdict = "no difference" if abs(difference) < width else "a better" if difference < 0 else "b better"
            ends = difference - width, difference + width
            rows.append((dataset, "mse_pix01", a, b, difference, *ends, 200, verdict))
    columns = ["dataset", "metric", "a", "b", "difference", "low", "high", "sequences", "verdict"]
    return pd.DataFrame(rows, columns=columns)
