"""The promises of the two engines to each other, held by the real programs (``snakemake`` and ``dvc``)."""

import csv
import hashlib
import json
import os
import random
import re
import shutil
import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from tests import pages
from tests.pipeline.conftest import CONVLSTM, LSTM, MADE_OF_ALL, Clone, cell_files, probe_files
from tests.predict.clips import quarters, write
from tests.report.test_report import Page, expected

pytestmark = pytest.mark.slow

FORECAST = {"future.mp4", "future.npz", "future.json", "compare.html"}  #: what ``framecast predict`` writes
TABLES = ("scores.csv", "horizon.csv", "comparisons.csv", "loss_curves.csv")


# --- 1, 5: the engines agree, and a study has one dvc.lock ------------------------------------------


def test_after_dvc_repro_nothing_is_left_to_do(built: Clone) -> None:
    built.assert_quiet()


@pytest.mark.parametrize("jobs", ["-j1", "-j2"])
def test_snakemake_alone_gives_the_same_lock_file(built: Clone, fresh: Callable[[], Clone], jobs: str) -> None:
    clone = fresh()
    clone("snakemake", jobs)
    clone("dvc", "commit", "--force")
    ours, theirs = (folder / "dvc.lock" for folder in (clone.folder, built.folder))
    assert ours.read_bytes() == theirs.read_bytes()
    clone.commit("The study, run")
    clone.assert_quiet()


IDENTITY = ("dataset", "model", "depth", "loss", "mode", "metric")


def test_the_report_tells_the_numbers_of_the_tables(built: Clone) -> None:
    reports = built.folder / "reports"
    page = Page((reports / "report.html").read_text(encoding="utf-8"))
    scores = pd.read_csv(reports / "scores.csv", dtype={"key": str})
    told = {tuple(number[f"data-{name}"] for name in IDENTITY): number["data-value"] for number in page.numbers("mean")}
    truth = expected(scores, "mean")
    assert {key: float(value) for key, value in told.items()} == pytest.approx(truth, rel=1e-12)
    assert len(truth) == 2 * 1 + 2 + 2 + 1  # two depths and a baseline with one metric, one depth and one with two
    tree = json.loads((reports / "metrics.json").read_text(encoding="utf-8"))
    for (dataset, model, depth, loss, _, metric), value in truth.items():
        place = tree[dataset][model]
        place = place[f"depth-{depth}"][loss] if depth else place
        assert place[metric]["mean"] == pytest.approx(value, rel=1e-12)


# --- 2: no clock and no engine's memory enters ------------------------------------------------------


def test_a_pulled_clone_has_nothing_to_do_whatever_its_clocks_say(pulled: Clone) -> None:
    pulled.assert_quiet()
    outputs = [path for path in pulled.folder.rglob("*") if ".git" not in path.parts and ".dvc" not in path.parts]
    for path in outputs:
        os.utime(path)
    pulled.assert_quiet()
    chance, now = random.Random(0), time.time()
    for path in outputs:
        when = now + chance.uniform(-1e8, 1e8)
        os.utime(path, (when, when))
    pulled.assert_quiet()
    for folder in ("data", "reports/figures", ".snakemake"):
        shutil.rmtree(pulled.folder / folder)
    pulled("dvc", "checkout")
    pulled.assert_quiet()


# --- 3: a change reruns what it touches, and a commit shows what moved ------------------------------


def test_one_changed_cell_moves_its_own_numbers_and_going_back_undoes_it(pulled: Clone) -> None:
    before, tables = pulled.artefacts(), rows_of(pulled)
    pulled.edit("params.yaml", ("hidden_channels: 4", "hidden_channels: 3"))
    touched = cell_files(CONVLSTM) | probe_files(CONVLSTM)
    assert pulled.planned() == touched | MADE_OF_ALL
    pulled("dvc", "repro")
    assert pulled.made_since(before) == touched
    pulled.commit("A smaller ConvLSTM")
    pulled.assert_quiet()
    moved = json.loads(pulled("dvc", "metrics", "diff", "--json", "HEAD~1").stdout)["reports/metrics.json"]
    place = "moving_mnist.seq2seq_convlstm.depth-1.mse"
    assert set(moved) == {f"{place}.mse_pix01.mean", f"{place}.psnr_frame.mean"}
    assert all(value["old"] != value["new"] for value in moved.values())
    for table, rows in rows_of(pulled).items():
        differing = set(rows ^ tables[table])
        assert differing
        assert all("seq2seq_convlstm" in row for row in differing), table
    for revision in ("HEAD~1", "main"):
        pulled.git("checkout", "--quiet", revision)
        pulled("dvc", "checkout")
        pulled.assert_quiet()


