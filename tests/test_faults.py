"""Each fault ends in one clear line, exit code not 0, nothing lost; mended, the same command succeeds.

Commands run in children of a server that has imported torch already, so that many faults take little time.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import pytest

from framecast.artifacts import sha256_of
from framecast.data.formats.sha256sums import write_sums
from framecast.study import reading
from framecast.study.grid import Cell, Grid
from tests import kill_loop
from tests.conftest import until
from tests.kill_loop import CELL

pytestmark = pytest.mark.slow

BASELINE = "generated_sins/copy_last"
STUDY = """
scale: tiny
seeds: [1]
studies: {small: {datasets: [generated_sins, stocks], models: [seq2seq_lstm], depths: [1], losses: [mse]}}
datasets:
  generated_sins: {kind: generated_sins, context: 5, horizon: 5, train: 64, validation: 16, test: 16}
  stocks: {kind: stocks, context: 5, horizon: 5, source: official, interval: daily}
models: {seq2seq_lstm: {kind: seq2seq_lstm, hidden_size: 8, training: {batch_size: 16}}}
baselines: [copy_last]
losses: {mse: {mse: 1.0}}
training: {epochs: 30, batch_size: 4, learning_rate: 1.0e-3, log_every: 50}
evaluation: {metrics: [mse_pix01], batch_size: 8, clips: 2, resamples: 200}
figures: {}
scales: {tiny: {}}
"""


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said on standard error."""

    code: int
    said: str

    def in_one_line(self, *words: str) -> None:
        """It failed with one line of ours that holds these words, and no traceback; progress may stand before it."""
        assert self.code == 1, f"exit {self.code}: {self.said}"
        assert "Traceback" not in self.said
        *progress, line = self.said.strip().splitlines()
        assert line.startswith("framecast: ")
        assert not [before for before in progress if before.startswith("framecast: ")], self.said
        for word in words:
            assert word in line, f"{word!r} is not in: {line}"


def verb(folder: Path, said: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
    """A child's life: one ``framecast`` command in ``folder``."""
    os.chdir(folder)
    os.environ.update(environment)
    os.dup2(os.open(said, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    kill_loop.framecast(*arguments)


@dataclass
class Place:
    """A folder with the study, and ``framecast`` in it."""

    folder: Path

    def start(self, *arguments: str, **environment: str) -> ForkServerProcess:
        said = self.folder.parent / f"{self.folder.name}.said"
        child = kill_loop.context.Process(target=verb, args=(self.folder, said, arguments, environment))
        child.start()
        return child

    def __call__(self, *arguments: str, **environment: str) -> Done:
        child = self.start(*arguments, **environment)
        child.join()
        return Done(int(child.exitcode or 0), (self.folder.parent / f"{self.folder.name}.said").read_text())

    def succeeds(self, *arguments: str) -> None:
        done = self(*arguments)
        assert done.code == 0, done.said

    @property
    def grid(self) -> Grid:
        return Grid(reading.load(self.folder / "params.yaml"))

    def one(self, pattern: str) -> Path:
        (found,) = self.folder.glob(pattern)
        return found

    def weights(self) -> dict[str, str]:
        """sha256 of what training leaves."""
        return {path.name: sha256_of(path) for path in self.folder.glob(f"data/runs/{CELL}/*/*.*")}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The study trained and scored in peace. Shared: look, do not touch."""
    place = Place(tmp_path_factory.mktemp("calm") / "study")
    place.folder.mkdir()
    (place.folder / "params.yaml").write_text(STUDY.replace(", stocks]", "]"))
    for command in (("prepare", "generated_sins"), ("train", CELL), ("evaluate", CELL), ("evaluate", BASELINE)):
        place.succeeds(*command)
    return place


@pytest.fixture
def place(tmp_path: Path, calm: Place) -> Place:
    """The same study with its data prepared and nothing trained."""
    made = Place(tmp_path / "study")
    shutil.copytree(calm.folder, made.folder, ignore=shutil.ignore_patterns("runs", "scores", "checkpoints"))
    return made


@pytest.fixture
def scored(tmp_path: Path, calm: Place) -> Place:
    """The same study, trained and scored."""
    made = Place(tmp_path / "study")
    shutil.copytree(calm.folder, made.folder)
    return made


# --- raw files --------------------------------------------------------------------------------------

RAW = Path("data/raw/stocks")
PRICES = ("daily_AAA.csv", "daily_BBB.csv")


@pytest.fixture
def stocks(tmp_path: Path) -> Place:
    """A study on two price files of the user's own."""
    place = Place(tmp_path / "study")
    folder = place.folder / RAW
    folder.mkdir(parents=True)
    (place.folder / "params.yaml").write_text(STUDY)
    days = np.datetime64("2015-01-01") + np.arange(600)
    for seed, name in enumerate(PRICES):
        close = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, len(days))))
        lines = [f"{day},{price},{price},{price},{price},1000" for day, price in zip(days, close, strict=True)]
        (folder / name).write_text("\n".join(["timestamp,open,high,low,close,volume", *lines[::-1]]) + "\n")
    write_sums(folder / "SHA256SUMS", {name: sha256_of(folder / name) for name in PRICES})
    return place


