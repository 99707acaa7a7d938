"""Figures are functions of the results: same tables, same bytes; captions and files in step."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

from framecast import published
from framecast.errors import UserError
from framecast.figures import base
from framecast.figures.shared.choice import featured
from framecast.report import results_page, tables
from framecast.report.export import latex
from framecast.results import System, label, short
from framecast.study import catalogue
from tests import results_fixture
from tests.conftest import ROOT

FIGURES = [
    (name, dataset)
    for name in catalogue.names("figures")
    for dataset in results_fixture.ERRORS
    if catalogue.frames("figures", name) in ("any", results_fixture.frames_of(dataset))
]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return results_fixture.fabricate(tmp_path_factory.mktemp("results"))


@pytest.mark.parametrize(("name", "dataset"), FIGURES)
def test_a_figure_is_well_formed_and_deterministic(results, name, dataset):
    first, second = base.svg(name, results, dataset), base.svg(name, results, dataset)
    assert first == second
    assert ElementTree.fromstring(first).tag.endswith("svg")


def test_bytes_do_not_depend_on_the_process(results, tmp_path):
    """Element ids come from a fixed salt, and nothing from hash seeds, the clock or somebody's taste."""
    taste = (
        "lines.linewidth: 9\nimage.origin: lower\naxes.titlepad: 40\nsvg.fonttype: none\nimage.interpolation: bicubic\n"
    )
    (tmp_path / "matplotlibrc").write_text(taste)
    code = (
        "import sys, pathlib; from framecast.figures import base; from tests import results_fixture; "
        "results = results_fixture.fabricate(pathlib.Path(sys.argv[1])); "
        "sys.stdout.buffer.write(base.svg('filmstrip', results, 'moving_mnist'))"
    )
    here = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}", "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", code, tmp_path / "results"]
    other = subprocess.run(command, env=here, cwd=tmp_path, capture_output=True, check=True)
    assert other.stdout == base.svg("filmstrip", results, "moving_mnist")


PRICES = "{datasets: [stocks], models: [seq2seq_lstm], depths: [1], losses: [mse]}"
STOCKS = "{kind: stocks, context: 5, horizon: 5, source: bundled}"  # matplotlib's own sample
FOREIGN = {
    "MPLBACKEND": "module://nobody.has.this",
    "PYTHONWARNINGS": "error",
    "LC_ALL": "C",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONIOENCODING": "ascii",
    "HOME": "/nowhere",
    "TZ": "Pacific/Apia",
}


@pytest.mark.slow
def test_surroundings_change_neither_outcome_nor_bytes(study, framecast):
    """What a notebook, a container or a site sets for other programs."""
    text = Path("params.yaml").read_text().replace("studies:", f"studies:\n  prices: {PRICES}", 1)
    Path("params.yaml").write_text(text.replace("datasets:\n", f"datasets:\n  stocks: {STOCKS}\n", 1))

    def made(**surroundings):
        for command in (("prepare", "stocks"), ("evaluate", "stocks/copy_last"), ("report", "--partial"), ("plan",)):
            framecast(*command, cold=bool(surroundings), **surroundings)
        files = [path for root in ("data", "reports") for path in Path(root).rglob("*") if path.is_file()]
        content = {path: path.read_bytes() for path in files}
        for root in ("data", "reports"):
            shutil.rmtree(root)
        return content

    here = made()
    assert {"arrays.safetensors", "score.json", "report.html"} <= {path.name for path in here}
    Path("matplotlibrc").write_text("lines.linewidth: 9\nimage.origin: lower\nbackend: qtagg\nnonsense\n")
    assert made(**FOREIGN) == here


def test_drawing_leaves_the_global_style_alone(results):
    import matplotlib

    before = dict(matplotlib.rcParams)
    base.svg("depth_sweep", results, "stocks_by_ticker")
    assert dict(matplotlib.rcParams) == before


def test_what_is_published_is_drawn_pale_where_ours_is_not_compared_with_it(results, tmp_path):
    inks = {}
    for scale in ("laptop", "paper"):
        made = results_fixture.fabricate(tmp_path, scale, ("generated_sins",)) if scale == "paper" else results
        _, wide = catalogue.load("figures", "depth_sweep")(made, "generated_sins").axes
        inks[scale] = {line.get_color() for line in wide.lines if line.get_marker() in ("s", "x")}
    assert inks == {"laptop": {base.PALE}, "paper": {base.INK, base.MUTED}}


