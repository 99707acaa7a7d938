"""Scores in several modes, from a forecast to the report: the study of the next-frame ConvLSTM in seconds."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from framecast.evaluation.evaluate import forecast_in
from framecast.models.context_mean import ContextMean
from framecast.models.next_frame import NextFrame
from tests.conftest import one_line, run

PARAMS = """
scale: tiny
seeds: [1, 2]
studies:
  teachers:
    datasets: [moving_mnist_next]
    models: [next_frame, next_frame_leaky]
    depths: [1]
    losses: [hybrid]
    also: [{models: [next_frame], losses: [bce]}, {models: [next_frame], losses: [bce, hybrid]}]
datasets:
  moving_mnist_next:
    {kind: moving_mnist, context: 1, horizon: 5, variant: srivastava, source: bundled, frame_size: 16, digit_size: 8,
     train: 8, validation: 4, test: 6}
models:
  next_frame: {kind: next_frame, hidden_channels: 4, spatial_attention: last}
  next_frame_leaky: {kind: next_frame, hidden_channels: 4, spatial_attention: last, head: leaky, replication: true}
baselines: [copy_last, zeros]
losses: {bce: {bce: 1.0}, hybrid: {bce: 1.0, perceptual_seeded: {weight: 0.1, channels: 4}, gdl: 0.1}}
training: {epochs: 2, batch_size: 4, learning_rate: 1.0e-3, log_every: 1, schedule: plateau, early_stopping: 2}
evaluation:
  metrics: [mse_pix01, mae_pix01, psnr_frame, ssim_gauss, sharpness]
  compared: [psnr_frame, sharpness]
  protocols: {moving_mnist_next: {free-running: 3, teacher-forced: 1}}
  clips: 2
  resamples: 200
figures: {training_curves: all, leak: [moving_mnist_next], activations: [moving_mnist_next]}
scales: {tiny: {}}
"""
LEAKY = "moving_mnist_next/next_frame_leaky/depth-1/hybrid/seed-1"
HONEST = "moving_mnist_next/next_frame/depth-1/bce/seed-2"


# --- what a mode gives a forecaster -----------------------------------------------------------------


def network(head: str) -> NextFrame:
    torch.manual_seed(0)
    return NextFrame((1, 8, 8), depth=2, hidden_channels=4, head=head).eval()


@torch.no_grad()
def asked_frame_by_frame(model: torch.nn.Module, frames: torch.Tensor, observed: int) -> torch.Tensor:
    """Every forecast from the true frames before it, given nothing else."""
    return torch.cat([model(frames[:, :t], 1) for t in range(observed, frames.shape[1])], dim=1)


@pytest.mark.parametrize("observed", [1, 4])
def test_all_at_once_is_frame_by_frame_unless_the_system_looks_ahead(observed: int) -> None:
    """The leaky head agrees at the last step only, after which there is nothing to see."""
    frames = torch.rand(2, 7, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        causal = forecast_in("teacher-forced", network("causal"), frames, observed)
        leaky = forecast_in("teacher-forced", network("leaky"), frames, observed)
    torch.testing.assert_close(causal, asked_frame_by_frame(network("causal"), frames, observed))
    honest = asked_frame_by_frame(network("leaky"), frames, observed)
    torch.testing.assert_close(leaky[:, -1], honest[:, -1])
    assert all((leaky[:, step] - honest[:, step]).abs().max() > 1e-3 for step in range(leaky.shape[1] - 1))


def test_a_system_without_a_teacher_is_asked_for_one_frame_at_a_time() -> None:
    frames = torch.rand(2, 5, 1, 4, 4)
    forecast = forecast_in("teacher-forced", ContextMean((1, 4, 4)), frames, 2)
    expected = torch.stack([frames[:, :t].mean(1) for t in range(2, 5)], dim=1)
    torch.testing.assert_close(forecast, expected)


def test_a_free_run_sees_no_future() -> None:
    frames = torch.rand(2, 6, 1, 8, 8)
    other = torch.cat([frames[:, :3], torch.rand(2, 3, 1, 8, 8)], dim=1)
    with torch.no_grad():
        runs = [forecast_in("free-running", network("leaky"), video, 3) for video in (frames, other)]
    assert torch.equal(*runs)


# --- from params.yaml to the report -----------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, made verb by verb."""
    folder = tmp_path_factory.mktemp("modes")
    (folder / "params.yaml").write_text(PARAMS, encoding="utf-8")
    run("framecast", "prepare", "moving_mnist_next", cwd=folder)
    for cell in run("framecast", "grid", "--names", cwd=folder).stdout.split():
        run("framecast", "train", cell, cwd=folder)
        run("framecast", "evaluate", cell, cwd=folder)
    for baseline in ("copy_last", "zeros"):
        run("framecast", "evaluate", f"moving_mnist_next/{baseline}", cwd=folder)
    run("framecast", "tables", cwd=folder)
    run("framecast", "report", cwd=folder)
    return folder


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def scores_of(made: Path, cell: str) -> Path:
    (folder,) = (made / "data" / "scores" / cell).iterdir()
    return folder