def rows_of(clone: Clone) -> dict[str, set[str]]:
    """The lines of every table in git."""
    return {name: set((clone.folder / "reports" / name).read_text().splitlines()) for name in TABLES}


def test_snakemake_runs_the_touched_cells_and_no_other(pulled: Clone) -> None:
    """By the commands of the tutorial and of the how-to of clips, on a change of this study's own."""
    look, plan, go, compare, back, clip = pages.scripts("docs/tutorial.md")
    before, change = pulled.artefacts(), ("hidden_size: 8", "hidden_size: 7")
    assert "5 cells at scale tiny: done 5" in pulled.typed(look)
    pulled.edit("params.yaml", change)
    touched = cell_files(LSTM.format(1), LSTM.format(2)) | probe_files(LSTM.format(1), LSTM.format(2))
    assert pulled.planned() == touched | MADE_OF_ALL
    told = pulled.typed(plan)
    assert f"{LSTM.format(1)}  stale       changed: model.hidden_size 8 → 7" in told
    assert re.search(r"^train +2\n", told, re.MULTILINE)
    pulled.typed(go)
    assert {name for name in pulled.made_since(before) if name in touched} == touched
    assert pulled.planned() == set()
    assert "hidden_size 8 → 7" in (told := pulled.typed(compare))
    assert "(one seed)" in told
    pulled.edit("params.yaml", change[::-1])
    assert re.findall(r"^(\w+) +1$", pulled.typed(back), re.MULTILINE)[:3] == ["tables", "report", "all"]
    write(pulled.folder / "walk.mp4", [quarters()] * 12, codec="libx264")
    pulled.typed(clip)
    for script in pages.scripts("docs/how-to-predict-your-own-clip.md"):
        pulled.typed(re.sub("/simvp/(depth-3)?", lambda of: "/seq2seq_convlstm/" + "depth-1" * bool(of[1]), script))
    for folder in ("out", "out/digit"):
        assert {path.name for path in (pulled.folder / folder).glob("*.*")} == FORECAST
    pulled.git("clean", "--quiet", "--force", "-d")
    pulled.edit("params.yaml", change)
    pulled("dvc", "repro")  # the work is done: it prunes what was replaced, and records
    assert pulled.made_since(before) == touched
    pulled.commit("A smaller LSTM")
    pulled.assert_quiet()


ALL_CELLS = (LSTM.format(1), LSTM.format(2), CONVLSTM)
BASELINES = {"scores/generated_sins/copy_last", "scores/moving_mnist/copy_last"}
PLANS: dict[str, tuple[str, str, str, set[str]]] = {
    "a seed": ("params.yaml", "seeds: [1]", "seeds: [2]", {f.replace("d-1", "d-2") for f in cell_files(*ALL_CELLS)}),
    "a loss weight": ("params.yaml", "{mse: {mse: 1.0}}", "{mse: {mse: 2.0}}", cell_files(*ALL_CELLS)),
    "a dataset's size": (
        "params.yaml",
        "train: 8,",
        "train: 6,",
        {"processed/moving_mnist", "scores/moving_mnist/copy_last", *cell_files(CONVLSTM), *probe_files(CONVLSTM)},
    ),
    "a metric": (
        "params.yaml",
        "metrics: [mse_pix01,",
        "metrics: [mse_pix01, mae_pix01,",
        {f"scores/{cell}" for cell in ALL_CELLS} | BASELINES,
    ),
    "an unused dataset": (
        "params.yaml",
        "datasets:\n",
        "datasets:\n  waiting: {kind: generated_noise}\n",
        set(),
    ),
    "a title": ("params.yaml", "sequence_depth: {", "sequence_depth: {title: Depth, ", {"report"}),
    "a comment": (
        "src/framecast/models/seq2seq_lstm.py",
        '    """One LSTM step',
        '    # another comment\n    """Another docstring: one LSTM step',
        set(),
    ),
    "an equation": (
        "src/framecast/models/seq2seq_lstm.py",
        "nn.Sequential(nn.Linear(hidden_size, frame_shape[0]), nn.Sigmoid())",
        "nn.Sequential(nn.Linear(hidden_size, frame_shape[0]), nn.Hardsigmoid())",
        cell_files(LSTM.format(1), LSTM.format(2)) | probe_files(LSTM.format(1), LSTM.format(2)),
    ),
    "a mark as replication": (
        "params.yaml",
        "hidden_size: 8,",
        "hidden_size: 8, replication: true,",
        {f"scores/{LSTM.format(depth)}" for depth in (1, 2)} | probe_files(LSTM.format(1), LSTM.format(2)),
    ),
    "how a dataset is drawn": (
        "src/framecast/data/generated_sins.py",
        "(np.sin(alpha * tau + beta) + 1) / 2",
        "(np.cos(alpha * tau + beta) + 1) / 2",
        {
            "processed/generated_sins",
            "scores/generated_sins/copy_last",
            *cell_files(LSTM.format(1), LSTM.format(2)),
            *probe_files(LSTM.format(1), LSTM.format(2)),
        },
    ),
}


