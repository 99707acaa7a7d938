"""The report is explored: in a real browser with the keyboard alone, and what needs none without one."""

import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from jinja2 import PackageLoader
from PIL import Image

from framecast.predict import players
from framecast.report import provenance, sequences, stage, status_page
from framecast.report.render import SCRIPTS, environment, render, surroundings
from framecast.results import Results, System
from framecast.results.records import Facts, Record
from framecast.study import catalogue
from framecast.study.grid import Cell
from framecast.upkeep.status import State
from tests import records_fixture, results_fixture
from tests.report.chromium import PROGRAM, Browser
from tests.report.test_report import STUDIES, Page

MOST_BYTES = 30_000_000
TEMPLATES = catalogue.PACKAGE / "report" / "templates"
SERIES = STUDIES["sequence_depth"].model_copy(update={"datasets": ("generated_sins",)})
SHALLOW, DEEP = "seq2seq_convlstm depth-1 mse", "seq2seq_convlstm depth-3 mse"
STAGE = "document.querySelector('[data-stage=moving_mnist]')"
CHROMIUM = pytest.mark.skipif(not PROGRAM, reason="no Chromium on this machine: apt-get install chromium")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return results_fixture.fabricate(tmp_path_factory.mktemp("results"), datasets=("generated_sins", "moving_mnist"))


@pytest.fixture(scope="module")
def record(results, tmp_path_factory):
    """A record of these very cells, but that those of depth 2 lay under another key."""
    facts = records_fixture.facts(results, "video_depth", "laptop") | {"sha256": {}}
    for name, cell in facts["cells"].items():
        if "depth-2" in name:
            cell["run_key"] = "00000000"
    folder = tmp_path_factory.mktemp("records") / "video_depth-laptop"
    return Record(folder, Facts.model_validate_json(json.dumps(facts)), results)


@pytest.fixture(scope="module")
def html(results, record):
    return render(
        results, {}, {"video_depth": STUDIES["video_depth"], "sequence_depth": SERIES}, "laptop", (), [record]
    )


