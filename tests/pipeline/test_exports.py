"""What was scored, in the files of other programs: read back by other means than those that wrote it."""

import ast
import csv
import importlib.util
import io
import json
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import nbformat
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from PIL import Image
from typer.testing import CliRunner

from framecast import artifacts
from framecast.cli import app
from framecast.data.formats.tfrecord import read_records
from framecast.errors import UserError
from framecast.report import notebook
from framecast.report.export import WRITERS, export, latex
from framecast.report.export.outputs import LIST
from framecast.study import reading
from framecast.study.grid import Cell, Grid
from tests import pages
from tests.conftest import ROOT
from tests.pipeline.conftest import CONVLSTM, LSTM, Clone
from tests.report.chromium import PROGRAM, Browser

pytestmark = pytest.mark.slow

SERIES, BASELINE = LSTM.format(1), "generated_sins/copy_last"
SECOND = SERIES.replace("seed-1", "seed-2")  #: a seed that only this file has
FIELD = descriptor_pb2.FieldDescriptorProto
MESSAGES = {
    "Event": "wall_time 1 double; step 2 int64; file_version 3 string; summary 5 Summary",
    "Summary": "value 1 Value*",
    "Value": "tag 1 string; simple_value 2 float; image 4 Image; metadata 9 Metadata",
    "Image": "height 1 int32; width 2 int32; encoded_image_string 4 bytes",
    "Metadata": "plugin_data 1 PluginData",
    "PluginData": "plugin_name 1 string; content 2 bytes",
}