RAW_FAULTS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "missing": (lambda file: file.unlink(), ("daily_BBB.csv", "framecast fetch stocks")),
    "truncated": (
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        ("daily_BBB.csv", "expected sha256", "found", "framecast fetch stocks"),
    ),
    "edited": (
        lambda file: file.write_text(file.read_text().replace("1000", "1001", 1)),
        ("daily_BBB.csv", "expected"),
    ),
    "empty": (lambda file: file.write_bytes(b""), ("daily_BBB.csv", "expected sha256", "found")),
    "half downloaded": (lambda file: file.rename(file.with_name(file.name + ".part")), ("daily_BBB.csv", "expected")),
    "a folder": (lambda file: (file.unlink(), file.mkdir()), ("daily_BBB.csv",)),
    "not listed": (lambda file: file.with_name("SHA256SUMS").unlink(), ("SHA256SUMS", "framecast fetch stocks")),
}


@pytest.mark.parametrize("fault", RAW_FAULTS)
def test_a_raw_file_that_is_not_the_published_one_stops_prepare(stocks: Place, fault: str) -> None:
    break_it, words = RAW_FAULTS[fault]
    kept = shutil.copytree(stocks.folder / RAW, stocks.folder / "kept")
    break_it(stocks.folder / RAW / PRICES[1])
    stocks("prepare", "stocks").in_one_line(*words)
    assert not list(stocks.folder.glob("data/processed/**/*.*"))
    shutil.rmtree(stocks.folder / RAW)
    shutil.copytree(kept, stocks.folder / RAW)
    stocks.succeeds("prepare", "stocks")


def test_missing_mnist_says_how_to_get_it(place: Place) -> None:
    text = (place.folder / "params.yaml").read_text().replace("seq2seq_lstm", "seq2seq_convlstm")
    text = re.sub("hidden_size", "hidden_channels", text).replace("[generated_sins]", "[moving_mnist]")
    (place.folder / "params.yaml").write_text(
        text.replace("datasets:\n", "datasets:\n  moving_mnist: {kind: moving_mnist}\n")
    )
    done = place("prepare", "moving_mnist")
    done.in_one_line("data/raw/mnist/", "framecast fetch mnist", "FRAMECAST_MIRROR")


# --- artefacts that are not what their manifest vouches for -----------------------------------------


def flip(path: Path) -> None:
    """Change the last byte."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def halve(path: Path) -> None:
    """Cut a file in two."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


MADE_BY = {
    "processed": (("evaluate", CELL), ("prepare", "generated_sins")),
    "runs": (("evaluate", CELL), ("train", CELL)),
    "scores": (("tables",), ("evaluate", CELL)),
}
ALTERED = [
    (flip, "processed/generated_sins/*/arrays.safetensors"),
    (Path.unlink, "processed/generated_sins/*/arrays.safetensors"),
    (halve, "processed/generated_sins/*/manifest.json"),
    (flip, f"runs/{CELL}/*/model.safetensors"),
    (Path.unlink, f"runs/{CELL}/*/model.safetensors"),
    (halve, f"runs/{CELL}/*/run.json"),
    (flip, f"scores/{CELL}/*/sequences.safetensors"),
    (halve, f"scores/{CELL}/*/scores.csv"),
    (halve, f"scores/{CELL}/*/score.json"),
]


@pytest.mark.parametrize(("damage", "file"), ALTERED)
def test_an_altered_artefact_is_never_used(scored: Place, damage: Callable[[Path], None], file: str) -> None:
    reader, maker = MADE_BY[file.split("/")[0]]
    path = scored.one(f"data/{file}")
    damage(path)
    scored(*reader).in_one_line(
        str(path.relative_to(scored.folder)), f"delete {path.parent.relative_to(scored.folder)}"
    )
    shutil.rmtree(path.parent)
    scored.succeeds(*maker)
    scored.succeeds(*reader)