@pytest.fixture(scope="module")
def page(html, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def look_at_the_stage(browser, page, place="", **window):
    browser.open(page, place, **window)
    browser.js(f"{STAGE}.scrollIntoView()")
    browser.until(f"{STAGE}.querySelector('[data-pane=truth]').width === 32")


def picture(browser, pane):
    """The red of every pixel of a pane."""
    canvas = f"{STAGE}.querySelector('[data-pane={pane}]')"
    told = browser.js(f"[...{canvas}.getContext('2d').getImageData(0, 0, 32, 32).data]")
    return np.array(told, dtype=np.uint8).reshape(32, 32, 4)[..., 0]


def address(browser):
    return browser.until("location.hash.includes('?') && location.hash")


# --- in a browser ---------------------------------------------------------------------------------


@CHROMIUM
def test_the_panes_show_the_stored_frames(browser, page, results):
    """Context, truth, forecast and |difference| at the cursor are those of the first seed of the system chosen."""
    cell = results.scored("moving_mnist", System("seq2seq_convlstm", "mse", 3))[0]
    scenes = stage.scenes(results, "moving_mnist")
    number, sequence = next((at + 1, one.sequence) for at, one in enumerate(scenes) if one.systems[2].row and at)
    look_at_the_stage(browser, page, f"#?system={DEEP}&step=7&sequence={number}".replace(" ", "+"))
    at = tuple(cell.kept).index(sequence)
    bytes_of = {name: np.rint(clip[at, :, 0] * 255).astype(int) for name, clip in cell.kept_clips.items()}
    browser.until(f"{STAGE}.querySelector('.where').textContent.startsWith('forecast step 7 of 10 · {DEEP}')")
    assert (picture(browser, "context") == bytes_of["context"][-1]).all()
    assert (picture(browser, "truth") == bytes_of["target"][6]).all()
    assert (picture(browser, "forecast") == bytes_of["forecast"][6]).all()
    levels = np.abs(bytes_of["forecast"][6] - bytes_of["target"][6])
    reds = np.array([int(stage.SCALE[6 * level : 6 * level + 2], 16) for level in range(256)])
    assert (picture(browser, "difference") == reds[levels]).all()
    browser.js(
        "URL.createObjectURL = blob => { window.saved = blob; return '#' }; "
        "HTMLAnchorElement.prototype.click = function () { window.called = this.download }"
    )
    browser.js(f"{STAGE}.querySelector('[data-save]').click()")
    content = browser.until("window.saved && saved.arrayBuffer().then(all => [...new Uint8Array(all)])")
    assert browser.js("called") == f"moving_mnist-sequence-{sequence}-step-7.png"
    saved = np.asarray(Image.open(io.BytesIO(bytes(content))).convert("L"))
    frame = bytes_of["target"][6].repeat(8, axis=0).repeat(8, axis=1)  # 32 pixels to 256
    assert any((saved[top : top + 256, 280:536] == frame).all() for top in range(saved.shape[0] - 255))


@CHROMIUM
def test_a_system_without_the_sequence_says_so_and_its_own_worst_is_found_from_the_table(browser, page, results):
    cells = [results.scored("moving_mnist", System("seq2seq_convlstm", "mse", depth))[0] for depth in (1, 3)]
    place, sequence = next(
        (why, one)
        for one, told in cells[0].kept.items()
        if one not in cells[1].kept
        for why in told
        if "copy" not in why
    )
    look_at_the_stage(browser, page, f"#?system={DEEP}&step=3".replace(" ", "+"))
    row = (
        f"document.querySelector('#data-moving_mnist').closest('.dataset').querySelector('tr[data-system=\"{SHALLOW}\"]"
    )
    browser.js(f'{row} [data-shows="{sequence}"]\').click()')
    browser.until(f"{STAGE}.querySelector('.where').textContent === 'forecast step 3 of 10 · {SHALLOW}'")
    assert f"the {place} of depth 1" in browser.js(f"{STAGE}.querySelector('.standing').textContent")
    assert picture(browser, "forecast").any()
    browser.js(f"{STAGE}.querySelector('.cast [data-system=\"{DEEP}\"]').click()")
    browser.until(f"{STAGE}.querySelector('.where').textContent.endsWith('no stored forecast of {DEEP} here')")
    standing = browser.js(f"{STAGE}.querySelector('.standing').textContent")
    assert re.search("No stored forecast of .*depth 3", standing)
    assert picture(browser, "truth").any()
    assert not picture(browser, "forecast").any()
    told = browser.js(f"{STAGE}.querySelector('.cast .shown [data-error]').textContent")
    errors = cells[1].sequences["free-running/mse_pix01"][sequence - 1]
    assert float(told) == pytest.approx(float(errors[2]), rel=1e-3)


@CHROMIUM
def test_a_step_beyond_the_training_of_a_system_is_marked_wherever_it_plays(browser, results, tmp_path, monkeypatch):
    """In the panes, at the system, in the lines of a series and in the curves."""
    monkeypatch.setattr(
        Results, "trained_steps", lambda self, dataset, system, mode=None: 6 if system.depth == 3 else None
    )
    path = tmp_path / "report.html"
    path.write_text(
        render(results, {}, {"video": STUDIES["video_depth"], "series": SERIES}, "laptop"), encoding="utf-8"
    )
    for step, is_beyond in ((6, False), (7, True)):
        look_at_the_stage(browser, path, f"#?system={DEEP}&step={step}".replace(" ", "+"))
        browser.until(f"{STAGE}.querySelector('.where').textContent.startsWith('forecast step {step} ')")
        told = browser.js(f"{STAGE}.querySelector('.where').textContent")
        assert told.endswith(f"beyond the 6 steps that {DEEP} was trained on") == is_beyond
        assert browser.js(f"{STAGE}.classList.contains('beyond')") == is_beyond
        marked = browser.js(f"[...{STAGE}.querySelectorAll('.cast .beyond')].map(one => one.dataset.system)")
        assert marked == [DEEP] * is_beyond
    browser.js("document.querySelector('[data-curves=moving_mnist]').scrollIntoView()")
    browser.until("document.querySelectorAll('[data-curves=moving_mnist] line.trained').length === 1")
    ends = (
        "[...document.querySelectorAll('[data-stage=generated_sins] line.trained')].map(one => one.getAttribute('x1'))"
    )
    assert set(browser.js(ends)) == {"31"}
    browser.open(path, f"#?system={SHALLOW}&step=7".replace(" ", "+"))
    assert not browser.js(f"{STAGE}.classList.contains('beyond')")
    assert browser.complaints() == []


@CHROMIUM
def test_one_cursor_moves_every_clip_and_curve_by_the_keyboard_alone(browser, page):
    look_at_the_stage(browser, page)
    now = "document.querySelector('[data-told]').textContent"
    assert browser.js(now) == "forecast step 1"
    assert browser.js(f"{STAGE}.querySelectorAll('.cast .absent').length") == 0  # it opens on a sequence that all have
    browser.key("ArrowRight", 3)
    assert browser.js(now) == "forecast step 4"
    assert browser.js(f"{STAGE}.querySelector('.where').textContent").startswith("forecast step 4 of 10")
    browser.js("document.querySelector('[data-curves=moving_mnist]').scrollIntoView()")
    browser.until("document.querySelector('[data-curves=moving_mnist] [data-step]').textContent.startsWith('step 4')")
    browser.key("Home")
    assert browser.js(now) == "observed, 24 before the last"  # the longest context of the page
    browser.key("End")
    assert browser.js(now) == "forecast step 25"
    browser.js(f"{STAGE}.scrollIntoView()")
    browser.until(f"{STAGE}.querySelector('.where').textContent.startsWith('forecast step 10 of 10 · it ends here')")
    browser.key("ArrowLeft")
    assert browser.js(now) == "forecast step 24"
    browser.key(" ")
    assert browser.js("document.querySelector('[data-play]').getAttribute('aria-label')") == "Pause"
    browser.until(f"{now} !== 'forecast step 24'")
    browser.key(" ")
    assert browser.js("document.querySelector('[data-play]').getAttribute('aria-label')") == "Play"
    browser.key("3")
    assert browser.js(f"{STAGE}.querySelector('[data-sequence=\"3\"]').getAttribute('aria-pressed')") == "true"
    assert "sequence=3" in browser.until("location.hash.includes('sequence') && location.hash")
    assert browser.complaints() == []


@CHROMIUM
def test_a_choice_is_made_by_keyboard_stands_everywhere_and_in_the_address(browser, page):
    """And who opens the address sees the same, a wipe between two systems included."""
    look_at_the_stage(browser, page)
    browser.js(f"{STAGE}.querySelector('.cast [data-system=\"{DEEP}\"]').focus()")
    browser.key("Enter")
    assert address(browser) == "#?system=seq2seq_convlstm+depth-3+mse"
    marked = "[...document.querySelectorAll('tr.chosen')].map(row => row.dataset.system)"
    assert set(browser.js(marked)) == {DEEP}
    assert browser.js(f"{marked}.length") >= 4  # grid, curves, sequences, all metrics
    browser.js(
        f"const beside = document.querySelector('[data-choose=beside]'); beside.value = '{SHALLOW}'; "
        "beside.dispatchEvent(new Event('change'))"
    )
    browser.key("ArrowRight", 4)
    browser.until("location.hash.includes('step=5')")
    place = browser.js("location.hash")
    look_at_the_stage(browser, page, place)
    browser.until(f"{STAGE}.classList.contains('wiped')")
    halves = picture(browser, "forecast")
    for system, columns in ((DEEP, slice(0, 16)), (SHALLOW, slice(16, 32))):
        look_at_the_stage(browser, page, f"#?system={system}&step=5".replace(" ", "+"))
        assert (picture(browser, "forecast")[:, columns] == halves[:, columns]).all()
    assert set(browser.js(marked)) == {SHALLOW}
    browser.js("document.querySelector('nav a[href=\"#provenance\"]').click()")
    browser.until("location.hash.startsWith('#provenance?system=')")  # a link within the page keeps the choice


@CHROMIUM
def test_tables_sort_and_filter_and_a_number_opens_its_provenance(browser, page):
    browser.open(page, "#data-moving_mnist")
    table = "document.querySelector('[data-curves=moving_mnist] table')"
    browser.js(f"{table}.scrollIntoView()")
    browser.until(f"{table}.querySelector('button.sort')")
    rows = f"[...{table}.tBodies[0].rows].filter(row => !row.hidden)"
    before = browser.js(f"{rows}.map(row => row.dataset.system)")
    browser.js(f"{table}.tHead.rows[0].cells[3].querySelector('button').focus()")
    browser.key("Enter")
    values = browser.js(f"{rows}.map(row => Number(row.dataset.means.split(' ').at(-1)))")
    assert values == sorted(values)
    browser.key("Enter", 2)
    assert browser.js(f"{rows}.map(row => row.dataset.system)") == before
    study = "document.querySelector('section[aria-labelledby=study-sequence_depth]')"
    browser.js(f"{study}.scrollIntoView()")
    words = f"{study}.querySelector('.filter input')"
    browser.until(f"Boolean({words})")
    browser.js(f"{words}.value = 'copy_last'; {words}.dispatchEvent(new Event('input'))")
    kept = f"[...{study}.querySelector('table.grid').tBodies[0].rows].filter(row => !row.hidden)"
    assert browser.js(f"{kept}.map(row => row.dataset.system)") == ["copy_last"]
    assert not browser.js("document.querySelector('button button')")
    browser.js("document.querySelector('tr[data-system=\"seq2seq_convlstm depth-2 mse\"] a.score').focus()")
    browser.key("Enter")
    told = browser.js("document.querySelector('dialog[open]').innerText")
    cell = "moving_mnist/seq2seq_convlstm/depth-2/mse/seed-2"
    for fact in ("mse_pix01", "lower is better", "free-running", cell, f"framecast train {cell}", "not recorded"):
        assert fact in told, fact
    browser.key("Escape")
    assert not browser.js("document.querySelector('dialog[open]')")
    assert browser.complaints() == []


@CHROMIUM
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_it_opens_from_disk_at_any_width_in_light_and_dark_and_decodes_what_is_in_view(browser, page, width, dark):
    browser.open(page, width=width, dark=dark)
    assert not browser.js("document.querySelector('[data-decoded]')")  # the clips are far below
    assert browser.js("document.documentElement.scrollWidth") <= width
    browser.js(f"{STAGE}.scrollIntoView()")
    browser.until(f"{STAGE}.querySelectorAll('[data-decoded]').length === 1")
    colour = browser.js("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", colour)[:3])) < 384) == dark
    assert [url for url in browser.requests() if not url.startswith(("data:", page.as_uri()))] == []
    assert browser.complaints() == []


