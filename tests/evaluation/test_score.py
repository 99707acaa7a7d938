"""The evaluator: what it returns, what it refuses, and the file it writes."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from framecast.errors import UserError
from framecast.evaluation.score import applicable, score, write_scores_csv


@pytest.fixture
def series() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(12, 4, 3, generator=generator), torch.rand(12, 4, 3, generator=generator)


def test_sequences_average_to_the_primary_metric(series):
    forecast, target = series
    scores = score(zip(forecast.split(5), target.split(5), strict=True), ["mse_pix01"], horizon=4, frame_shape=(3,))
    assert scores.sequences["mse_pix01"].shape == (12, 4)
    assert scores.sequences["mse_pix01"].dtype == np.float32
    np.testing.assert_allclose(scores.sequences["mse_pix01"], (forecast - target).square().mean(-1), rtol=1e-6)
    np.testing.assert_allclose(scores.sequences["mse_pix01"].mean(0), scores.per_step["mse_pix01"], rtol=1e-6)
    assert scores.overall["mse_pix01"] == pytest.approx(float((forecast - target).square().mean()))


def test_large_batches_are_cut_into_pieces(series, monkeypatch):
    whole = score([series], ["mae_pix01"], horizon=4, frame_shape=(3,), compared=["mae_pix01", "mse_pix01"])
    monkeypatch.setattr("framecast.evaluation.score.PIECE", 2 * 4 * 3)
    cut = score([series], ["mae_pix01"], horizon=4, frame_shape=(3,), compared=["mae_pix01", "mse_pix01"])
    assert cut.per_step["mae_pix01"] == pytest.approx(whole.per_step["mae_pix01"], rel=1e-12)
    assert cut.sequences.keys() == whole.sequences.keys() == {"mae_pix01", "mse_pix01"}
    for metric, values in cut.sequences.items():
        np.testing.assert_array_equal(values, whole.sequences[metric])


def test_series_have_only_the_means():
    ids = ["mse_pix01", "psnr_frame", "mae_pix01", "ssim_f1", "mse_sum01", "mse_pix01"]
    assert applicable(ids, "series") == ["mse_pix01", "mae_pix01"]
    assert applicable(ids, "video") == ids[:-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"metric_ids": ["mse"]},
            r"metrics: there is no metric 'mse'; there are direction_accuracy, .*ssim_u8, ",
        ),
        ({"compared": ["psnr_of_mean"], "frame_shape": (1, 8, 8)}, r"evaluation\.compared: psnr_of_mean has no value"),
        ({"horizon": 5}, r"forecast has shape \(12, 4, 3\); expected \(12, 5, 3\)"),
        ({"batches": []}, r"nothing to score: the test split has no sequence"),
    ],
)
def test_mistakes_are_one_line(series, change, message):
    settings = {"batches": [series], "metric_ids": ["mse_pix01"], "horizon": 4, "frame_shape": (3,)} | change
    with pytest.raises(UserError, match=message) as caught:
        score(settings.pop("batches"), settings.pop("metric_ids"), **settings)
    assert "\n" not in str(caught.value)


def test_a_forecast_that_is_not_finite_is_named(series):
    forecast, target = series[0].clone(), series[1]
    forecast[7, 2, 1] = torch.inf
    batches = zip(forecast.split(5), target.split(5), strict=True)
    with pytest.raises(UserError, match=r"test sequence 7 is NaN or infinite at horizon step 3"):
        score(batches, ["mse_pix01"], horizon=4, frame_shape=(3,))


def test_the_csv_file_holds_every_number_in_full(series, tmp_path: Path):
    scores = score([series], ["mse_pix01", "mae_pix01"], horizon=4, frame_shape=(3,))
    for name in ("a.csv", "b.csv"):
        write_scores_csv(tmp_path / name, {"free-running": scores, "teacher-forced": scores})
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["mode"] for row in rows] == ["free-running"] * 10 + ["teacher-forced"] * 10
    assert [(row["metric"], row["step"]) for row in rows[:6]] == [
        ("mse_pix01", "1"),
        ("mse_pix01", "2"),
        ("mse_pix01", "3"),
        ("mse_pix01", "4"),
        ("mse_pix01", "all"),
        ("mae_pix01", "1"),
    ]
    assert [float(row["value"]) for row in rows[:4]] == scores.per_step["mse_pix01"]
    assert float(rows[4]["value"]) == scores.overall["mse_pix01"]