def test_a_damaged_run_is_trained_again_to_the_same_weights(scored: Place, calm: Place) -> None:
    shutil.rmtree(scored.one(f"data/runs/{CELL}/*"))
    scored.succeeds("train", CELL)
    assert scored.weights() == calm.weights()


# --- disks ------------------------------------------------------------------------------------------

PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def disk() -> Iterator[Path]:
    """A disk of two megabytes of its own.

    Not below pytest's own folder: a run that is killed leaves it mounted, and a later one would fail at its end, when
    it removes the folders of earlier runs.
    """
    point = Path(tempfile.mkdtemp(prefix="framecast-disk-"))
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(point)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode != 0:
        point.rmdir()
        pytest.skip("needs the right to mount a small disk (root)")
    yield point
    subprocess.run(["umount", "--lazy", str(point)], check=True)
    point.rmdir()


def on_disk(disk: Path, place: Place, *folders: str) -> None:
    """Let some folders of a study lie on the small disk."""
    for name in folders:
        (place.folder / name).mkdir(parents=True, exist_ok=True)
        shutil.move(place.folder / name, disk / Path(name).name)
        (place.folder / name).symlink_to(disk / Path(name).name)


def fill(disk: Path, leave: int) -> Path:
    """Fill the disk except for ``leave`` pages; removing the file that is returned frees it again."""
    filler = disk / "filler"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    filler.write_bytes(bytes(free - leave * PAGE))
    return filler


FULL = "the disk is full; free some space and run again, nothing is lost"


def test_full_disk_in_prepare(disk: Path, place: Place) -> None:
    folder = place.one("data/processed/generated_sins/*")
    before = sha256_of(folder / "arrays.safetensors")
    shutil.rmtree(folder)
    on_disk(disk, place, "data/processed")
    filler = fill(disk, leave=0)
    place("prepare", "generated_sins").in_one_line("arrays.safetensors", FULL)
    assert not list(place.folder.glob("data/processed/**/*.*"))
    filler.unlink()
    place.succeeds("prepare", "generated_sins")
    assert sha256_of(place.one("data/processed/generated_sins/*/arrays.safetensors")) == before


def test_full_disk_at_a_checkpoint_keeps_the_one_before(disk: Path, place: Place, calm: Place) -> None:
    on_disk(disk, place, "data/checkpoints")
    assert place("train", CELL, "--time-budget", "0.01").code == 75
    kept = place.one(f"data/checkpoints/{CELL}/*/step-*")
    filler = fill(disk, leave=2)  # for the lease
    place("train", CELL).in_one_line("checkpoints", "step-", FULL)
    assert place.one(f"data/checkpoints/{CELL}/*/*step-*") == kept
    filler.unlink()
    place.succeeds("train", CELL)
    assert place.weights() == calm.weights()


def test_full_disk_at_the_bundle_keeps_the_finished_training(disk: Path, place: Place, calm: Place) -> None:
    on_disk(disk, place, "data/runs")
    place.succeeds("probe", "generated_sins", "seq2seq_lstm", "--depth", "1")
    filler = fill(disk, leave=0)
    place("train", CELL).in_one_line("data/runs", "model.safetensors", FULL)
    assert not place.weights()
    assert place.one(f"data/checkpoints/{CELL}/*/step-000000120-*")
    filler.unlink()
    place.succeeds("train", CELL)
    assert place.weights() == calm.weights()


def test_full_disk_in_evaluate_and_tables(disk: Path, scored: Place) -> None:
    on_disk(disk, scored, "data/scores", "reports")
    score = scored.one(f"data/scores/{CELL}/*")
    shutil.rmtree(score)
    filler = fill(disk, leave=0)
    scored("evaluate", CELL).in_one_line(f"data/scores/{CELL}", FULL)
    filler.unlink()
    scored.succeeds("evaluate", CELL)
    filler = fill(disk, leave=1)
    scored("tables").in_one_line("reports/", FULL)
    assert not list(scored.folder.glob("data/scores/tables-*.json"))
    filler.unlink()
    scored.succeeds("tables")
    assert list(scored.folder.glob("data/scores/tables-*.json"))


@pytest.mark.parametrize(
    "command", [("prepare", "generated_sins"), ("train", CELL), ("evaluate", BASELINE), ("tables",)]
)
def test_read_only_data(disk: Path, scored: Place, command: tuple[str, ...]) -> None:
    on_disk(disk, scored, "data", "reports")
    if command[0] == "train":
        shutil.rmtree(scored.one(f"data/runs/{CELL}/*"))
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    scored(*command).in_one_line("the file system is read-only")
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    scored.succeeds(*command)