@pytest.mark.slow
def test_products_of_a_study_share_their_cells(made: Path) -> None:
    names = run("framecast", "grid", "--names", cwd=made).stdout.split()
    systems = [("next_frame", "hybrid"), ("next_frame_leaky", "hybrid"), ("next_frame", "bce")]
    assert names == [f"moving_mnist_next/{m}/depth-1/{loss}/seed-{s}" for m, loss in systems for s in (1, 2)]


@pytest.mark.slow
def test_a_cell_is_scored_in_each_mode_over_its_own_steps(made: Path) -> None:
    folder = scores_of(made, LEAKY)
    manifest = json.loads((folder / "score.json").read_text(encoding="utf-8"))
    assert manifest["mode"] == "free-running"
    assert manifest["modes"] == {
        "free-running": {"context": 3, "horizon": 3},
        "teacher-forced": {"context": 1, "horizon": 5},
    }
    assert (manifest["causal"], manifest["first_leak"], manifest["replication"]) == ("leaky", [1, 1], True)
    rows = table(folder / "scores.csv")
    for mode, steps in (("free-running", 3), ("teacher-forced", 5)):
        told = [row["step"] for row in rows if (row["mode"], row["metric"]) == (mode, "sharpness")]
        assert told == [*map(str, range(1, steps + 1)), "all"]
    kept = load_file(folder / "sequences.safetensors")
    assert {name: values.shape for name, values in kept.items()} == {
        f"{mode}/{metric}": (6, steps)
        for mode, steps in (("free-running", 3), ("teacher-forced", 5))
        for metric in ("mse_pix01", "psnr_frame", "sharpness")
    }
    overall = {(row["mode"], row["metric"]): float(row["value"]) for row in rows if row["step"] == "all"}
    for name, values in kept.items():
        mode, metric = name.split("/")
        np.testing.assert_allclose(values.mean(), overall[mode, metric], rtol=1e-5)
    honest = json.loads((scores_of(made, HONEST) / "score.json").read_text(encoding="utf-8"))
    assert (honest["causal"], honest["replication"]) == ("causal", False)


@pytest.mark.slow
def test_clips_of_both_modes_are_of_the_same_sequences(made: Path) -> None:
    folder = scores_of(made, LEAKY)
    clips, kept = load_file(folder / "clips.safetensors"), json.loads((folder / "score.json").read_text())["kept"]
    n = len(kept)
    assert clips["context"].shape == (n, 3, 1, 16, 16)
    assert clips["target"].shape == clips["forecast"].shape == (n, 3, 1, 16, 16)
    assert clips["teacher-forced/forecast"].shape == (n, 5, 1, 16, 16)
    assert clips["inside/layer-1/activation"].shape == (2, 5, 16, 16)


