"""Our metric ids against the evaluation code of six projects, on the same forecasts."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from framecast.evaluation.score import score
from tests.oracles.golden import Golden, files

# The networks of these projects end in a sigmoid, and their code is given what such a network may give.
CLIPPED = ("mimo_vp", "tf")
#: (absolute, relative), as the files say it of a project or of one of its metrics; we take differences in float32.
TOLERANCES = {
    "openstl": (0, 1e-5),
    "simvp": (0, 1e-5),
    "mimo_vp": (0, 1e-5),
    "predrnn_pytorch mse": (0, 1e-5),
    "predrnn_pytorch ssim": (0, 1e-6),
    "predrnn_pytorch psnr": (0, 1e-6),
    "srvp": (1e-6, 0),
    "tf mse": (0, 1e-5),
    "tf mae": (0, 1e-5),
    "tf psnr": (1e-4, 0),
    "tf ssim": (1e-4, 0),
}


def counterparts(golden: Golden) -> Iterator[tuple[str, str, str]]:
    """(our id, their project, their metric); MIMO-VP's code reads one channel alone."""
    for identifier, entries in golden.facts["ids"].items():
        for entry in entries:
            project, metric = re.split("[/ ]", entry)[:2]
            if project != "mimo_vp" or golden.config["C"] == 1:
                yield identifier, project, metric


@pytest.mark.parametrize("path", files("metrics_*"), ids=lambda path: path.stem)
def test_metrics_equal_the_projects_own(path: Path) -> None:
    golden = Golden(path)
    forecast, target = (golden[name].float() for name in ("forecast", "target"))
    pairs = list(counterparts(golden))
    ids = list(dict.fromkeys(identifier for identifier, _, _ in pairs))
    shape = {"horizon": forecast.shape[1], "frame_shape": tuple(forecast.shape[2:])}
    given = {
        clips: score([(forecast.clamp(0, 1) if clips else forecast, target)], ids, **shape) for clips in (False, True)
    }
    for identifier, project, metric in pairs:
        ours, what = given[project in CLIPPED], f"{identifier} of {project}"
        absolute, relative = TOLERANCES.get(f"{project} {metric}") or TOLERANCES[project]
        close = {"abs": absolute, "rel": relative}
        assert ours.per_step[identifier] == pytest.approx(golden[f"{project}/{metric}"].tolist(), **close), what
        whole = float(golden[f"{project}/{metric}_all"])
        if (project, metric) == ("predrnn_pytorch", "mse"):  # a sum over steps: "mse per seq"
            whole /= golden.config["K"]
        assert ours.overall[identifier] == pytest.approx(whole, **close), what


@pytest.mark.parametrize("path", files("metrics_*"), ids=lambda path: path.stem)
def test_the_range_of_srvps_forecasts_is_the_peak_of_its_psnr(path: Path) -> None:
    golden = Golden(path)
    forecast = golden["forecast"].clamp(0, 1).mul(255).round()
    spread = forecast.transpose(0, 1).flatten(1).max(1).values - forecast.transpose(0, 1).flatten(1).min(1).values
    assert torch.equal(spread, golden["srvp/range"])
    implied = 10 * (golden["srvp/range"].square() / golden["srvp/mse"]).log10()
    torch.testing.assert_close(implied, golden["srvp/psnr"], rtol=0, atol=1e-6)
