"""The report of a large grid: how many bytes it is, and how soon a browser shows something of it.

The results are made up, in the pipeline's own file formats: five datasets, three seeds, two thousand cells; forecasts
of 64 × 64 pixels. The page is opened from disk in headless Chromium.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np

from benchmarks.base import Row
from framecast.report.render import render
from framecast.results import CellFiles, Results
from framecast.study.params import Study
from tests import results_fixture
from tests.report.chromium import PROGRAM, Browser

ON_REQUEST = True  #: some minutes
CELLS = 2000
MOST_MB, MOST_SECONDS = 30.0, 1.5
DEPTHS = results_fixture.DEPTHS
DESIGNS = [
    f"design_{number}"
    for number in range(1 + CELLS // (len(results_fixture.ERRORS) * len(DEPTHS) * len(results_fixture.SEEDS)))
]


def rows() -> Iterator[Row]:
    """Size of the page, and first paint where there is a Chromium."""
    with TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        page.write_text(html(Path(folder) / "results"), encoding="utf-8")
        size = page.stat().st_size / 1e6
        yield Row(f"report, {CELLS} cells", f"{size:.1f} MB", "", size, "MB", f"≤ {MOST_MB:g} MB", size <= MOST_MB)
        if PROGRAM:
            paint, ready = first_paint(page, Path(folder) / "profile")
            told = f"{paint:.2f} s, ready after {ready:.2f} s"
            yield Row("first paint of it", told, "", paint, "s", f"≤ {MOST_SECONDS} s", paint <= MOST_SECONDS)


def html(folder: Path) -> str:
    """The page of a made-up grid."""
    results, study = made_up(folder)
    return render(results, {}, {"large": study}, "laptop")


def made_up(folder: Path) -> tuple[Results, Study]:
    """Results of the grid, and the study that asks for it."""
    folder.mkdir(parents=True)
    with (
        patch.object(results_fixture, "_systems", _systems),
        patch.object(results_fixture, "_clips", _clips),
    ):
        results = results_fixture.fabricate(folder)
    datasets = tuple(results_fixture.ERRORS)
    study = Study(datasets=datasets, models=tuple(DESIGNS), depths=DEPTHS, losses=("mse",))
    return results, study


def _systems(dataset: str) -> list[tuple[str, int, str]]:
    return [(model, depth, "mse") for model in DESIGNS for depth in DEPTHS]


def _clips(cell: CellFiles, leak: float) -> dict[str, np.ndarray]:
    """Random walks of a blob in frames of 64 × 64 with noise, the dearest that a sheet may have to hold."""
    if results_fixture.frames_of(cell.dataset) == "series":
        return CLIPS_OF_SERIES(cell, leak)
    random = np.random.default_rng(list(cell.name.encode()))
    count = len(results_fixture._kept(cell, leak))
    rows, columns = np.mgrid[:64, :64]
    at = np.clip(32 + random.normal(0, 3, (count, 20, 2)).cumsum(axis=1), 8, 56)
    blob = np.exp(-((rows - at[..., :1, None]) ** 2 + (columns - at[..., 1:, None]) ** 2) / 60)[:, :, None]
    whole = np.rint(255 * (0.8 * blob + random.uniform(0, 0.05, blob.shape))).astype(np.uint8)
    return {"context": whole[:, :10], "target": whole[:, 10:], "forecast": whole[:, 10:]}


CLIPS_OF_SERIES = results_fixture._clips


def first_paint(page: Path, profile: Path) -> tuple[float, float]:
    """Seconds from the start of the navigation to the first paint with content, and to the end of the script."""
    with Browser(profile) as browser:
        browser.open(page)
        paint = browser.until("performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
        assert not browser.complaints()
        assert re.match("js", browser.js("document.documentElement.className"))
        ready = browser.js("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    return paint / 1000, ready / 1000