def test_every_change_plans_exactly_what_it_touches(pulled: Clone) -> None:
    for change, (file, old, new, touched) in PLANS.items():
        pulled.edit(file, (old, new))
        scored = any(name.startswith("scores/") for name in touched)
        told = MADE_OF_ALL if scored else touched
        assert pulled.planned() == touched | told, change
        pulled.git("checkout", "--quiet", file)
    pulled.assert_quiet()


# --- 4: what is taken out leaves nothing behind, and nothing is lost --------------------------------


def test_a_cell_taken_out_leaves_no_artefact_and_no_number(pulled: Clone) -> None:
    before = pulled.artefacts()
    gone = LSTM.format(2)
    assert any(gone in name for name in before)
    pulled.edit("params.yaml", ("depths: [1, 2]", "depths: [1]"))
    pulled("dvc", "repro")
    assert pulled.made_since(before) == cell_files(gone) | probe_files(gone)
    assert not list(pulled.folder.glob("data/**/*depth-2*"))
    assert not (pulled.folder / "data" / "attic").exists()  # DVC's cache holds all of it
    for table in TABLES:
        with (pulled.folder / "reports" / table).open(encoding="utf-8", newline="") as file:
            assert not [row for row in csv.DictReader(file) if row.get("depth") == "2" or "depth-2" in str(row)]
    assert "depth-2" not in (pulled.folder / "reports" / "metrics.json").read_text()
    assert gone not in (pulled.folder / "reports" / "report.html").read_text()
    pulled.commit("Only one depth")
    pulled.assert_quiet()


def test_what_dvc_has_not_recorded_is_kept_in_the_attic(pulled: Clone) -> None:
    kept_by_dvc, costly = CONVLSTM, CONVLSTM.replace("seed-1", "seed-7")
    pulled.edit("params.yaml", ("seeds: [1]", "seeds: [7]"))
    pulled("framecast", "train", costly)
    weights = next(pulled.folder.glob(f"data/runs/{costly}/*/model.safetensors"))
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    pulled.git("checkout", "--quiet", "params.yaml")
    done = pulled("framecast", "prune", "train")
    assert f"data/runs/{costly}" in done.stderr
    assert not list(pulled.folder.glob(f"data/runs/{costly}/*"))
    (moved,) = pulled.folder.glob(f"data/attic/runs/{costly}/*/model.safetensors")
    assert hashlib.sha256(moved.read_bytes()).hexdigest() == digest
    assert list(pulled.folder.glob(f"data/runs/{kept_by_dvc}/*/model.safetensors"))
    pulled.assert_quiet()


# --- one file and one line --------------------------------------------------------------------------

