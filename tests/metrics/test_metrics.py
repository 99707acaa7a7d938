"""Every metric id against a second implementation, and the conversions that the literature needs."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.metrics import PER_FRAME, PER_SEQUENCE, WHOLE_SET, reference
from framecast.errors import UserError
from framecast.evaluation.score import create, score
from framecast.metrics.base import Pair
from framecast.metrics.kernels.errors import decibels
from framecast.metrics.kernels.windows import GAUSSIAN, UNIFORM
from framecast.metrics.srvp import MsePix255U8, SsimSrvp
from framecast.study import catalogue

HORIZON, SHAPE = 3, (2, 20, 26)


def blurred(count: int, seed: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    """Smooth random videos in [0, 1] with black areas, (N, K, C, H, W): flat regions are where SSIM is delicate."""
    noise = torch.rand(count * HORIZON, *shape, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.avg_pool2d(noise, 5, stride=1, padding=2) * 3 - 1
    return smooth.clamp(0, 1).unflatten(0, (count, HORIZON))


@pytest.fixture(scope="module")
def videos() -> tuple[Tensor, Tensor]:
    """Nine forecasts, partly outside [0, 1], and targets that are grey levels."""
    target = (blurred(9, seed=1) * 255).round() / 255
    return target + 0.3 * (blurred(9, seed=2) - 0.4), target


def before(target: Tensor) -> Tensor:
    """Two frames that may have come before, the first targets in reverse; black areas of the targets stay so."""
    return target[:, :2].flip(1)


def scored(metric: str, forecast: Tensor, target: Tensor, batch: int | None = None, *, taught: bool = False) -> Tensor:
    whole = forecast, target, before(target)
    pieces = zip(*(video.split(batch or len(video)) for video in whole), strict=True)
    result = score(pieces, [metric], horizon=forecast.shape[1], frame_shape=tuple(forecast.shape[2:]), taught=taught)
    return torch.tensor(result.per_step[metric], dtype=torch.float64)


def test_every_id_has_a_second_implementation():
    assert set(catalogue.metrics()) == {*PER_FRAME, *PER_SEQUENCE, *WHOLE_SET}


@pytest.mark.parametrize("metric", [*PER_FRAME, *PER_SEQUENCE, *WHOLE_SET])
def test_equals_scikit_image_frame_by_frame(metric: str, videos: tuple[Tensor, Tensor]):
    expected = reference(metric, *(video.numpy() for video in (*videos, before(videos[1]))))
    np.testing.assert_allclose(scored(metric, *videos), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("metric", sorted(catalogue.metrics()))
def test_the_split_into_batches_does_not_matter(metric: str, videos: tuple[Tensor, Tensor]):
    whole = scored(metric, *videos)
    for batch in (1, 4):
        torch.testing.assert_close(scored(metric, *videos, batch=batch), whole, rtol=1e-12, atol=0)


@pytest.mark.parametrize("metric", sorted(set(catalogue.metrics()) - {"direction_accuracy", "square_about_half"}))
def test_equality_is_the_best_value(metric: str, videos: tuple[Tensor, Tensor]):
    target = (
        videos[1] if metric != "direction_accuracy" else 0.5 + videos[1] / 2 + torch.arange(1, 4)[:, None, None, None]
    )
    family = metric.split("_")[0]
    best = {"psnr": 100.0, "ssim": 1.0, "sharpness": 1.0, "foreground": 1.0}.get(family, 0.0)
    torch.testing.assert_close(scored(metric, target, target), torch.full((HORIZON,), best, dtype=torch.float64))
    module, name = catalogue.metrics()[metric]
    better = getattr(__import__(f"framecast.metrics.{module}", fromlist=[name]), name).better
    assert better == {"sharpness": "one", "foreground": "one"}.get(family, "lower" if best == 0.0 else "higher")


def test_direction_is_told_from_the_newest_true_point():
    target = torch.tensor([0.4, 0.6, 0.5, 0.5]).reshape(1, 4, 1)
    forecast = torch.tensor([0.3, 0.9, 0.2, 0.6]).reshape(1, 4, 1)
    context = torch.tensor([0.1, 0.5]).reshape(1, 2, 1)
    ids: dict[str, Any] = {"metric_ids": ["direction_accuracy"], "horizon": 4, "frame_shape": (1,)}
    for taught, wanted in ((False, [1.0, 1.0, 0.5, 0.5]), (True, [1.0, 1.0, 1.0, 0.5])):
        found = score([(forecast, target, context)], **ids, taught=taught)
        assert found.per_step["direction_accuracy"] == wanted
    coin = torch.rand(4000, 4, 1, generator=torch.Generator().manual_seed(0))
    fair = score([(coin, coin.flip(0), torch.full((4000, 1, 1), 0.5))], **ids)
    assert fair.overall["direction_accuracy"] == pytest.approx(0.5, abs=0.02)
    with pytest.raises(ValueError, match="needs the observed frames"):
        score([(forecast, target)], **ids)


def test_static_error_sees_only_what_never_moves(videos: tuple[Tensor, Tensor]):
    target = videos[1].clone()
    target[:, :, :, :4] = target[:, :1, :, :4]  # four rows stand still
    forecast = target.clone()
    forecast[:, :, :, 4:] += 0.25
    assert scored("static_error", forecast, target)[0] > 0  # rows that were black all the time
    forecast = target + torch.arange(1, HORIZON + 1)[:, None, None, None] / 10
    torch.testing.assert_close(scored("static_error", forecast, target), torch.tensor([0.01, 0.04, 0.09]).double())


def test_a_ghost_is_pale_and_a_hedge_is_grey():
    """A digit at a third of its brightness is a ghost; half black, half white where the truth is white is no grey."""
    target = torch.zeros(2, HORIZON, 1, 8, 8)
    target[..., 2:6, 2:6] = 1.0
    hedge = target * 0.5
    sure = target.clone()
    sure[..., 2:4, :] = 0.0
    for forecast, level, grey in ((target / 3, 1 / 3, 0.25), (hedge, 0.5, 0.25), (sure, 0.5, 0.0), (target, 1.0, 0.0)):
        assert scored("foreground_level", forecast, target)[0] == pytest.approx(level)
        assert scored("grey_excess", forecast, target)[0] == pytest.approx(grey)
    assert scored("grey_excess", target, hedge).tolist() == [0.0] * HORIZON  # less grey than the truth is no excess
    assert scored("foreground_level", hedge, target * 0).isnan().all()


def test_a_constant_half_has_no_square_about_it():
    wave = 0.5 + 0.2 * torch.tensor([-1.0, 1.0]).repeat(10)[:, None, None].expand(20, HORIZON, 1)
    for forecast, square in ((wave * 0 + 0.5, 0.0), (wave, 0.04), (wave * 0 + 0.4, 0.01)):
        found = score([(forecast, wave)], ["square_about_half"], horizon=HORIZON, frame_shape=(1,))
        assert found.per_step["square_about_half"] == pytest.approx([square] * HORIZON)


def test_sharpness_is_the_truths_gradient_energy_that_is_left(videos: tuple[Tensor, Tensor]):
    """Blur lies below 1 and noise above; halving the contrast quarters it; a flat truth does not divide by zero."""
    target = videos[1]
    blur = torch.nn.functional.avg_pool2d(target.flatten(0, 1), 3, stride=1, padding=1).unflatten(0, target.shape[:2])
    noise = target + 0.5 * torch.rand(target.shape, generator=torch.Generator().manual_seed(0)) - 0.25
    assert scored("sharpness", blur, target).max() < 0.9
    assert scored("sharpness", noise, target).min() > 1.1
    torch.testing.assert_close(scored("sharpness", target / 2, target), torch.full((HORIZON,), 0.25).double())
    assert scored("sharpness", target * 0, target * 0 + 0.5).tolist() == [0.0] * HORIZON


# --- conventions and their conversions (reference §5, oracles 4 to 6) --------------------------------


def test_sums_and_grey_levels_follow_from_the_pixel_mean(videos: tuple[Tensor, Tensor]):
    forecast, target = videos[0].clamp(0, 1), videos[1]
    pixel = scored("mse_pix01", forecast, target)
    assert pixel.min() > 1e-3
    torch.testing.assert_close(scored("mse_sum01", forecast, target), pixel * 2 * 20 * 26)
    torch.testing.assert_close(scored("mse_sum01_raw", forecast, target), pixel * 2 * 20 * 26)
    torch.testing.assert_close(scored("mse_pix255u8", forecast, target), pixel * 65025, rtol=0.005, atol=0)


#: SRVP's file of Moving MNIST, per horizon, and the ranges of the forecasts that its PSNRs imply.
SRVP_MSE = [433.37, 557.08, 694.81, 805.07, 914.45, 1013.08, 1109.81, 1195.32, 1276.97, 1350.24]
SRVP_PSNR = [21.76, 20.67, 19.68, 19.04, 18.49, 18.01, 17.61, 17.25, 16.97, 16.69]
SRVP_SSIM = [0.8917, 0.8567, 0.8204, 0.7902, 0.7587, 0.7277, 0.6976, 0.6697, 0.6427, 0.6185]
SRVP_RANGE = [255, 255, 254, 254, 254, 253, 253, 252, 252, 251]


def test_srvps_rows_average_to_its_table():
    mse, peak, ssim_rows = (torch.tensor(row, dtype=torch.float64) for row in (SRVP_MSE, SRVP_RANGE, SRVP_SSIM))
    psnr = decibels(mse, peak)
    assert psnr.tolist() == pytest.approx(SRVP_PSNR, abs=0.006)
    shape = (1, 64, 64)
    assert create("mse_pix255u8", 10, shape).overall(mse) == pytest.approx(935.02, abs=0.005)
    assert create("psnr_srvp", 10, shape).overall(psnr) == pytest.approx(18.616, abs=0.0005)
    assert create("ssim_srvp", 10, shape).overall(ssim_rows) == pytest.approx(0.7474, abs=0.00005)
    # A peak of 255 throughout, the plain reading of "PSNR", is off by more than the printed digits.
    assert create("psnr_srvp", 10, shape).overall(decibels(mse, 255.0)) == pytest.approx(18.674, abs=0.0005)


def test_psnr_of_frames_is_at_least_that_of_their_mean(videos: tuple[Tensor, Tensor]):
    forecast, target = videos[0].clamp(0, 1), videos[1]
    assert (scored("psnr_frame", forecast, target) > scored("psnr_of_mean", forecast, target)).all()


def test_psnr_of_mean_averages_before_the_logarithm(videos: tuple[Tensor, Tensor]):
    forecast, target = videos
    scores = score([(forecast, target)], ["psnr_of_mean"], horizon=HORIZON, frame_shape=SHAPE)
    error = (forecast - target).double().square().mean()
    assert scores.overall["psnr_of_mean"] == pytest.approx(float(-10 * error.log10()), rel=1e-6)


def test_perfect_frames_count_as_100_db_and_are_counted(videos: tuple[Tensor, Tensor]):
    forecast, target = videos[0].clone(), videos[1]
    forecast[:2, 1] = target[:2, 1]
    scores = score([(forecast, target)], ["psnr_frame"], horizon=HORIZON, frame_shape=SHAPE)
    others = scored("psnr_frame", forecast[2:], target[2:])
    assert scores.per_step["psnr_frame"][1] == pytest.approx((200 + 7 * float(others[1])) / 9)
    assert scores.notes == {"psnr_frame": "2 perfect frames count as 100 dB"}


def test_wrap_around_hides_an_error_of_16_levels_and_flatters_the_rest():
    target = torch.zeros(1, 1, 1, 32, 32)
    assert float(scored("psnr_wrap_u8", target + 16.5 / 255, target)) == 100.0
    half = torch.rand(1, 1, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * (torch.arange(32) % 4 == 0) * 0.7
    true, flattered = float(scored("psnr_frame_u8", half, target)), float(scored("psnr_wrap_u8", half, target))
    assert true == pytest.approx(13.9, abs=0.5)
    assert flattered > 31


# --- SRVP's whole-set metrics --------------------------------------------------------------------------


def test_srvp_peak_is_the_range_of_the_forecasts(videos: tuple[Tensor, Tensor]):
    forecast, target = videos[0].clamp(0.1, 0.8), videos[1]
    scores = score([(forecast, target)], ["psnr_srvp"], horizon=HORIZON, frame_shape=SHAPE)
    assert scores.per_step["psnr_srvp"] == pytest.approx(reference("psnr_srvp", forecast.numpy(), target.numpy()))
    assert scores.notes["psnr_srvp"] == "forecasts span 178 to 178 of 255 grey levels"


def test_ssim_srvp_in_slabs_equals_the_whole_stack(monkeypatch: pytest.MonkeyPatch):
    forecast, target = blurred(25, seed=4).clamp(0, 0.9), blurred(25, seed=3)
    monkeypatch.setattr("framecast.metrics.srvp.SLAB", 8 * 2 * 20 * 26)
    expected = reference("ssim_srvp", forecast.numpy(), target.numpy())
    np.testing.assert_allclose(scored("ssim_srvp", forecast, target, batch=4), expected, rtol=1e-9)


def test_only_ssim_srvp_depends_on_the_order_of_samples(videos: tuple[Tensor, Tensor]):
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    mixed = [video[order] for video in videos]
    torch.testing.assert_close(scored("ssim_f1", *mixed), scored("ssim_f1", *videos))
    assert (scored("ssim_srvp", *mixed) - scored("ssim_srvp", *videos)).abs().max() > 1e-3


def test_srvp_metrics_are_not_defined_for_constant_forecasts_or_few_samples(videos: tuple[Tensor, Tensor]):
    ids = ["psnr_srvp", "ssim_srvp"]
    scores = score([(torch.zeros_like(videos[1]), videos[1])], ids, horizon=HORIZON, frame_shape=SHAPE)
    assert all(np.isnan(value) for metric in ids for value in [*scores.per_step[metric], scores.overall[metric]])
    assert set(scores.notes.values()) == {"not defined at 3 steps whose forecasts are constant"}
    assert scored("ssim_srvp", videos[0][:6], videos[1][:6]).isnan().all()
    assert not scored("ssim_srvp", videos[0][:7], videos[1][:7]).isnan().any()


def test_ssim_srvp_keeps_no_frame_in_memory(videos: tuple[Tensor, Tensor]):
    metric = SsimSrvp(HORIZON, SHAPE)
    sizes = set()
    for _ in range(5):
        metric.update(Pair(*videos))
        sizes.add(sum(value.numel() for value in vars(metric).values() if isinstance(value, Tensor)))
    assert sizes == {0}
    assert metric.spool.tell() == 5 * 9 * 2 * HORIZON * 2 * 20 * 26


def test_ssim_srvp_names_the_folder_that_is_full(monkeypatch: pytest.MonkeyPatch, videos: tuple[Tensor, Tensor]):
    metric = SsimSrvp(HORIZON, SHAPE)
    metric.spool.close()
    with open("/dev/full", "wb") as full:
        monkeypatch.setattr(metric, "spool", full)
        with pytest.raises(UserError, match=r"cannot keep 9 test sequences in .*TMPDIR"):
            metric.update(Pair(*videos))
        monkeypatch.undo()


def test_frames_smaller_than_the_window_are_refused():
    with pytest.raises(UserError, match=r"ssim_gauss needs frames of at least 11×11 pixels, this data set has 8×16"):
        create("ssim_gauss", 3, (1, 8, 16))


@pytest.mark.parametrize("metric", catalogue.metrics())
def test_what_is_said_of_a_metrics_window_is_so(metric: str):
    """The check of ``params.yaml`` reads it from the source: a number at frames of that size, a refusal below."""
    side = catalogue.smallest_frame(metric)
    pair = torch.rand(2, 8, HORIZON, 1, side, side + 3, generator=torch.Generator().manual_seed(5))
    pair[1, ..., 0] = 0.5  # something stands still
    assert scored(metric, *pair).isfinite().all()
    for shape in ((1, side - 1, side), (1, side, side - 1)) if side > 1 else ():
        with pytest.raises(UserError, match=rf"{metric} needs frames of at least {side}×{side} pixels"):
            create(metric, HORIZON, shape)
    window = {7: UNIFORM, 11: GAUSSIAN}.get(side)
    assert side == (len(window.weights) if window else 1)


@pytest.mark.parametrize(
    "kind", [name for name in catalogue.names("data") if catalogue.frames("data", name) == "video"]
)
def test_what_is_said_of_a_videos_frames_is_so(kind: str):
    arguments = {name: default for name, (_, default) in catalogue.keyword_arguments(f"data.{kind}").items()}
    shape = catalogue.load("data", kind)(**arguments).frame_shape
    assert catalogue.side(kind, arguments)[0] == min(shape[1:])


def test_accumulators_do_not_grow_with_the_test_set(videos: tuple[Tensor, Tensor]):
    metric = MsePix255U8(HORIZON, SHAPE)
    for _ in range(5):
        metric.update(Pair(*videos))
    assert metric.total.shape == (HORIZON,)
    assert metric.count == 45