def test_a_file_where_a_folder_must_be(place: Place) -> None:
    (place.folder / "data" / "runs").write_text("in the way")
    place("train", CELL).in_one_line("data/runs")
    (place.folder / "data" / "runs").unlink()
    place.succeeds("train", CELL)


def test_more_than_memory_holds(place: Place) -> None:
    path = place.folder / "params.yaml"
    asked = f"kind: generated_noise, context: {10**9}, horizon: 5, train: {10**6}"
    path.write_text(path.read_text().replace("kind: generated_sins, context: 5, horizon: 5, train: 64", asked))
    place("prepare", "generated_sins").in_one_line("out of memory")


# --- stopping, and two at once ----------------------------------------------------------------------


def test_a_time_budget_ends_in_75_and_the_next_run_in_the_same_weights(place: Place, calm: Place) -> None:
    done = place("train", CELL, "--time-budget", "0.01")
    assert done.code == 75
    assert done.said.strip().splitlines()[-1].endswith("is used up; saved at step 1 of 120, run again")
    assert place.weights() == {}
    place.succeeds("train", CELL)
    assert place.weights() == calm.weights()
    assert not list(place.folder.glob("data/checkpoints/**/step-*"))


def test_a_second_training_of_a_cell_names_the_first(place: Place, calm: Place) -> None:
    path = place.folder / "params.yaml"
    original = path.read_text()
    path.write_text(original.replace("epochs: 30", "epochs: 100000"))
    first = place.start("train", CELL)
    until(lambda: list(place.folder.glob("data/checkpoints/**/lease.json")) or not first.is_alive(), "it trains")
    second = place("train", CELL)
    second.in_one_line(CELL, f"process {first.pid} on ", "is training it; wait for that one or stop it")
    os.kill(int(first.pid or 0), signal.SIGTERM)
    first.join()
    assert first.exitcode == 75
    path.write_text(original)
    place.succeeds("train", CELL)
    assert place.weights() == calm.weights()


# --- what is asked for ------------------------------------------------------------------------------

ASKED = {
    "an unknown cell": (("train", "nowhere/seq2seq_lstm/depth-1/mse/seed-1"), "not in the grid of params.yaml"),
    "a cell misspelt": (("evaluate", CELL.replace("seed-1", "seed1")), f"did you mean {CELL}?"),
    "an unknown dataset": (
        ("prepare", "nowhere"),
        "dataset nowhere: params.yaml has none of this name; it has generated_sins",
    ),
    "an unknown source": (("fetch", "nowhere"), "found 'nowhere'; allowed: mnist"),
    "an unknown phase": (("prune", "nowhere"), "found 'nowhere'; allowed: data, train, evaluate"),
    "an unknown device": (("train", CELL, "--device", "tpu"), "--device: found 'tpu'; allowed: auto, cpu, cuda"),
    "a device that is not here": (
        ("train", CELL, "--device", "cuda:99"),
        "found 'cuda:99', and this machine has",
    ),
    "a baseline to train": (("train", BASELINE), "a baseline is not trained"),
    "a cell not trained": (("evaluate", CELL), f"run `framecast train {CELL}`"),
    "scores that are missing": (("tables",), f"not scored; run `framecast evaluate {CELL}`"),
    "another key, data": (
        ("prepare", "generated_sins", "--key", "00000000"),
        "asked for key 00000000, but",
    ),
    "another key, training": (("train", CELL, "--key", "00000000"), "asked for key 00000000, but"),
    "another key, scores": (("evaluate", CELL, "--key", "00000000"), "asked for key 00000000, but"),
    "another key, tables": (("tables", "--key", "00000000"), "asked for key 00000000, but"),
    "another key, report": (("report", "--key", "00000000"), "asked for key 00000000, but"),
}


@pytest.mark.parametrize("asked", ASKED)
def test_what_cannot_be_done_is_said_in_one_line(place: Place, asked: str) -> None:
    command, words = ASKED[asked]
    place(*command).in_one_line(words)


def test_params_that_change_after_the_plan_stop_the_job_and_not_the_next_plan(place: Place) -> None:
    planned = place.grid.run_key(Cell("generated_sins", "seq2seq_lstm", 1, "mse", 1))
    path = place.folder / "params.yaml"
    original = path.read_text()
    path.write_text(original.replace("hidden_size: 8", "hidden_size: 9"))
    place("train", CELL, "--key", planned).in_one_line(f"cell {CELL}: asked for key {planned}", "run again")
    path.write_text(original)
    place.succeeds("train", CELL, "--key", planned)