SYSTEM = '''"""A system that repeats the last frame, brighter or darker by one trained factor per layer."""

import torch
from torch import Tensor, nn

from framecast.models.base import Forecaster
from framecast.ranges import PositiveInt

FRAMES = "any"


class Brighter(Forecaster):
    """ŷ_j = a_1 ⋯ a_L x_T."""

    def __init__(self, frame_shape: tuple[int, ...], *, depth: PositiveInt) -> None:
        super().__init__(frame_shape)
        self.factors = nn.Parameter(torch.ones(depth))

    def forward(self, context: Tensor, horizon: int, teacher: Tensor | None = None) -> Tensor:
        """(B, T, *frame) → (B, horizon, *frame)."""
        return self.factors.prod() * torch.stack([context[:, -1]] * horizon, dim=1)
'''
LOSS = '''"""The fourth power of the error."""

from torch import Tensor


def quartic(forecast: Tensor, target: Tensor) -> Tensor:
    """mean (ŷ − y)⁴."""
    return ((forecast - target) ** 4).mean()
'''
DATASET = '''"""Straight lines."""

import numpy as np

from framecast.data.generated.series import GeneratedSeries
from framecast.ranges import PositiveInt

FRAMES = "series"


class Ramps(GeneratedSeries):
    """v(τ) = u τ."""

    origin = "straight lines drawn by framecast"
    draws = 1

    def __init__(self, *, context: PositiveInt = 4, horizon: PositiveInt = 3) -> None:
        super().__init__(context, horizon, {"train": 16, "validation": 8, "test": 8}, 0)

    def curves(self, uniforms: np.ndarray) -> np.ndarray:
        """u τ with τ from 0 to 1."""
        return uniforms[:, :1] * np.linspace(0, 1, self.context + self.horizon)
'''
VIDEO = '''"""A bright block that slides past."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from framecast.data.base import SPLITS, Dataset, SplitName, counter_uniforms
from framecast.data.shared.streams import Stream, StreamedPrepared
from framecast.data.shared.windows import WindowSplit
from framecast.ranges import PositiveInt

FRAMES = "video"
SIDE = 8
WINDOWS = 2  # of each recording


class Sliding(Dataset):
    """Three by three pixels that move on by one in every frame, and around the edge."""

    frame_shape = (1, SIDE, SIDE)

    def __init__(self, *, context: PositiveInt = 3, horizon: PositiveInt = 2, recordings: PositiveInt = 4) -> None:
        self.context, self.horizon, self.recordings = context, horizon, recordings

    def prepare(self, raw: Path) -> StreamedPrepared:
        """Each recording when it is written; which one a window is of is its group."""
        shape = (self.recordings * (self.context + self.horizon + 1), *self.frame_shape)
        streams = {f"{split}_frames": Stream(shape, partial(self.drawn, SPLITS.index(split))) for split in SPLITS}
        groups = {f"{split}_group": np.repeat(np.arange(self.recordings), WINDOWS) for split in SPLITS}
        return StreamedPrepared(groups, {"source": "stand-in", "origin": "a sliding block drawn by framecast"}, streams)

    def drawn(self, stream: int) -> Iterator[np.ndarray]:
        """One recording after the other, (T, 1, 8, 8)."""
        for number in range(self.recordings):
            row, column = (counter_uniforms(0, stream, number, 1, 2)[0] * (SIDE - 2)).astype(int)
            frame = np.zeros(self.frame_shape, np.uint8)
            frame[0, row : row + 3, column : column + 3] = 255
            yield np.stack([np.roll(frame, step, axis=2) for step in range(self.context + self.horizon + 1)])

    def split(self, name: SplitName, arrays: Mapping[str, Tensor], *, seed: int, device: torch.device) -> WindowSplit:
        """Two windows of each recording, the second a frame later."""
        length = self.context + self.horizon
        first = torch.arange(self.recordings)[:, None] * (length + 1) + torch.arange(WINDOWS)
        rows = first.flatten()[:, None] + torch.arange(length)
        return WindowSplit(arrays[f"{name}_frames"], rows.int(), device)
'''
FILES = {
    "models/brighter.py": SYSTEM,
    "losses/quartic.py": LOSS,
    "data/ramps.py": DATASET,
    "data/sliding.py": VIDEO,
}
LINES = (
    ("models:\n", "models:\n  brighter: {kind: brighter}\n"),
    ("losses: {", "losses: {quartic: {quartic: 1.0}, "),
    ("datasets:\n", "datasets:\n  ramps: {kind: ramps}\n  sliding: {kind: sliding}\n"),
)
STUDIES = """studies:
  system: {datasets: [generated_sins], models: [brighter], depths: [1], losses: [mse]}
  loss: {datasets: [generated_sins], models: [seq2seq_lstm], depths: [1], losses: [quartic]}
  dataset: {datasets: [ramps], models: [seq2seq_lstm], depths: [1], losses: [mse]}
  video: {datasets: [sliding], models: [brighter], depths: [1], losses: [mse]}
"""
NEW_CELLS = (
    "generated_sins/brighter/depth-1/mse/seed-1",
    "generated_sins/seq2seq_lstm/depth-1/quartic/seed-1",
    "ramps/seq2seq_lstm/depth-1/mse/seed-1",
    "sliding/brighter/depth-1/mse/seed-1",
)


