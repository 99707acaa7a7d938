"""From a clip and a trained cell to four files: right numbers, right marks, or one line and no file."""

import csv
import errno
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import ImageColor
from safetensors.torch import load_file
from typer.testing import CliRunner

from framecast import assemble
from framecast.cli import app
from framecast.cluster.journal import Asked
from framecast.errors import UserError
from framecast.predict import film, future, systems
from framecast.predict.clip import Wanted
from framecast.predict.future import predict
from framecast.study import reading
from framecast.study.grid import Cell, Grid
from framecast.training.cell import train
from framecast.training.stopping import Stop
from tests.conftest import ROOT
from tests.predict.clips import quarters, write

VIDEO, SERIES = "moving_mnist/seq2seq_convlstm/depth-1/mse", "generated_sins/seq2seq_lstm/depth-1/mse"
CONTEXT, TRAINED, SIZE = 3, 2, 16  #: of the video cell
NEAR = 8  #: levels by which a compressed film may differ


@pytest.fixture(scope="module")
def study_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study, of which both seeds of the video cell and one of a series cell are trained."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("params.yaml").write_bytes((ROOT / "tests" / "params.yaml").read_bytes())
        grid = Grid(reading.load())
        for dataset in ("moving_mnist", "generated_sins"):
            assemble.prepare(grid, dataset)
        for name in (f"{VIDEO}/seed-1", f"{VIDEO}/seed-2", f"{SERIES}/seed-1"):
            cell, cpu = grid.find(name), torch.device("cpu")
            train(grid, cell, stop=Stop(), device=cpu, asked=Asked(), admit=lambda: None)
    return folder


@pytest.fixture
def grid(study_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Grid]:
    monkeypatch.chdir(study_folder)
    threads = torch.get_num_threads()
    yield Grid(reading.load())
    torch.set_deterministic_debug_mode("default")
    torch.set_num_threads(threads)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Six grey frames of the system's size, in which a pattern moves."""
    np.save(tmp_path / "clip.npy", np.stack([np.roll(quarters(SIZE, SIZE), step, axis=1) for step in range(6)]))
    return tmp_path / "clip.npy"


def account(made: list[Path]) -> dict[str, Any]:
    return json.loads(made[2].read_text(encoding="utf-8"))