@CHROMIUM
def test_frames_of_a_clip_of_ones_own_are_seen_on_a_telephone_whatever_the_names_are(browser, tmp_path):
    name = "srvp_without_crossatt depth-2 bce_srvp seed-2"
    frames = np.zeros((3, 1, 16, 16), np.float32)
    shown = players.film([name, "copy_last"], frames, frames, [frames, frames])
    told = {"scale": "paper", "context": 3, "first": 1, "horizon": 3, "trained_horizon": 3, "known": 3}
    nothing = {part: {} for part in ("conversions", "warnings", "scores", "spread")}
    jinja = environment(PackageLoader("framecast.predict"))
    style = surroundings(jinja, ["players.js", "report.js"], ["players.css"])
    about = {"name": 12 * "a_clip_", "told": told | {"dataset": "moving_mnist"}, "player": shown, "cells": {name: name}}
    page = tmp_path / "compare.html"
    page.write_text(jinja.get_template("compare.html.j2").render(**style, **about, **nothing), encoding="utf-8")
    browser.open(page, width=390)
    assert browser.js("document.documentElement.scrollWidth") == 390
    assert browser.js("Math.min(...[...document.querySelectorAll('.frame')].map((one) => one.clientWidth))") > 90
    assert browser.complaints() == []


@CHROMIUM
def test_states_of_cells_with_long_names_fit_a_telephone(browser, tmp_path):
    cell = Cell("moving_mnist_srivastava", "next_frame_no_attention", 2, "gdl_perceptual_seeded", 1)
    page = tmp_path / "status.html"
    page.write_text(status_page.page([State(cell, "done")], "laptop", "now"), encoding="utf-8")
    browser.open(page, width=390)
    browser.js("document.querySelector('details').open = true")
    assert browser.js("document.documentElement.scrollWidth") == 390