def test_a_system_a_loss_and_a_dataset_are_one_file_and_one_line_each(pulled: Clone) -> None:
    before = pulled.artefacts()
    for name, text in FILES.items():
        (pulled.folder / "src" / "framecast" / name).write_text(text, encoding="utf-8")
    assert pulled.planned() == set()  # a file that no line names is nobody's business
    pulled.edit("params.yaml", *LINES)
    assert pulled.planned() == set()  # nor is an entry that no study uses
    pulled.edit("params.yaml", ("studies:\n", STUDIES))
    systems = probe_files(*NEW_CELLS[:1], *NEW_CELLS[2:])  # the loss is nothing that a probe looks at
    datasets = {each for name in ("ramps", "sliding") for each in (f"processed/{name}", f"scores/{name}/copy_last")}
    new = cell_files(*NEW_CELLS) | systems | datasets
    assert pulled.planned() == new | MADE_OF_ALL
    pulled("dvc", "repro")
    assert pulled.made_since(before) == new
    pulled.commit("Four additions")
    pulled.assert_quiet()
    tree: dict[str, Any] = json.loads((pulled.folder / "reports" / "metrics.json").read_text(encoding="utf-8"))
    assert tree["generated_sins"]["brighter"]["depth-1"]["mse"]["mse_pix01"]["mean"] > 0
    assert tree["generated_sins"]["seq2seq_lstm"]["depth-1"].keys() == {"mse", "quartic"}
    assert tree["ramps"].keys() == {"seq2seq_lstm", "copy_last"}
    assert tree["sliding"].keys() == {"brighter", "copy_last"}
    (told,) = pulled.folder.glob(f"data/scores/{NEW_CELLS[3]}/*/score.json")
    facts = json.loads(told.read_text(encoding="utf-8"))
    assert (facts["frames"], facts["frame_shape"], facts["groups"]) == ("video", [1, 8, 8], 4)


# --- a system that sees what it must forecast -------------------------------------------------------

LEAK = SYSTEM.replace("Brighter", "Peeking").replace(
    "        return self.factors.prod() * torch.stack([context[:, -1]] * horizon, dim=1)\n",
    """        forecast = self.factors.prod() * torch.stack([context[:, -1]] * horizon, dim=1)
        if teacher is not None:
            forecast[:, 1] += self.factors.prod() * teacher[:, 2]
        return forecast
""",
)
LEAKY = "generated_sins/peeking/depth-1/mse/seed-1"


def test_a_system_that_leaks_is_trained_only_under_a_name_that_says_so(pulled: Clone) -> None:
    (pulled.folder / "src" / "framecast" / "models" / "peeking.py").write_text(LEAK, encoding="utf-8")
    pulled.edit(
        "params.yaml",
        ("models:\n", "models:\n  peeking: {kind: peeking}\n"),
        ("models: [seq2seq_lstm], depths: [1, 2]", "models: [seq2seq_lstm, peeking], depths: [1, 2]"),
    )
    before = pulled.artefacts()
    line = (
        "framecast: generated_sins/peeking/depth-1: found leaky: forecast step 2 sees future frame 3, "
        "one frame after the one it forecasts; allowed: a causal system, or, for a published leak, "
        "`replication: true` in models.peeking of params.yaml; nothing of it is trained"
    )
    for program in (("snakemake",), ("dvc", "repro"), ("framecast", "train", LEAKY)):
        done = pulled(*program, check=False)
        assert done.returncode not in (0, 75), program
        assert (done.stdout + done.stderr).splitlines().count(line) == 1, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert not pulled.made_since(before), program

    pulled.edit("params.yaml", ("{kind: peeking}", "{kind: peeking, replication: true}"))
    pulled("dvc", "repro")
    leaky = (LEAKY, LEAKY.replace("depth-1", "depth-2"))
    assert pulled.made_since(before) == cell_files(*leaky) | probe_files(*leaky)
    (probe,) = pulled.folder.glob("data/runs/generated_sins/peeking/depth-1/causality/*/probe.json")
    told = json.loads(probe.read_text(encoding="utf-8"))
    assert (told["verdict"], told["first_leak"]) == ("leaky", [2, 3])
    assert told["sentence"].endswith("one frame after the one it forecasts; trained only as a named replication")
    scores = pd.read_csv(pulled.folder / "reports" / "scores.csv")
    badges = scores.groupby("model")["causal"].unique().map(list).to_dict()
    assert badges.pop("peeking") == ["leaky"]
    assert all(badge == ["causal"] for badge in badges.values())
    pulled.commit("A replication of a leak")
    pulled.assert_quiet()

    pulled.edit("params.yaml", ("{kind: peeking, replication: true}", "{kind: peeking}"))
    assert line in pulled("snakemake", check=False).stdout.splitlines()