def played(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_the_files_hold_what_the_network_says(grid: Grid, clip: Path, tmp_path: Path) -> None:
    name = f"{VIDEO}/seed-1"
    lines, made = predict(grid, clip, name, Wanted(), horizon=5, output=str(tmp_path / "out" / "future.mp4"))
    assert [path.name for path in made] == ["future.mp4", "future.npz", "future.json", "compare.html"]
    model = assemble.model(grid, grid.find(name), (1, SIZE, SIZE)).eval()
    model.load_state_dict(load_file(grid.run_folder(grid.find(name)) / "model.safetensors"))
    frames = np.load(clip)[:, None].astype(np.float32) / 255
    with torch.no_grad():
        expected = model(torch.from_numpy(frames[None, :CONTEXT]), 5)[0].numpy()
    stored = np.load(made[1])
    assert np.array_equal(stored["forecast"][0], expected)
    assert np.array_equal(np.concatenate([stored["context"], stored["truth"]]), frames)
    told = account(made)
    assert (told["context"], told["horizon"], told["trained_horizon"], told["known"]) == (CONTEXT, 5, TRAINED, 3)
    error = float(((expected[:3].clip(0, 1) - frames[CONTEXT:]) ** 2).mean())
    assert told["scores"]["seq2seq_convlstm depth-1 mse"]["mse_pix01"]["overall"] == pytest.approx(error, rel=1e-5)
    copied = float(((frames[CONTEXT - 1] - frames[CONTEXT:]) ** 2).mean())
    assert told["scores"]["copy_last"]["mse_pix01"]["overall"] == pytest.approx(copied, rel=1e-5)
    assert "warning: horizon: forecast steps 3 to 5 lie beyond the 2 of training" in lines
    assert told["warnings"] == [{"about": "horizon", "told": "forecast steps 3 to 5 lie beyond the 2 of training"}]


def test_the_film_marks_what_is_observed_forecast_and_beyond(grid: Grid, clip: Path, tmp_path: Path) -> None:
    """And nothing jumps at the seam: a system that repeats the last frame shows it in the same levels."""
    _, made = predict(
        grid, clip, f"{VIDEO}/seed-1", Wanted(), horizon=5, everything=True, output=str(tmp_path / "f.mp4")
    )
    pictures = played(made[0])
    assert len(pictures) == CONTEXT + 5
    assert all(side % 2 == 0 for side in pictures.shape[1:3])
    factor = film.READABLE // SIZE
    panel = SIZE * factor + 2 * film.BORDER
    names = ["the clip", *np.load(made[1])["names"]]
    assert names == ["the clip", "seq2seq_convlstm depth-1 mse", "copy_last", "zeros"]
    for number in range(4):
        left = film.MARGIN + number * (panel + film.MARGIN)
        for step, picture in enumerate(pictures):
            border = picture[film.LINE + panel // 2, left + film.BORDER // 2]
            colour = film.OBSERVED
            if number and step >= CONTEXT:
                colour = film.FORECAST if step < CONTEXT + TRAINED else film.BEYOND
            assert np.abs(border.astype(int) - ImageColor.getrgb(colour)).max() <= NEAR
    inside = slice(film.LINE + film.BORDER, film.LINE + film.BORDER + SIZE * factor)
    left = film.MARGIN + 2 * (panel + film.MARGIN) + film.BORDER
    copied = pictures[:, inside, left : left + SIZE * factor].reshape(-1, SIZE, factor, SIZE, factor, 3)
    middle = copied[:, :, factor // 2, :, factor // 2].astype(int)
    assert np.abs(middle[CONTEXT] - middle[CONTEXT - 1]).max() <= 2
    levels = np.load(clip)[CONTEXT - 1][..., None]
    assert np.abs(middle[CONTEXT - 1] - levels).max() <= NEAR


def test_an_odd_film_is_padded_and_keeps_every_pixel(tmp_path: Path) -> None:
    frames = np.zeros((2, 1, 25, 25), np.float32)
    assert film.size(1, frames.shape) == (film.LINE * 2 + 287 + film.MARGIN, 287 + 2 * film.MARGIN)
    film.write(tmp_path / "f.mp4", film.drawn([film.Panel("system", frames)], 1, 1), 25.0, "mp4")
    picture = played(tmp_path / "f.mp4")[0].astype(int)
    assert picture.shape == (340, 304, 3)
    edges = picture[film.LINE + 287 - 3, 20:280], picture[film.LINE + 10 : film.LINE + 280, film.MARGIN + 287 - 3]
    assert all(np.abs(edge - ImageColor.getrgb(film.OBSERVED)).max() <= NEAR for edge in edges)


def test_several_seeds_tell_how_far_they_are_apart(grid: Grid, clip: Path, tmp_path: Path) -> None:
    output = str(tmp_path / "future.mkv")
    _, made = predict(grid, clip, VIDEO, Wanted(), output=output)
    stored, told = np.load(made[1]), account(made)
    assert list(stored["names"]) == [f"seq2seq_convlstm depth-1 mse seed-{seed}" for seed in (1, 2)]
    deviation = stored["forecast"].clip(0, 1).std(axis=0, ddof=1).mean(axis=(1, 2, 3))
    assert told["spread"] == {"seq2seq_convlstm depth-1 mse": pytest.approx(deviation.tolist(), rel=1e-5)}
    assert deviation.min() > 0
    _, again = predict(grid, clip, f"{VIDEO}/seed-2", Wanted(), every_seed=True, output=str(tmp_path / "again.mp4"))
    assert np.array_equal(np.load(again[1])["forecast"], stored["forecast"])


def test_a_clip_that_ends_where_the_forecast_begins_has_no_score(grid: Grid, clip: Path, tmp_path: Path) -> None:
    output = str(tmp_path / "future.mp4")
    _, made = predict(grid, clip, f"{VIDEO}/seed-1", Wanted(last=True), output=output)
    told = account(made)
    assert (told["first"], told["known"], told["scores"]) == (4, 0, {})
    assert "so nothing is scored" in made[3].read_text(encoding="utf-8")


def test_a_series_is_written_in_its_own_units(grid: Grid, tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    prices = 100 + 20 * np.sin(np.arange(8))
    path.write_text("price\n" + "\n".join(map(str, prices)))
    lines, made = predict(grid, path, SERIES, Wanted(), horizon=6, output=str(tmp_path / "future.csv"))
    rows = list(csv.DictReader(made[0].read_text(encoding="utf-8").splitlines()))
    assert [row["phase"] for row in rows] == ["observed"] * 5 + ["forecast"] * 5 + ["beyond training"]
    assert [float(row["the clip"]) for row in rows[:8]] == pytest.approx(prices, rel=1e-6)
    assert [row["the clip"] for row in rows[8:]] == [""] * 3
    low, high = prices[:5].min(), prices[:5].max()
    forecast = np.load(made[1])["forecast"][0, :, 0] * (high - low) + low
    assert [float(row["seq2seq_lstm depth-1 mse"]) for row in rows[5:]] == pytest.approx(forecast, rel=1e-5)
    assert "warning: not trained: generated_sins/seq2seq_lstm/depth-1/mse/seed-2 left out" in lines
    every = {"everything": True, "output": str(tmp_path / "all.csv")}
    lines, made = predict(grid, path, f"{SERIES}/seed-1", Wanted(), **every)
    assert list(np.load(made[1])["names"]) == ["seq2seq_lstm depth-1 mse", "copy_last", "zeros"]
    assert any(line.startswith("warning: not here: least_squares") for line in lines)
    assert any(line.startswith("warning: not trained: generated_sins/seq2seq_lstm/depth-2") for line in lines)


def test_the_page_opens_offline_and_takes_no_markup_from_a_name(grid: Grid, clip: Path, tmp_path: Path) -> None:
    hostile = clip.rename(tmp_path / "<script>alert(1)<!--.npy")
    _, made = predict(grid, hostile, f"{VIDEO}/seed-1", Wanted(), horizon=3, output=str(tmp_path / "future.mp4"))
    page = made[3].read_text(encoding="utf-8")
    assert page.count("<script") == 1
    assert "&lt;script&gt;alert(1)" in page
    assert 'data-trained="2"' in page
    assert re.findall(r"(?:src|href)=\"(?!#|data:)[^\"]*", page) == []


@pytest.mark.parametrize(
    ("cell", "options", "told"),
    [
        (f"{VIDEO}/seed-1", {"horizon": 0}, "--horizon: found 0; allowed: 1 to 10000; in training it was 2"),
        (
            f"{VIDEO}/seed-1",
            {"output": "future.png"},
            r"--output: found future.png; allowed: a file name that ends in .mp4",
        ),
        (f"{VIDEO}/seed-9", {}, "not in the grid of params.yaml"),
        (f"{SERIES}/seed-2", {}, "seed-2/.* is not there; run `framecast train generated_sins"),
        ("moving_mnist/copy_last", {}, "a baseline is not trained"),
        (f"{SERIES}/seed-1", {}, "found an array of 6 × 16 × 16; allowed: T × 1"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    grid: Grid, clip: Path, tmp_path: Path, cell: str, options: dict, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(Path().rglob("*"))
    suffix = "csv" if cell.startswith(SERIES) else "mp4"
    with pytest.raises(UserError, match=told) as error:
        predict(grid, clip, cell, Wanted(), **{"output": str(tmp_path / f"future.{suffix}"), **options})
    assert "\n" not in str(error.value)
    assert sorted(tmp_path.iterdir()) == [clip]
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize("failing", ["_page", "_arrays", "move"])
def test_four_files_appear_together_or_not_at_all(
    grid: Grid, clip: Path, tmp_path: Path, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails, and when: also in the place of earlier ones, which stay as they were."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    out = tmp_path / "new" / "folder"
    if failing == "move":
        (tmp_path / "old" / "future.json").mkdir(parents=True)  # a folder: nothing can take its place
        (tmp_path / "old" / "future.mp4").write_bytes(b"an earlier film")
        out = tmp_path / "old"
    else:
        monkeypatch.setattr(future, failing, full)
    before = {path: path.read_bytes() if path.is_file() else b"" for path in tmp_path.rglob("*")}
    with pytest.raises(OSError, match=r"future\.json" if failing == "move" else "No space"):
        predict(grid, clip, f"{VIDEO}/seed-1", Wanted(), output=str(out / "future.mp4"))
    assert {path: path.read_bytes() if path.is_file() else b"" for path in tmp_path.rglob("*")} == before


def test_a_system_trained_on_fewer_steps_is_marked_from_there_on(
    grid: Grid, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the page opens on the last step that is known: there the truth is beside the forecast."""
    recipe = grid.params.recipe("seq2seq_convlstm", grid.find(f"{VIDEO}/seed-1").dataset)
    cell = grid.find(f"{VIDEO}/seed-1")
    with monkeypatch.context() as patch:
        patch.setattr(type(grid.params), "recipe", lambda *_: recipe.model_copy(update={"horizon": 1}))
        assert systems.trained_steps(grid, [cell, Cell(cell.dataset, "zeros")], 2) == [1, 2]
    known, horizon = 3, 5
    _, made = predict(grid, clip, f"{VIDEO}/seed-1", Wanted(), horizon=horizon, output=str(tmp_path / "future.mp4"))
    text = made[3].read_text(encoding="utf-8")
    assert f'max="{CONTEXT + horizon}" value="{CONTEXT + known}"' in text
    assert f"--frame: {CONTEXT + known - 1};" in text
    grows = re.findall(r"flex-grow: (\d+)", text)
    assert [int(part) for part in grows] == [CONTEXT, TRAINED, horizon - TRAINED]


def test_the_clip_itself_is_never_written_over(grid: Grid, tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mkv", [quarters()] * 5)
    np.savez(tmp_path / "array.npz", frames=np.zeros((5, SIZE, SIZE), np.uint8))
    for clip, output in ((path, path), (tmp_path / "array.npz", tmp_path / "array.mp4")):
        before = clip.read_bytes()
        with pytest.raises(UserError, match="would take the place of the clip"):
            predict(grid, clip, f"{VIDEO}/seed-1", Wanted(), output=str(output))
        assert clip.read_bytes() == before


def test_weights_that_were_altered_are_refused(grid: Grid, clip: Path, tmp_path: Path) -> None:
    weights = grid.run_folder(grid.find(f"{VIDEO}/seed-2")) / "model.safetensors"
    whole = weights.read_bytes()
    try:
        weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(UserError, match=r"model\.safetensors: found sha256"):
            predict(grid, clip, f"{VIDEO}/seed-2", Wanted(), output=str(tmp_path / "future.mp4"))
    finally:
        weights.write_bytes(whole)


def test_the_verb(grid: Grid, tmp_path: Path) -> None:
    path = write(tmp_path / "walk.mp4", [quarters()] * 5, codec="mpeg4", turned=90)
    done = CliRunner().invoke(app, ["predict", str(path), "--run", f"{VIDEO}/seed-1", "--horizon", "3"])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0] == "reports/partial/walk-future/future.mp4"
    assert "rotation: by 90° counter-clockwise, as the file says" in done.stderr.splitlines()
    assert all(Path(name).exists() for name in done.stdout.splitlines())