def test_figures_load_neither_torch_nor_a_window_toolkit():
    code = (
        "import sys; from framecast.study import catalogue; "
        "[catalogue.load('figures', name) for name in catalogue.names('figures')]; "
        "sys.exit(bool({'torch', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("name", catalogue.names("figures"))
def test_the_caption_in_the_snakemake_report_is_the_figures_own(name):
    path = Path(__file__).parents[2] / "workflow" / "report" / f"{name}.rst"
    assert path.read_text(encoding="utf-8") == base.caption_rst(name)


def test_captions_name_what_they_answer_in_the_literature():
    assert base.caption("error_vs_horizon", "moving_mnist").endswith("Counterpart: Coleman, Figure 10.")
    assert "Counterpart" not in base.caption("error_vs_horizon", "a_dataset_of_our_own")


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    """The systems of depth 1 were trained on the first four of the steps that are asked for."""
    folder = tmp_path_factory.mktemp("longer")
    results = results_fixture.fabricate(folder, datasets=("moving_mnist", "generated_sins"))
    for path in folder.glob("scores/*/*/depth-1/*/*/score.json"):
        score = json.loads(path.read_text())
        score["parameters"]["training"]["horizon"] = 4
        score["parameters"]["dataset"]["arguments"]["context"] = score["context"]
        path.write_text(json.dumps(score))
    return results


@pytest.mark.parametrize(
    ("name", "dataset", "place", "count"),
    [
        ("error_vs_horizon", "moving_mnist", 4.5, 1),
        ("sharpness_vs_horizon", "moving_mnist", 4.5, 1),
        ("filmstrip", "moving_mnist", 4 * (32 + 2) - 1.5, 2 * 2),  # forecast and difference, of two sequences
        ("glimpse", "moving_mnist", (10 + 4) * (32 + 2) - 1.5, 1),
        ("forecasts", "generated_sins", 25 + 4.5, 4),
    ],
)
def test_where_training_ended_is_marked(longer, name, dataset, place, count):
    with base.style():
        figure = catalogue.load("figures", name)(longer, dataset)
    lines = [set(map(float, line.get_xdata())) for axes in figure.axes for line in axes.lines]
    assert lines.count({place}) == count


@pytest.mark.parametrize(
    ("dataset", "places"), [("moving_mnist", ("best", "worst")), (results_fixture.NEXT, ("median",))]
)
def test_the_filmstrip_shows_what_copying_the_last_frame_does_best_and_worst(results, dataset, places):
    """The same sequences for every system, each with its own frames; of many systems one sequence between the two."""
    metric, mode = results.primary_metric(dataset), results.primary_mode(dataset)
    copied = results.scored(dataset, System("copy_last"))[0].sequences[f"{mode}/{metric}"].mean(1)
    wanted = {"best": copied.argmin(), "worst": copied.argmax(), "median": np.argsort(-copied)[len(copied) // 2]}
    with base.style():
        figure = catalogue.load("figures", "filmstrip")(results, dataset)
    titles = [text.get_text() for text in figure.texts]
    assert titles == [f"test sequence {wanted[place] + 1}: the {place} one for copy_last" for place in places]
    systems, rows = featured(results, dataset), len(figure.axes) // len(places)
    assert rows == 2 + 2 * len(systems)
    for block, place in enumerate(places):
        drawn = [axes.images[0].get_array() for axes in figure.axes[block * rows : (block + 1) * rows]]
        for row, system in zip(drawn[2::2], systems, strict=True):
            cell = results.scored(dataset, system)[0]
            kept = cell.kept_clips["forecast"][list(cell.kept).index(wanted[place] + 1)]
            frame = np.rint(base.picture(kept)[0] * 255)
            np.testing.assert_array_equal(row[: frame.shape[0], : frame.shape[1]], frame)


def test_what_was_trained_on_fewer_steps_says_so_beside_its_numbers(longer):
    short, whole = longer.systems("moving_mnist")[:2]
    assert [longer.trained_steps("moving_mnist", system) for system in (short, whole)] == [4, None]
    assert [tables.marks(longer, "moving_mnist", system) for system in (short, whole)] == [("trained on 4 steps",), ()]
    named = [results_page._named(longer, ["generated_sins", "moving_mnist"], system) for system in (short, whole)]
    assert named == [f"{short} (trained on 4 steps)", str(whole)]
    cells, facts = longer.scored("moving_mnist", short), longer.scored("moving_mnist", short)[0].score
    grid = SimpleNamespace(params=SimpleNamespace(seeds=(1, 2, 3)))
    study = [SimpleNamespace(is_baseline=False) for _ in cells]
    told = latex._about(grid, facts, facts["mode"], study)
    assert told == "3 of 3 seeds; bundled data; trained on 4 steps"
    table, _ = longer.literature("moving_mnist", short, "mse_pix01")
    scores = [longer.scored("moving_mnist", system)[0].score for system in (short, whole)]
    assert ["trained on fewer steps" in published.obstacles(table, score) for score in scores] == [True, False]


def test_a_dataset_without_cells_gives_a_figure_that_says_so(results):
    assert b"svg" in base.svg("filmstrip", results, "nothing_here")


def test_a_grid_that_is_half_done_is_drawn(results):
    cells = tuple(cell for cell in results.cells if cell.loss is None or (cell.depth, cell.seed) == (2, 1))
    partial = dataclasses.replace(results, cells=cells)
    for name, dataset in FIGURES:
        if dataset in ("stocks_by_ticker", "moving_mnist"):
            assert base.svg(name, partial, dataset)


def test_keys_stay_text(tmp_path):
    """Eight hex digits may look like a number: 12345678, 1e234567."""
    scores = results_fixture.fabricate(tmp_path, datasets=("stocks_by_ticker",)).scores
    scores.assign(key="1e234567").to_csv(tmp_path / "scores.csv", index=False)
    assert set(results_fixture.load(tmp_path, []).scores["key"]) == {"1e234567"}


def test_a_table_without_a_column_is_named(tmp_path):
    results_fixture.fabricate(tmp_path, datasets=("stocks_by_ticker",))
    (tmp_path / "horizon.csv").write_text("dataset,model\n")
    with pytest.raises(UserError, match=r"horizon\.csv: column depth.* is missing"):
        results_fixture.load(tmp_path, [])


def test_labels_are_moved_apart_and_keep_their_order():
    heights = base._apart([0.10, 0.11, 0.12, 0.50, 0.90], gap=0.06)
    assert np.all(np.diff(heights) >= 0.06 - 1e-12)
    assert heights[3:] == [0.50, 0.90]
    assert np.mean(heights[:3]) == pytest.approx(0.11)


def test_a_leaky_system_never_goes_by_its_bare_name(results):
    systems = results.systems(results_fixture.NEXT)
    for system in systems:
        named = label(results, results_fixture.NEXT, systems, system)
        assert named.endswith("(leaky)") == results_fixture.is_leaky(system.model)


def test_what_all_systems_share_goes_unsaid():
    systems = [System("a", "bce", 3), System("b", "bce", 3), System("b", "gdl", 3)]
    assert [short(systems, system) for system in systems] == ["a bce", "b bce", "b gdl"]
    assert [short(systems[:2], system) for system in systems[:2]] == ["a", "b"]
    assert short(systems[:1], systems[0]) == systems[0].model


def test_a_figure_of_what_was_not_measured_says_so(results):
    for name in ("leak", "duel", "gradient_shares", "component_impact"):
        assert len(base.svg(name, results, "moving_mnist")) < len(base.svg(name, results, results_fixture.NEXT))


def test_a_glimpse_of_one_cell_is_small_and_says_what_it_is_of(results):
    """It stands alone at the head of a page: under 200 kB, the same bytes twice, and its provenance in it."""
    cells = [cell for cell in results.cells if cell.loss is None or (cell.depth, cell.seed) == (2, 1)]
    one = dataclasses.replace(results, cells=tuple(cells))
    first = base.drawn("glimpse", one, "moving_mnist", "png")
    assert first == base.drawn("glimpse", one, "moving_mnist", "png")
    assert first[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(first) < 200_000
    told = " ".join(text.get_text() for text in catalogue.load("figures", "glimpse")(one, "moving_mnist").texts)
    assert "bundled data, scale laptop, free-running" in told
    assert "seq2seq_convlstm depth-2 mse, seed 1" in told