@pytest.fixture(scope="module")
def made(built: Clone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built study without engines, with scores of a second seed and a cell that has not been run."""
    place = tmp_path_factory.mktemp("exported") / "study"
    shutil.copytree(built.folder / "data", place / "data")
    params = (built.folder / "params.yaml").read_text().replace("seeds: [1]", "seeds: [1, 2]")
    (place / "params.yaml").write_text(params)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        study = Grid(reading.load())
        _invent_scores(study, study.find(SERIES), study.find(SECOND), 1.07)
    return place


def _invent_scores(study: Grid, like: Cell, cell: Cell, factor: float) -> None:
    """The scores of another seed, each by this factor off."""
    folder = study.score_folder(cell)
    shutil.copytree(study.score_folder(like), folder)
    shutil.copytree(study.run_folder(like), study.run_folder(cell))
    head, *rows = (folder / "scores.csv").read_text().splitlines()
    told = [f"{row.rpartition(',')[0]},{float(row.rpartition(',')[2]) * factor!r}" for row in rows]
    (folder / "scores.csv").write_text("\n".join([head, *told]) + "\n")
    for place, key in (
        (folder / "score.json", study.score_key(cell)),
        (study.run_folder(cell) / "run.json", study.run_key(cell)),
    ):
        facts = {**artifacts.read_json(place), "cell": cell.name, "seed": cell.seed, "key": key}
        facts["sha256"] = {name: artifacts.sha256_of(place.with_name(name)) for name in facts["sha256"]}
        artifacts.write_json(place, facts)


@pytest.fixture
def study(made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Grid]:
    """That study, left as it was found."""
    monkeypatch.chdir(made)
    before = _files(made)
    yield Grid(reading.load())
    shutil.rmtree(made / "reports", ignore_errors=True)
    assert _files(made) == before


def _files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def overall(study: Grid, name: str) -> dict[str, float]:
    """<mode>/<metric> → the mean over steps, from the cell's own file."""
    with (study.score_folder(study.find(name)) / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {f"{row['mode']}/{row['metric']}": float(row["value"]) for row in rows if row["step"] == "all"}


def history(study: Grid, name: str, split: str) -> list[tuple[int, float]]:
    """(step, loss) of a split, from the cell's own file."""
    with (study.run_folder(study.find(name)) / "history.csv").open(newline="") as file:
        return [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file) if row["split"] == split]


# --- TensorBoard ----------------------------------------------------------------------------------


def event_class() -> Any:
    """``tensorflow.Event``, as far as it is read here, described by hand to the protobuf package."""
    file = descriptor_pb2.FileDescriptorProto(name="events.proto", package="events", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields.split("; "):
            called, number, kind = field.split()
            told = message.field.add(name=called, number=int(number))
            told.label = FIELD.LABEL_REPEATED if kind.endswith("*") else FIELD.LABEL_OPTIONAL
            if kind.strip("*") in MESSAGES:
                told.type, told.type_name = FIELD.TYPE_MESSAGE, f".events.{kind.strip('*')}"
            else:
                told.type = getattr(FIELD, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("events.Event"))


def events(path: Path) -> list[Any]:
    """Every event of a file, checksums checked."""
    content, parse = path.read_bytes(), event_class().FromString
    at, count = 0, 0
    while at < len(content):
        at, count = at + 16 + struct.unpack_from("<Q", content, at)[0], count + 1
    return [parse(record) for record in read_records(io.BytesIO(content), path.name, count)]


def test_event_files_hold_the_numbers_of_the_cells(study: Grid, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    export(study, "tensorboard", tmp_path / "events")
    files = {path.parent.relative_to(tmp_path / "events").as_posix(): path for path in tmp_path.rglob("*tfevents*")}
    assert sorted(files) == sorted(
        cell.name for cell in study.scored if "seed-2" not in cell.name or cell.name == SECOND
    )
    for name, path in files.items():
        first, *others = events(path)
        assert first.file_version == "brain.Event:2"
        values = [(event.step, value) for event in others for value in event.summary.value]
        scalars: dict[str, list[tuple[int, float]]] = {}
        for step, value in values:
            if not value.HasField("image") and not value.HasField("metadata"):
                scalars.setdefault(value.tag, []).append((step, value.simple_value))
        told = {tag.removeprefix("score_"): curve[0][1] for tag, curve in scalars.items() if tag.startswith("score_")}
        assert told == pytest.approx(overall(study, name), rel=1e-6, nan_ok=True)
        settings = [value for _, value in values if value.metadata.plugin_data.plugin_name == "hparams"]
        assert len(settings) == 3
        assert any(study.find(name).model.encode() in value.metadata.plugin_data.content for value in settings)
        pictures = [value.image for _, value in values if value.HasField("image")]
        if study.find(name).is_baseline:
            assert not pictures
            assert not [tag for tag in scalars if tag.startswith("loss")]
            continue
        for split in ("train", "validation"):
            steps, losses = zip(*scalars[f"loss/{split}"], strict=True)
            assert list(zip(steps, losses, strict=True)) == [
                (step, pytest.approx(loss, rel=1e-6)) for step, loss in history(study, name, split)
            ]
        assert scalars["training/learning_rate"]
        (picture,) = pictures
        assert Image.open(io.BytesIO(picture.encoded_image_string)).size == (picture.width, picture.height)
    before = {path: path.read_bytes() for path in files.values()}
    export(study, "tensorboard", tmp_path / "events")
    assert {path: path.read_bytes() for path in before} == before


# --- Weights & Biases -----------------------------------------------------------------------------


def logged(path: Path) -> Iterator[bytes]:
    """The records of an offline run: a file header of 7 bytes, then the blocks of LevelDB's log, checksums checked."""
    content, at, part = path.read_bytes(), 7, b""
    assert content[:4] == b":W&B"
    while at + 7 <= len(content):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        checksum, length, kind = struct.unpack_from("<IHB", content, at)
        piece = content[at + 7 : at + 7 + length]
        assert zlib.crc32(bytes([kind]) + piece) in (checksum, (checksum - 0xA282EAD8) % 2**32), "a damaged record"
        part, at = part + piece, at + 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield part
            part = b""


def test_an_offline_run_holds_the_numbers_of_the_cell(study: Grid, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="the package wandb is not installed")
    from wandb.proto import wandb_internal_pb2

    export(study, "wandb-offline", tmp_path / "runs", [CONVLSTM])
    (path,) = tmp_path.glob(f"runs/offline-run-*-{study.score_key(study.find(CONVLSTM))}/*.wandb")
    records = [wandb_internal_pb2.Record.FromString(record) for record in logged(path)]
    (run,) = (record.run for record in records if record.WhichOneof("record_type") == "run")
    assert (run.display_name, run.project) == (CONVLSTM, "framecast")
    points = []
    for record in records:
        items = {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
        if "loss/train" in items:
            points.append((json.loads(items["step"]), json.loads(items["loss/train"])))
    assert points == history(study, CONVLSTM, "train")
    told = {one.key: json.loads(one.value_json) for record in records for one in record.summary.update if one.key}
    for name, value in overall(study, CONVLSTM).items():
        assert told[f"score_{name}"] == value
    assert [Image.open(io.BytesIO(picture.read_bytes())).format for picture in path.parent.rglob("*.png")] == ["PNG"]
    assert str(tmp_path).encode() not in path.read_bytes()


# --- LaTeX ----------------------------------------------------------------------------------------

LINE = re.compile(
    r"\\fc@set\{([a-z0-9_/-]+)\}\{(-?\d+(?:\.\d+)?)\}\{(\d+(?:\.\d+)?)?\}\{(-?[1-9]\d*)?\}\{([1-9]\d*)\}% [^\\{}]+"
)


def numbers(text: str) -> dict[str, tuple[str, str, int, int]]:
    """Name → mean, sd, power of ten, seeds; every line of the file is a comment, a known macro or such a number."""
    known = {*latex.MACROS.splitlines(), r"\makeatother"}
    found = {}
    for line in text.splitlines():
        if line.startswith("%") or line in known:
            continue
        told = LINE.fullmatch(line)
        assert told, line
        name, middle, spread, power, seeds = told.groups()
        assert name not in found
        found[name] = (middle, spread or "", int(power or 0), int(seeds))
    return found


def test_the_macros_are_the_numbers_rounded_by_their_spread(study: Grid, tmp_path: Path) -> None:
    path = export(study, "latex", tmp_path / "numbers.tex")
    text = path.read_text(encoding="utf-8")
    assert f"% scale {study.params.scale}, not in a git repository, " in text
    found = numbers(text)
    system = SERIES.removesuffix("/seed-1")
    pairs = [overall(study, name) for name in (SERIES, SECOND)]
    for metric in pairs[0]:
        values = [pair[metric] for pair in pairs]
        middle, spread, power, seeds = found[f"{system}/{metric.partition('/')[2]}"]
        assert seeds == 2
        assert len(spread.lstrip("0.").replace(".", "")) == 2
        assert len(spread.partition(".")[2]) == len(middle.partition(".")[2])
        last = Decimal(spread).as_tuple().exponent
        assert isinstance(last, int)
        assert float(middle) * 10**power == pytest.approx(mean(values), abs=0.501 * 10 ** (last + power))
        assert float(spread) * 10**power == pytest.approx(stdev(values), abs=0.501 * 10 ** (last + power))
    alone = found[f"{BASELINE}/mse_pix01"]
    assert alone[1:] == ("", alone[2], 1)
    assert "untrained" in text
    assert "1 of 2 seeds" in text  # of the cell whose second seed is not scored


@pytest.mark.parametrize(
    ("middle", "sd", "expected"),
    [
        (0.5, 0.0996, ("0.50", "0.10", "")),  # two digits of what it is rounded to
        (-12.345, 1.26, ("-12.3", "1.3", "")),
        (-1e-4, 0.02, ("0.000", "0.020", "")),  # no sign of nothing
        (1892.3, 0.0, ("1892", "0", "")),
        (0.0, None, ("0", "", "")),
        (123456.0, 9.96, ("1.23456", "0.00010", "5")),
        (0.001, 0.05, ("0.001", "0.050", "")),
    ],
)
def test_rounding(middle: float, sd: float | None, expected: tuple[str, str, str]) -> None:
    assert tuple(latex.written(latex.Spread(middle, sd, 3))) == expected


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex")
def test_latex_takes_them(study: Grid, tmp_path: Path) -> None:
    export(study, "latex", tmp_path / "numbers.tex")
    system = SERIES.removesuffix("/seed-1")
    body = rf"\section{{\fc{{{system}/mse_pix01}}}} $\fcmean{{{system}/mse_pix01}}$ \fcsd{{{system}/mse_pix01}}"
    for wrong, words in (
        ("", ""),
        (r"\fc{no/such}", "no number is called no/such"),
        (rf"\fcsd{{{BASELINE}/mse_pix01}}", "no standard"),
    ):
        document = rf"\documentclass{{article}}\input{{numbers}}\begin{{document}}{body}{wrong}\end{{document}}"
        (tmp_path / "paper.tex").write_text(document)
        command = ["pdflatex", "-draftmode", "-interaction=nonstopmode", "paper.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert re.findall(r"^! (.*)$", done.stdout, re.MULTILINE) == [] if not wrong else words in done.stdout


# --- a notebook -----------------------------------------------------------------------------------


def executed(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], list[Any]]:
    """The names after all code cells, and what each cell ended with, in the notebook's own folder."""
    monkeypatch.chdir(path.parent)
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    shown: list[Any] = []
    names: dict[str, Any] = {"ended": shown}
    for cell in book.cells:
        if cell.cell_type == "code":
            tree = ast.parse(cell.source)
            if isinstance(last := tree.body[-1], ast.Expr):  # what a notebook shows under a cell
                tree.body[-1:] = ast.parse("ended.append(0)").body
                tree.body[-1].value.args = [last.value]  # type: ignore[attr-defined]
            exec(compile(tree, "notebook", "exec"), names)
    return names, shown


@pytest.mark.parametrize("name", [SERIES, CONVLSTM])
def test_a_notebook_makes_the_forecasts_that_were_scored(
    study: Grid, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = notebook.write(study, study.find(name), str(tmp_path / "deep" / "look.ipynb"))
    names, shown = executed(path, monkeypatch)
    assert names["apart"] <= 0.5001 / 255
    assert names["forecast"].shape == names["target"].shape
    pictures = [one._repr_png_() for one in shown if hasattr(one, "_repr_png_")]
    assert [Image.open(io.BytesIO(picture)).format for picture in pictures] == ["PNG", "PNG"]
    assert shown[-1]["mse_pix01"] == pytest.approx(
        float(((names["forecast"].clamp(0, 1) - names["target"]) ** 2).mean())
    )
    with pytest.raises(UserError, match=r"look\.ipynb exists"):
        notebook.write(study, study.find(name), str(path))


def test_a_notebook_of_another_study_says_so(study: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = notebook.write(study, study.find(SERIES), str(tmp_path / "look.ipynb"))
    path.write_text(path.read_text().replace(study.run_key(study.find(SERIES)), "00000000"))
    with pytest.raises(UserError, match="write it again"):
        executed(path, monkeypatch)


# --- what is refused ------------------------------------------------------------------------------

UNSCORED = CONVLSTM.replace("seed-1", "seed-2")


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda study, to: export(study, "csv", to, ["no/such"]), "cell no/such: not in the grid"),
        (lambda study, to: export(study, "latex", to, [UNSCORED]), "seed-2: not scored yet; `framecast status`"),
        (lambda study, to: notebook.write(study, study.find(UNSCORED), f"{to}.ipynb"), "run `framecast train"),
        (lambda study, to: notebook.write(study, study.find(BASELINE), f"{to}.ipynb"), "a baseline has no weights"),
        (lambda study, to: notebook.write(study, study.find(SERIES), f"{to}.py"), r"ends in \.ipynb"),
    ],
)
def test_what_cannot_be_told_is_one_line(
    study: Grid, tmp_path: Path, ask: Callable[[Grid, Path], Path], words: str
) -> None:
    with pytest.raises(UserError, match=words) as refused:
        ask(study, tmp_path / "out")
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", WRITERS)
def test_what_somebody_else_wrote_is_left_alone(study: Grid, tmp_path: Path, kind: str) -> None:
    if kind == "wandb-offline" and importlib.util.find_spec("wandb") is None:
        pytest.skip("the package wandb is not installed")
    if kind == "tensorboard":
        pytest.importorskip("tensorboardX")
    mine = tmp_path / "mine"
    mine.write_text("my words\n")
    with pytest.raises(UserError, match=f"{mine} exists, and is not what"):
        export(study, kind, mine)
    assert mine.read_text() == "my words\n"
    place = export(study, kind, tmp_path / "ours", [BASELINE])
    assert export(study, kind, tmp_path / "ours", [BASELINE]) == place  # what it wrote it may write again
    if place.is_dir():
        assert (place / LIST).exists()
        (place / "notes.txt").write_text("mine")
        with pytest.raises(UserError, match=r"holds notes\.txt, which"):
            export(study, kind, place)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(("kind", "package"), [("tensorboard", "tensorboardX"), ("wandb-offline", "wandb")])
def test_a_package_that_is_not_there_is_named(
    study: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, package: str
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"the package {package} is not installed; run `pip install {package}`"):
        export(study, kind, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_score_that_is_not_its_manifests_leaves_nothing_behind(study: Grid, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    path = study.score_folder(study.find(BASELINE)) / "scores.csv"
    whole, time = path.read_bytes(), path.stat()
    path.write_bytes(whole.replace(b"1", b"2"))
    try:
        for kind in ("latex", "tensorboard"):
            with pytest.raises(UserError, match=r"scores\.csv: found sha256"):
                export(study, kind, tmp_path / kind)
    finally:
        path.write_bytes(whole)
        os.utime(path, ns=(time.st_atime_ns, time.st_mtime_ns))
    assert list(tmp_path.iterdir()) == []


# --- DVC's page -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plots(built: Clone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``dvc plots show`` writes in the repository's own configuration."""
    place = tmp_path_factory.mktemp("plots")
    built("dvc", "plots", "show", "--out", str(place))
    return place / "index.html"


def test_dvcs_page_names_no_place_of_a_network(plots: Path) -> None:
    html = plots.read_text(encoding="utf-8")
    assert "vegaEmbed('#" in html
    assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)", html)
    assert set(re.findall(r"https?://[^\s\"']+", html)) == {
        "http://www.w3.org/2000/svg",  # names, not places
        "https://vega.github.io/schema/vega-lite/v5.json",
    }


@pytest.mark.skipif(not PROGRAM, reason="no Chromium")
def test_dvcs_page_draws_every_number_of_the_tables(plots: Path, built: Clone, tmp_path: Path) -> None:
    with (built.folder / "reports" / "horizon.csv").open(newline="") as file:
        expected = sorted(
            (float(row["step"]), float(row["mean"])) for row in csv.DictReader(file) if row["metric"] == "mse_pix01"
        )
    with (built.folder / "reports" / "loss_curves.csv").open(newline="") as file:
        losses = sorted(
            (float(row["step"]), float(row["loss"])) for row in csv.DictReader(file) if row["split"] == "validation"
        )
    other = tmp_path / "other.html"  # a plot of another template of DVC's
    other.write_text(plots.read_text(encoding="utf-8").replace('"mark": {"type": "line"', '"mark": {"type": "bar"', 1))
    with Browser(tmp_path / "profile") as browser:
        browser.open(plots)
        dots = "[...document.querySelectorAll('body > div')].map((plot) => [...plot.querySelectorAll('circle')].map("
        drawn = browser.js(dots + "(dot) => [Number(dot.dataset.x), Number(dot.dataset.y)]))")
        assert [sorted(map(tuple, plot)) for plot in drawn] == [losses, expected]
        assert not browser.complaints()
        assert browser.requests() == [plots.as_uri()]
        browser.open(other)
        assert "asks for a mark that is no line" in browser.js("document.querySelector('.refused').textContent")
        assert len(browser.js(dots + "(dot) => 1))")[1]) == len(expected)


# --- the page of the documentation ----------------------------------------------------------------


def commands() -> list[list[str]]:
    """The framecast commands of the page's blocks, of cells of this study instead of the page's."""
    lines = [shlex.split(line, comments=True) for line in pages.commands("docs/how-to-export.md")]
    asked = [line[1:] for line in lines if line[:1] == ["framecast"]]
    return [
        [re.sub(r"^moving_mnist/simvp/depth-3/mse/", CONVLSTM.removesuffix("seed-1"), word) for word in line]
        for line in asked
    ]


def test_the_pages_commands_do_what_they_say(study: Grid) -> None:
    told = commands()
    assert {line[1] for line in told if line[0] == "export"} == set(WRITERS)
    assert "notebook" in {line[0] for line in told}
    for line in told:
        package = {"tensorboard": "tensorboardX", "wandb-offline": "wandb"}.get(line[1], "nbformat")
        if importlib.util.find_spec(package) is None:
            continue
        done = CliRunner().invoke(app, line)
        assert done.exit_code == 0, (line, done.output, done.exception)
        assert Path(done.stdout.strip().splitlines()[-1]).exists()
    text = (ROOT / "docs/how-to-export.md").read_text(encoding="utf-8")
    macro = re.search(r"\\fc\{([^}]+)\}", text)
    assert macro
    name = macro[1].replace("moving_mnist/simvp/depth-3/mse", CONVLSTM.removesuffix("/seed-1"))
    assert name in numbers(Path("reports/partial/numbers.tex").read_text(encoding="utf-8"))
