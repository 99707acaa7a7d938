"""Keys change exactly with what can change a number, names and places are unique, and every process agrees on them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from framecast.errors import UserError
from framecast.study import catalogue, grid, reading
from framecast.study.grid import PROBE, Grid
from framecast.study.source import read
from tests.conftest import ROOT

TINY = (ROOT / "tests" / "params.yaml").read_text(encoding="utf-8")
LSTM, CONVLSTM = ("generated_sins/seq2seq_lstm", "moving_mnist/seq2seq_convlstm")
Keys = dict[str, str]  #: what is made → its key


def grid_of(text: str = TINY) -> Grid:
    return Grid(reading.resolve(yaml.safe_load(text)))


def keys(study: Grid) -> Keys:
    """Everything that is made → its key."""
    return {
        **{f"data {name}": study.data_key(name) for name in study.datasets},
        **{f"probe {PROBE.format_map(vars(cell))}": study.probe_key(cell) for cell in study.probes},
        **{f"run {cell.name}": study.run_key(cell) for cell in study.cells},
        **{f"score {cell.name}": study.score_key(cell) for cell in study.scored},
        "tables": study.tables_key,
        "report": study.report_key,
    }


def moved(before: Keys, after: Keys) -> set[str]:
    """What has another key, has come or has gone, in short: the phase, the dataset and the model."""
    differing = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    return {"/".join(name.split("/")[:2]) for name in differing}


RUNS = {f"run {LSTM}", f"run {CONVLSTM}"}
TRAINED = {*RUNS, f"score {LSTM}", f"score {CONVLSTM}"}
OF_SINS = {f"score generated_sins/{name}" for name in ("copy_last", "zeros", "least_squares")}
BASELINES = OF_SINS | {f"score moving_mnist/{name}" for name in ("copy_last", "zeros")}
SCORES = {f"score {LSTM}", f"score {CONVLSTM}", *BASELINES}
LSTM_ONLY, CONVLSTM_ONLY = ({f"run {name}", f"score {name}"} for name in (LSTM, CONVLSTM))
OF_LSTM, OF_CONVLSTM = LSTM_ONLY | {f"probe {LSTM}"}, CONVLSTM_ONLY | {f"probe {CONVLSTM}"}  #: with what it looks at
PROBES = {f"probe {LSTM}", f"probe {CONVLSTM}"}
SINS = {"data generated_sins", *OF_LSTM, *OF_SINS}

#: a change of params.yaml → what it moves, besides tables and report, which every score moves
CHANGES: dict[str, tuple[str, str, set[str]]] = {
    "a loss weight": ("{mse: {mse: 1.0}}", "{mse: {mse: 0.5}}", TRAINED),
    "a loss term": ("{mse: {mse: 1.0}}", "{mse: {mse: 1.0, l1: 0.1}}", TRAINED),
    "a seed": ("seeds: [1, 2]", "seeds: [1]", TRAINED),
    "a depth": ("depths: [1, 2]", "depths: [1]", OF_LSTM),
    "a model": ("hidden_size: 8", "hidden_size: 9", OF_LSTM),
    "a mark as replication": (
        "hidden_size: 8",
        "hidden_size: 8, replication: true",
        {f"probe {LSTM}", f"score {LSTM}"},
    ),
    "a recipe": ("training: {batch_size: 16}", "training: {batch_size: 8}", LSTM_ONLY),
    "a recipe on a dataset": (
        "training: {batch_size: 16}",
        "training: {batch_size: 16}, training_on: {generated_sins: {epochs: 1}}",
        LSTM_ONLY,
    ),
    "a recipe on a dataset of others": (
        "training: {batch_size: 16}",
        "training: {batch_size: 16}, training_on: {moving_mnist: {epochs: 1}}",
        set(),
    ),
    "a recipe that others override": ("epochs: 2, batch_size: 4", "epochs: 2, batch_size: 2", CONVLSTM_ONLY),
    "the training of all": ("epochs: 2", "epochs: 3", TRAINED),
    "a dataset": ("train: 64", "train: 65", SINS),
    "a metric": ("[mse_pix01, psnr_frame]", "[mse_pix01]", SCORES),
    "the number of clips": ("clips: 2", "clips: 3", SCORES),
    "a baseline": ("zeros, least_squares]", "zeros]", {"score generated_sins/least_squares"}),
    "the scale's name": ("tiny", "small", SCORES),
    "the resamples": ("resamples: 200", "resamples: 300", {"tables"}),
    "a title": ("sequence_depth: {", "sequence_depth: {title: Depth, ", {"report"}),
    "a figure": (", filmstrip: video", "", {"report"}),
    "a dataset that no study uses": ("datasets:\n", "datasets:\n  stocks: {kind: stocks}\n", set()),
    "a model that no study uses": ("models:\n", "models:\n  other: {kind: seq2seq_lstm}\n", set()),
    "a loss that no study uses": ("losses: {", "losses: {bce: {bce: 1.0}, ", set()),
    "a default written out": ("{kind: seq2seq_lstm,", "{kind: seq2seq_lstm, handover: as_described,", set()),
    "the order of keys": ("{epochs: 2, batch_size: 4,", "{batch_size: 4, epochs: 2,", set()),
    "a comment": ("seeds: [1, 2]", "seeds: [1, 2]  # two are enough", set()),
    "the same value by a scale": ("scales: {tiny: {}}", "scales: {tiny: {training: {epochs: 2}}}", set()),
    "another scale": ("scales: {tiny: {}}", "scales: {tiny: {}, huge: {training: {epochs: 99}}}", set()),
}


def with_what_follows(expected: set[str]) -> set[str]:
    """Scores move the tables, and these the report."""
    return expected | {"tables", "report"} if expected - {"report"} - PROBES else expected


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_params_moves_the_keys_it_touches_and_no_other(unchanged: Keys, change: str) -> None:
    old, new, expected = CHANGES[change]
    assert old in TINY
    assert moved(unchanged, keys(grid_of(TINY.replace(old, new)))) == with_what_follows(expected)


def test_one_of_several_losses_moves_only_its_own_cells() -> None:
    several = TINY.replace("losses: [mse]", "losses: [mse, mixed]").replace(
        "losses: {mse", "losses: {mixed: {mse: 1, l1: 0.1}, mse"
    )
    study = grid_of(several)
    before, after = keys(study), keys(grid_of(several.replace("l1: 0.1", "l1: 0.2")))
    differing = {name for name in before if before[name] != after[name]}
    mixed = {cell.name for cell in study.cells if cell.loss == "mixed"}
    assert differing == {f"{phase} {name}" for phase in ("run", "score") for name in mixed} | {"tables", "report"}


# --- code -------------------------------------------------------------------------------------------


def forget() -> None:
    """Read the source anew."""
    for function in vars(catalogue).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()


@pytest.fixture(scope="module")
def unchanged() -> Keys:
    """The keys of the source as it is."""
    return keys(grid_of())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package's source that was read once: what each file says is kept beside it."""
    copy = tmp_path_factory.mktemp("whole") / "framecast"
    shutil.copytree(catalogue.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for path in copy.rglob("*.py"):
        read(path)
    return copy


@pytest.fixture
def source(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it that the catalogue reads instead of ours."""
    copy = tmp_path / "framecast"
    shutil.copytree(whole, copy)
    monkeypatch.setattr(catalogue, "PACKAGE", copy)
    forget()
    yield copy
    forget()


#: a change of a source file → what it moves, besides tables and report
CODE: dict[str, tuple[str, str, str, set[str]]] = {
    "a comment": ("models/seq2seq_lstm.py", "FRAMES =", "# why\nFRAMES =", set()),
    "a docstring": ("models/seq2seq_lstm.py", '"""One LSTM step', '"""Another text. One LSTM step', set()),
    "a line break": ("models/seq2seq_lstm.py", "h, c = state\n", "h, \\\n            c = state\n", set()),
    "an import for types only": (
        "models/seq2seq_lstm.py",
        "FRAMES =",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from framecast.ranges import Decay\nFRAMES =",
        OF_LSTM,  # the import of TYPE_CHECKING itself is code
    ),
    "an equation": ("models/seq2seq_lstm.py", "4 * hidden_size", "(3 + 1) * hidden_size", OF_LSTM),
    "what models share": (
        "models/layers/seq2seq.py",
        "class Seq2Seq(",
        "MORE = 1\n\n\nclass Seq2Seq(",
        TRAINED | PROBES,
    ),
    "a loss": ("losses/mse.py", "(forecast, target)\n", "(target, forecast)\n", TRAINED),
    "a loss that no study uses": ("losses/l1.py", "(forecast, target)\n", "(target, forecast)\n", set()),
    "the seeding of a cell": ("training/cell.py", "seed_weights(seed)", "seed_weights(seed + 1)", TRAINED),
    "the loop": ("training/loop.py", "self.model.train()", "self.model.train(True)", TRAINED),
    "the heartbeat": ("artifacts/locks.py", "HEARTBEAT_SECONDS = 20", "HEARTBEAT_SECONDS = 30", set()),
    "the command line": ("cli.py", "def _leave(", "def _left() -> None: ...\n\n\ndef _leave(", set()),
    "a generator": ("data/generated_sins.py", "alpha * tau + beta", "beta + alpha * tau", SINS),
    "a dataset that no study uses": ("data/stocks.py", "FRAMES =", "MORE = 1\nFRAMES =", set()),
    "a metric": ("metrics/mse.py", "FRAMES =", "MORE = 1\nFRAMES =", SCORES),
    "a metric that is not asked for": ("metrics/srvp.py", "FRAMES =", "MORE = 1\nFRAMES =", set()),
    "the causality probe": ("evaluation/causality.py", "DRAWS = 8", "DRAWS = 9", PROBES | SCORES),
    "the bootstrap": ("evaluation/bootstrap.py", "Verdict =", "MORE = 1\nVerdict =", SCORES),
    "a figure": ("figures/filmstrip.py", "FRAMES =", "MORE = 1\nFRAMES =", {"report"}),
    "the report": ("report/render.py", "def render(", "MORE = 1\n\n\ndef render(", {"report"}),
    "the report's looks": ("report/templates/report.css", "{", "{ ", {"report"}),
}


@pytest.mark.parametrize("change", CODE)
def test_a_change_of_code_moves_the_keys_it_touches_and_no_other(unchanged: Keys, source: Path, change: str) -> None:
    file, old, new, expected = CODE[change]
    path = source / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1))
    forget()
    assert moved(unchanged, keys(grid_of())) == with_what_follows(expected)


def test_line_ends_move_no_key(unchanged: Keys, source: Path) -> None:
    """Git may write a checkout's, and editors those of whatever they touch."""
    texts = [path for path in source.rglob("*") if path.suffix in (".py", ".yaml", ".css", ".js", ".j2")]
    assert {"coleman.yaml", "report.css", "report.html.j2", "grid.py"} <= {path.name for path in texts}
    for path in texts:
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    forget()
    assert keys(grid_of()) == unchanged


def test_what_a_module_imports_counts_wherever_and_however_it_is_imported(source: Path) -> None:
    (source / "models" / "layers" / "far.py").write_text("NEAR = 1\n")
    shapes = (
        "from framecast.models.layers.far import NEAR",
        "from framecast.models.layers import far",
        "import framecast.models.layers.far as far",
        "from .layers.far import NEAR",
        "from .layers import far",
        "def late():\n    from framecast.models.layers.far import NEAR",
    )
    model = source / "models" / "zeros.py"
    text = model.read_text()
    for shape in shapes:
        model.write_text(f"{text}\n{shape}\n")
        forget()
        before = catalogue.fingerprint("models.zeros")
        (source / "models" / "layers" / "far.py").write_text("NEAR = 2\n")
        forget()
        assert catalogue.fingerprint("models.zeros") != before, shape
        (source / "models" / "layers" / "far.py").write_text("NEAR = 1\n")


def test_prices_of_the_user_s_own_enter_the_key(study: Path) -> None:
    text = TINY.replace("[generated_sins]", "[stocks]").replace(
        "datasets:\n", "datasets:\n  stocks: {kind: stocks}\n", 1
    )
    found = [grid_of(text).data_key("stocks")]
    index = study / grid.RAW / "stocks" / "SHA256SUMS"
    index.parent.mkdir(parents=True)
    for content in ("one\n", "two\n"):
        index.write_text(content)
        found.append(grid_of(text).data_key("stocks"))
        index.write_bytes(index.read_bytes().replace(b"\n", b"\r\n"))
        assert grid_of(text).data_key("stocks") == found[-1]
    assert len(set(found)) == 3
    bundled = text.replace("{kind: stocks}", "{kind: stocks, source: bundled}")
    assert grid_of(bundled).data_key("stocks") == grid_of(bundled).data_key("stocks")


# --- names and places -------------------------------------------------------------------------------


def all_paths(study: Grid) -> list[str]:
    """Every file of a study."""
    files = [study.data_files(name) for name in study.datasets]
    files += [study.probe_files(cell) for cell in study.probes]
    files += [study.run_files(cell) for cell in study.cells] + [study.score_files(cell) for cell in study.scored]
    return [path for group in [*files, study.table_files(), study.report_files()] for path in group]


@pytest.mark.parametrize("file", ["params.yaml", "tests/params.yaml"])
def test_every_artefact_has_a_place_of_its_own_and_every_cell_a_name(file: str) -> None:
    study = Grid(reading.load(ROOT / file))
    paths = all_paths(study)
    assert len(paths) == len(set(paths)) == len({path.lower() for path in paths})
    assert len({cell.name for cell in study.scored}) == study.count
    for cell in study.scored:
        assert study.find(cell.name) == study.find(f"{cell.name}/") == cell
    assert len({study.run_key(cell) for cell in study.cells}) == len(study.cells)


def test_a_cell_that_two_studies_share_is_one_cell() -> None:
    shared = TINY.replace("studies:\n", "studies:\n  again: {datasets: [generated_sins], models: [seq2seq_lstm], ", 1)
    shared = shared.replace("seq2seq_lstm], ", "seq2seq_lstm], depths: [2, 3], losses: [mse]}\n", 1)
    before, after = keys(grid_of()), keys(grid_of(shared))
    new = {name for name in after if name not in before}
    cells = {f"{phase} {LSTM}/depth-3/mse/seed-{seed}" for phase in ("run", "score") for seed in (1, 2)}
    assert new == cells | {f"probe {LSTM}/depth-3/causality"}
    assert all(after[name] == before[name] for name in before if name not in ("tables", "report"))


def test_a_name_that_is_nearly_right_is_answered_with_the_right_one() -> None:
    with pytest.raises(UserError, match=rf"did you mean {LSTM}/depth-1/mse/seed-1\?"):
        grid_of().find(f"{LSTM}/depth-1/mse/sed-1")


def test_every_process_finds_the_same_keys() -> None:
    ask = "from tests.study.test_grid import grid_of, keys; print(keys(grid_of()))"
    answers = {
        subprocess.run(
            [sys.executable, "-c", ask],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert answers == {f"{keys(grid_of())}\n"}