@CHROMIUM
def test_without_scripts_it_is_read_and_no_dead_control_stands_in_it(browser, page):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page)
        visible = "[...document.querySelectorAll('button, input, select')].filter(one => one.checkVisibility()).length"
        assert browser.js(visible) == 0
        stills = f"[...{STAGE}.querySelectorAll('.film')].filter(one => one.checkVisibility()).length"
        assert browser.js(stills) == browser.js(f"{STAGE}.querySelectorAll('[data-sequence]').length") > 4
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


# --- without one ----------------------------------------------------------------------------------


def test_every_script_is_in_the_page_once_and_small(html):
    for name in SCRIPTS:
        text = (TEMPLATES / name).read_text(encoding="utf-8")
        assert html.count(text) == 1, name
    assert {path.name for path in TEMPLATES.glob("*.js")} == set(SCRIPTS)
    assert html.count(stage.SCALE) == 1
    assert len(html.encode()) < MOST_BYTES


@pytest.mark.skipif(not shutil.which("node"), reason="no node on this machine, which checks the grammar of scripts")
def test_the_scripts_are_one_script(tmp_path):
    """Together they define no name twice."""
    whole = tmp_path / "whole.js"
    whole.write_text("".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS), encoding="utf-8")
    done = subprocess.run(["node", "--check", whole], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_page_of_a_large_grid_stays_small(html, results):
    """Two thousand cells of three seeds each at what a system's rows take here, beside what is there anyway.

    Measured, not reckoned: ``python -m benchmarks report_page``.
    """
    rows = re.findall(r"<tr[^>]*data-system=.*?</tr>", html, re.DOTALL)
    origins = re.findall(r'<summary><span id="cell-.*?</details>', html, re.DOTALL)
    systems = {(cell.dataset, cell.system) for cell in results.cells}
    assert len(origins) == len(systems)
    assert sum(map(len, rows + origins)) / len(systems) * 2000 / 3 + stage.SHEETS < MOST_BYTES


def test_frames_keep_to_their_share_of_the_page_and_what_is_worth_most_stays(results):
    every = stage.scenes(results, "moving_mnist")
    sizes = [len(scene.sheet) for scene in every]
    few = stage.scenes(results, "moving_mnist", sum(sizes) // 2)
    assert len(few) < len(every)
    assert sum(len(scene.sheet) for scene in few) <= sum(sizes) // 2
    (one,) = stage.scenes(results, "moving_mnist", 1)
    shared = [scene for scene in every if any("for copy_last" in why for why in scene.standing.why)]
    assert one.sequence in [scene.sequence for scene in shared]
    assert not one.absent


def test_scenes_stand_in_the_order_of_their_error(results):
    """By hand: the mean over steps and systems of what is stored of each sequence."""
    systems = stage.shown(results, "moving_mnist")
    whole = np.mean(
        [results.scored("moving_mnist", one)[0].sequences["free-running/mse_pix01"].mean(axis=1) for one in systems],
        axis=0,
    )
    scenes = stage.scenes(results, "moving_mnist")
    stored = [scene.sequence - 1 for scene in scenes]
    cells = [results.scored("moving_mnist", system)[0] for system in systems]
    assert set(stored) == {sequence - 1 for cell in cells for sequence in cell.kept}
    assert [whole[at] for at in stored] == sorted(whole[stored], reverse=True)
    errors = np.stack([cell.sequences["free-running/mse_pix01"].mean(axis=1) for cell in cells])
    apart = errors.max(axis=0) - errors.min(axis=0)
    for scene in scenes:
        at = scene.sequence - 1
        assert scene.standing.place == 1 + (whole > whole[at]).sum()
        assert scene.standing.apart == 1 + (apart > apart[at]).sum()
        assert [bool(shown.row) for shown in scene.systems] == [scene.sequence in cell.kept for cell in cells]
        assert [shown.row for shown in scene.stored] == list(range(1, scene.rows))
    told = scenes[0].systems[0].errors.split()
    assert [float(error) for error in told] == pytest.approx(
        cells[0].sequences["free-running/mse_pix01"][stored[0]].tolist(), rel=1e-3
    )


def test_worst_median_and_best_are_those_of_all_sequences(results):
    systems = stage.shown(results, "generated_sins")
    scenes = stage.scenes(results, "generated_sins")
    table = sequences.part(results, "generated_sins", systems, stage.forecasts_shown(scenes))
    for row, system in zip(table.rows, systems, strict=True):
        errors = results.scored("generated_sins", system)[0].sequences["free-running/mse_pix01"].mean(axis=1)
        worst, median, best = row.picks
        assert (worst.sequence - 1, best.sequence - 1) == (errors.argmax(), errors.argmin())
        assert (errors > errors[median.sequence - 1]).sum() == len(errors) // 2
        assert all(pick.is_shown for pick in row.picks)
    whole = np.stack(
        [results.scored("generated_sins", one)[0].sequences["free-running/mse_pix01"].mean(axis=1) for one in systems]
    )
    assert [row.place for row in table.apart[:3]] == [1, 2, 3]
    seen = [row for row in table.apart if row.low.is_shown and row.high.is_shown]
    furthest = np.ptp(whole, axis=0)
    assert seen
    assert seen[0].place == 1 + (furthest > furthest[seen[0].low.sequence - 1]).sum()
    furthest = furthest.argmax()
    assert (table.apart[0].low.sequence, table.apart[0].high.sequence) == (furthest + 1, furthest + 1)
    assert table.apart[0].systems == (
        str(systems[whole[:, furthest].argmin()]),
        str(systems[whole[:, furthest].argmax()]),
    )


def test_rows_say_seeds_n_direction_metric_and_badges(html):
    page = Page(html)
    assert "lower is better, n = 200" in page.text
    assert "seeds" in page.text
    rows = {attributes["data-system"] for tag, attributes in page.tags if tag == "tr" and "data-system" in attributes}
    assert {SHALLOW, DEEP, "copy_last"} <= rows


def test_what_made_a_cell_is_told_only_of_one_that_is_recorded_under_its_keys(results, record, html):
    """A page says nothing that another making of the same numbers would change, so it asks the records."""
    parts = provenance.provenance(results, ["moving_mnist"], [record])
    made = {source.files.name: source for part in parts for source in part.sources}
    own, other = (f"moving_mnist/seq2seq_convlstm/depth-{depth}/mse/seed-2" for depth in (1, 2))
    machine = "A Processor 9000, 2 cores, 8 GB"
    known = provenance.Made(record.name, records_fixture.COMMIT["hash"], machine, "60 s training + 60 s evaluation")
    assert made[own].made == known
    assert made[own].commands == (f"framecast train {own}", f"framecast evaluate {own}")
    assert made[other].made is None
    assert made["moving_mnist/zeros"].made.seconds == "60 s evaluation"
    assert f"framecast logs {other}" in html
    assert f"framecast logs {own}" not in html