@pytest.mark.slow
def test_every_cell_keeps_its_extremes_of_the_whole_split_and_those_of_copying(made: Path) -> None:
    """The stored forecast of each is the one whose error is stored; rounding to 8 bits moves it by less than 1/255."""
    copied = load_file(scores_of(made, "moving_mnist_next/copy_last") / "sequences.safetensors")
    trivial = copied["free-running/mse_pix01"].mean(axis=1)
    for cell in (LEAKY, HONEST, "moving_mnist_next/copy_last"):
        folder = scores_of(made, cell)
        kept = json.loads((folder / "score.json").read_text())["kept"]
        why = {reason: one["sequence"] - 1 for one in kept for reason in one["why"] if reason != "first"}
        errors = load_file(folder / "sequences.safetensors")["free-running/mse_pix01"].mean(axis=1)
        for values, prefix in ((errors, ""), (trivial, "copy_last ")):
            assert values[why[f"{prefix}worst"]] == values.max()
            assert values[why[f"{prefix}best"]] == values.min()
            assert values[why[f"{prefix}median"]] == np.sort(values)[::-1][len(values) // 2]
        assert [one["sequence"] for one in kept if "first" in one["why"]] == [1, 2]
        assert len({one["sequence"] for one in kept}) == len(kept) <= 2 + 6
        clips = load_file(folder / "clips.safetensors")
        forecast, target = (clips[name].astype(np.float64) / 255 for name in ("forecast", "target"))
        again = ((forecast - target) ** 2).mean(axis=(1, 2, 3, 4))
        np.testing.assert_allclose(again, [errors[one["sequence"] - 1] for one in kept], atol=1 / 255)


@pytest.mark.slow
def test_tables_keep_the_modes_apart(made: Path) -> None:
    reports = made / "reports"
    scores = table(reports / "scores.csv")
    assert {(row["mode"], row["causal"]) for row in scores if row["model"] == "next_frame_leaky"} == {
        ("free-running", "leaky"),
        ("teacher-forced", "leaky"),
    }
    steps = {(row["mode"], row["step"]) for row in table(reports / "horizon.csv")}
    assert steps == {("free-running", str(k)) for k in (1, 2, 3)} | {("teacher-forced", str(k)) for k in range(1, 6)}
    compared = {(row["mode"], row["metric"]) for row in table(reports / "comparisons.csv")}
    assert len(compared) == 2 * 3
    metrics = json.loads((reports / "metrics.json").read_text(encoding="utf-8"))
    entry = metrics["moving_mnist_next"]["next_frame"]["depth-1"]["bce"]
    assert set(entry) == {"free-running", "teacher-forced"}
    assert set(entry["teacher-forced"]["psnr_frame"]) == {"mean", "sd"}


@pytest.mark.slow
def test_the_history_shows_each_terms_share_of_the_gradient(made: Path) -> None:
    (folder,) = (made / "data" / "runs" / LEAKY).iterdir()
    rows = [row for row in table(folder / "history.csv") if row["split"] == "train"]
    shares = [[float(row[f"share_{term}"]) for term in ("bce", "perceptual_seeded", "gdl")] for row in rows]
    np.testing.assert_allclose(np.sum(shares, axis=1), 1, rtol=1e-6)


@pytest.mark.slow
def test_the_report_and_the_figure_of_one_cell(made: Path) -> None:
    page = (made / "reports" / "report.html").read_text(encoding="utf-8")
    assert "leaky" in page
    assert "teacher-forced" in page
    assert "Do the hot spots lie on the digits?" in page
    told = run("framecast", "figure", "activations", "--run", LEAKY, "--output", "look.svg", cwd=made).stdout
    assert (made / "look.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert (made / "look.gif").read_bytes().startswith(b"GIF8")
    assert "look.svg" in told


@pytest.mark.slow
def test_the_leak_needs_its_mark(made: Path, tmp_path: Path) -> None:
    unmarked = PARAMS.replace(", replication: true", "")
    (tmp_path / "params.yaml").write_text(unmarked, encoding="utf-8")
    line = one_line(run("framecast", "grid", cwd=tmp_path, check=False))
    assert "models.next_frame_leaky.head" in line
    assert "replication: true" in line
