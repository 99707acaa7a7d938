"""Motion extrapolation: advection against SciPy's, motion that it can see, and frames that show none."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from framecast.models.motion_extrapolation import MotionExtrapolation, advected


def blob(row: float, column: float, size: int = 24) -> Tensor:
    places = torch.arange(size)
    return torch.exp(-((places[:, None] - row) ** 2 + (places - column) ** 2) / 8)


def test_advection_equals_scipys_bilinear_lookup() -> None:
    generator = torch.Generator().manual_seed(0)
    maps, flow = torch.rand(2, 3, 7, 9, generator=generator), 3 * torch.randn(2, 2, 7, 9, generator=generator)
    places = np.stack(np.meshgrid(np.arange(7), np.arange(9), indexing="ij")) - flow.numpy()
    wanted = [
        [map_coordinates(m, p, order=1, mode="nearest") for m in ms] for ms, p in zip(maps.numpy(), places, strict=True)
    ]
    assert advected(maps, flow).numpy() == pytest.approx(np.array(wanted), abs=1e-5)


@pytest.mark.parametrize(("down", "right"), [(0, 1), (1, 0), (-1, 1), (0.5, -0.75)])
def test_what_moves_steadily_is_where_it_will_be(down: float, right: float) -> None:
    frames = torch.stack([blob(12 + down * (t - 3), 12 + right * (t - 3)) for t in range(8)])
    forecast = MotionExtrapolation((1, 24, 24))(frames[None, :5, None], 3)[0, :, 0]
    truth = frames[5:]
    error, standing = ((forecast - truth) ** 2).mean(), ((frames[4] - truth) ** 2).mean()
    assert error < 0.1 * standing
    peaks, wanted = forecast.flatten(1).argmax(1), truth.flatten(1).argmax(1)
    assert (peaks // 24 - wanted // 24).abs().max() <= 1
    assert (peaks % 24 - wanted % 24).abs().max() <= 1


def test_colours_move_together() -> None:
    frames = torch.stack([blob(12, 9 + t) for t in range(6)])
    grey, tinted = frames[None, :, None], frames[None, :, None] * torch.tensor([1.0, 0.5, 0.75])[:, None, None]
    one = MotionExtrapolation((1, 24, 24))(grey[:, :4], 2)
    three = MotionExtrapolation((3, 24, 24))(tinted[:, :4], 2)
    torch.testing.assert_close(three, one * torch.tensor([1.0, 0.5, 0.75])[:, None, None], atol=2e-3, rtol=0)


@pytest.mark.parametrize("frames", [torch.rand(2, 1, 1, 8, 8), torch.zeros(2, 4, 1, 8, 8), torch.ones(2, 2, 1, 8, 8)])
def test_where_no_motion_shows_the_last_frame_stays(frames: Tensor) -> None:
    forecast = MotionExtrapolation((1, 8, 8))(frames, 3)
    torch.testing.assert_close(forecast, frames[:, -1:].expand(-1, 3, -1, -1, -1))
