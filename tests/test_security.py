"""What comes from outside, a name, a file, a title, stays what it is: never a command, a path, a program or markup."""

import ast
import dataclasses
import gzip
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from framecast.cluster import site
from framecast.data.fetching.fetch import ensure, fetch
from framecast.data.formats.prices import parse_prices
from framecast.data.formats.sha256sums import write_sums
from framecast.data.moving_mnist import official_digits
from framecast.errors import UserError
from framecast.figures import base
from framecast.report.render import render
from framecast.study import reading
from framecast.study.params import Entry
from tests import results_fixture
from tests.conftest import ROOT, one_line, run
from tests.report.test_report import Page

SOURCE = ROOT / "src"
TEXT = (ROOT / "tests" / "params.yaml").read_text(encoding="utf-8")

# --- names ------------------------------------------------------------------------------------------

HOSTILE = {
    "a command": "x; touch pwned",
    "a substitution": "$(touch pwned)",
    "backquotes": "`touch pwned`",
    "a pipe": "x|touch pwned",
    "a path up": "../x",
    "a path": "a/b",
    "an absolute path": "/tmp/x",
    "a hidden folder": ".x",
    "spaces": "a b",
    "quotes": "a\"b'c",
    "a newline": "a\ntouch pwned\n",
    "a trailing newline": "mse\n",
    "a null": "a\0b",
    "an option": "--help",
    "braces": "{wildcards.key}",
    "a glob": "*",
    "a variable": "$HOME",
    "a look-alike": "mоse",  # with a Cyrillic о
    "wide letters": "ｍｓｅ",
    "other digits": "mse٣",
    "capitals": "Mse",
    "nothing": "",
    "only underscores": "___",
    "a name that is no folder's": "a" * 300,
    "a name that fits no file's ending": "a" * 65,
    "an escape": "\x1b[2J",
}


def renamed(section: str, name: str) -> str:
    """The tiny study with one name changed wherever it is defined and used."""
    tree = yaml.safe_load(TEXT)
    if section == "scales":
        return yaml.safe_dump({**tree, "scale": name, "scales": {name: {}}}, allow_unicode=True)
    if section == "baselines":
        return yaml.safe_dump({**tree, "baselines": [name]}, allow_unicode=True)
    old = next(iter(tree[section]))
    tree[section] = {name if key == old else key: value for key, value in tree[section].items()}
    if section == "losses":
        tree["losses"] = {name: {"mse": 1.0}}
    for study in tree["studies"].values():
        if section in study:
            study[section] = [name if one == old else one for one in study[section]]
    return yaml.safe_dump(tree, allow_unicode=True)


SECTIONS = ("datasets", "models", "losses", "studies", "scales", "baselines", "figures")


@pytest.mark.parametrize("section", SECTIONS)
def test_a_name_that_is_no_plain_word_is_refused(tmp_path: Path, section: str) -> None:
    path = tmp_path / "params.yaml"
    for kind, name in HOSTILE.items():
        path.write_text(renamed(section, name), encoding="utf-8")
        with pytest.raises(UserError, match="allowed: ") as refused:
            reading.load(path)
        assert str(refused.value).isprintable(), kind
        assert len(str(refused.value)) < 1000, kind


def test_a_plain_name_is_not(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    for section in SECTIONS[:5]:
        path.write_text(renamed(section, ("plain_2" * 10)[:64]), encoding="utf-8")
        reading.load(path)


@pytest.mark.slow
def test_the_programs_refuse_them_in_one_line_and_run_nothing(tmp_path: Path) -> None:
    for name in ("Snakefile", "workflow", "profiles"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    before = sorted(path.name for path in tmp_path.iterdir())
    worst = ("a command", "a substitution", "backquotes", "a path up", "a newline", "an option", "braces")
    for section, kind in zip(SECTIONS, worst, strict=True):  # each name in each section: above, in this process
        (tmp_path / "params.yaml").write_text(renamed(section, HOSTILE[kind]), encoding="utf-8")
        told = one_line(run("framecast", "grid", cwd=tmp_path, check=False))
        planned = run("snakemake", "--dry-run", cwd=tmp_path, check=False)
        assert planned.returncode == 1
        assert (planned.stdout + planned.stderr).splitlines().count(told) == 1
        assert "Traceback" not in planned.stderr
        (tmp_path / "params.yaml").unlink()
        shutil.rmtree(tmp_path / ".snakemake", ignore_errors=True)
        assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "node", ['!!python/object/apply:os.system ["touch pwned"]', "!!python/name:os.system", "!!binary aGk=", "!x 1"]
)
def test_yaml_that_would_make_objects_is_refused(tmp_path: Path, node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(TEXT.replace("seeds: [1, 2]", f"seeds: {node}"))
    with pytest.raises(UserError):
        reading.load()
    assert os.listdir() == ["params.yaml"]


# --- what the rules hand to a shell -------------------------------------------------------------------

PLAIN_LETTERS = {"only underscores", "a name that is no folder's", "a name that fits no file's ending"}
#: Made of constrained wildcards, a key, or words of our own.
PLAIN = {"params.cell", "params.key", "params.in_job", "log"}


def test_rules_give_a_shell_only_what_the_constraints_let_through() -> None:
    """A placeholder of a command is a constrained wildcard, made of those, or quoted by Snakemake (``:q``)."""
    constraints = _constraints((ROOT / "workflow" / "rules" / "common.smk").read_text(encoding="utf-8"))
    for name, pattern in constraints.items():
        for kind in HOSTILE.keys() - PLAIN_LETTERS:
            hostile = HOSTILE[kind]
            assert re.fullmatch(pattern, hostile) is None, f"{name} lets {hostile!r} through"
    allowed = PLAIN | {f"wildcards.{name}" for name in constraints}
    seen = 0
    for rules in sorted((ROOT / "workflow").rglob("*.smk")):
        text = rules.read_text(encoding="utf-8")
        for command in re.findall(r"^ {4}shell:\n((?: {8}.*\n)+)", text, re.MULTILINE):
            for placeholder in re.findall(r"(?<!\{)\{([^{}]+)\}(?!\})", command):
                seen += 1
                assert placeholder in allowed or placeholder.endswith(":q"), f"{rules.name}: {placeholder}"
        assert not re.search(r"^ +(run|script|notebook|wrapper):", text, re.MULTILINE), rules.name
    assert seen >= 10


def _constraints(text: str) -> dict[str, str]:
    block = re.search(r"^wildcard_constraints:\n((?: {4}.*\n)+)", text, re.MULTILINE)
    assert block
    return {
        name: ast.literal_eval(value) for name, value in re.findall(r'^ {4}(\w+)=(r?".*"),$', block[1], re.MULTILINE)
    }


@pytest.mark.parametrize(
    "word", ["partition", "cpu_partition", "account", "qos", "gpu_type", "constraint", "extra", "device"]
)
def test_the_words_of_a_site_hold_nothing_that_a_shell_reads(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for hostile in ("x; touch pwned", "$(touch pwned)", "`touch pwned`", "a'b", 'a"b', "a\ntouch pwned", "a\\b", "a>b"):
        for written in (hostile, f"--reservation={hostile}"):
            monkeypatch.setenv(f"FRAMECAST_{word.upper()}", written)
            with pytest.raises(UserError) as refused:
                site.load()
            assert len(str(refused.value).splitlines()) == 1


# --- what the code never does -------------------------------------------------------------------------

UNPICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
EXTRACTS = {"tarfile", "zipfile", "lzma", "bz2"}
#: module → the archives that it reads member by member where they lie; that it extracts none is looked for everywhere.
READS = {
    "framecast/data/formats/softmotion.py": {"tarfile"},
    "framecast/data/formats/kth_archives.py": {"zipfile"},
}
#: module → what it may call, and why: these are annotations and rules of our own source files, never the user's text.
EVALUATES = {"framecast/study/checks.py": {"eval"}, "framecast/study/rules.py": {"eval", "compile"}}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def forbidden(path: Path) -> Iterator[str]:
    """What a source file does that this project never does."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    refused = UNPICKLES | EXTRACTS - READS.get(path.relative_to(SOURCE).as_posix(), set())
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                modules = {alias.name.split(".")[0] for alias in names}
            case ast.ImportFrom(module=str(module)):
                modules = {module.split(".")[0]}
            case _:
                continue
        yield from (f"import {module}" for module in modules & refused)
    own = EVALUATES.get(path.relative_to(SOURCE).as_posix(), set())
    loaders = {"yaml.SafeLoader", "yaml.CSafeLoader", *_safe_loaders(tree)}
    for name, call in calls(tree):
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        last = name.rsplit(".", 1)[-1]
        if name in {"eval", "exec", "compile", "__import__"} - own:
            yield f"{name}()"
        if name in {"torch.load", "torch.jit.load", "os.system", "os.popen", "pandas.read_pickle", "pd.read_pickle"}:
            yield f"{name}()"
        if last in {"extractall", "unpack_archive", "getoutput", "getstatusoutput", "read_pickle"}:
            yield f".{last}()"
        if last == "extract" and not name.endswith(".str.extract"):  # pandas has one for texts
            yield f".{last}()"
        if "allow_pickle" in given and not _is(given["allow_pickle"], False):
            yield f"{name}(allow_pickle=…)"
        if "shell" in given and not _is(given["shell"], False):
            yield f"{name}(shell=…)"
        if "weights_only" in given:
            yield f"{name}(weights_only=…)"
        if name == "yaml.load" and ast.unparse(given.get("Loader", ast.Constant(None))) not in loaders:
            yield "yaml.load() without a safe loader"
        if name in {"yaml.unsafe_load", "yaml.full_load", "yaml.load_all"}:
            yield f"{name}()"


def _is(node: ast.expr, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _safe_loaders(tree: ast.AST) -> set[str]:
    classes = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    return {node.name for node in classes if [ast.unparse(parent) for parent in node.bases] == ["yaml.SafeLoader"]}


def test_the_source_unpickles_evaluates_and_shells_out_nowhere() -> None:
    files = sorted(SOURCE.rglob("*.py"))
    assert len(files) > 70
    found = {path.relative_to(SOURCE).as_posix(): told for path in files if (told := list(forbidden(path)))}
    assert found == {}


def test_the_search_finds_what_it_looks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_security.SOURCE", tmp_path)
    for line in (
        "import pickle",
        "from joblib import load",
        "import zipfile",
        "archive.extract(member)",
        "torch.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=anything)",
        "eval(text)",
        "exec(text)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
        "archive.extractall()",
    ):
        (tmp_path / "module.py").write_text(line)
        assert list(forbidden(tmp_path / "module.py")), line
    (tmp_path / "module.py").write_text(
        "model.eval()\nnp.load(p, allow_pickle=False)\nyaml.load(t, Loader=yaml.SafeLoader)"
    )
    assert not list(forbidden(tmp_path / "module.py"))


# --- raw files ----------------------------------------------------------------------------------------

STOCKS = Entry.model_validate({"kind": "stocks", "source": "official"})
DIGITS = Entry.model_validate({"kind": "moving_mnist", "source": "official"})


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror folder of somebody else's making."""
    folder = tmp_path / "mirror"
    (folder / "stocks").mkdir(parents=True)
    monkeypatch.setenv("FRAMECAST_MIRROR", str(folder))
    return folder


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


@pytest.mark.parametrize(
    "name", ["../escaped", "/tmp/escaped", "a/../../escaped", "a/../escaped", "out/escaped", "\x1b[2J"]
)
def test_a_list_of_files_that_leads_out_of_its_folder_is_refused(mirror: Path, tmp_path: Path, name: str) -> None:
    raw = tmp_path / "raw"
    (raw / "stocks").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (raw / "stocks" / "out").symlink_to(tmp_path / "elsewhere")
    (mirror / "escaped").write_text("prices")
    (mirror / "stocks" / "out").mkdir()
    (mirror / "stocks" / "out" / "escaped").write_text("prices")
    line = f"{hashlib.sha256(b'prices').hexdigest()}  {name}\n"
    (mirror / "stocks" / "SHA256SUMS").write_text(line)
    for attempt in (lambda: fetch("stocks_daily", raw, say=lambda _: None), lambda: ensure("s", STOCKS, raw)):
        with pytest.raises(UserError, match="SHA256SUMS") as refused:
            attempt()
        assert str(refused.value).isprintable()
    assert not files_in(tmp_path / "elsewhere")
    assert [path for path in files_in(raw) if "out" not in path] == []
    assert not (tmp_path / "escaped").exists()


def test_what_is_taken_from_a_mirror_is_a_plain_file_with_the_listed_content(mirror: Path, tmp_path: Path) -> None:
    raw, listed = tmp_path / "raw", mirror / "stocks" / "daily_AAA.csv"
    (tmp_path / "secret").write_text("not for everybody")
    write_sums(mirror / "stocks" / "SHA256SUMS", {"daily_AAA.csv": hashlib.sha256(b"prices").hexdigest()})
    for target in (tmp_path / "secret", Path("/dev/zero"), mirror / "stocks", listed):
        listed.symlink_to(target)
        with pytest.raises((UserError, OSError), match=r"daily_AAA\.csv|symbolic links"):
            ensure("stocks", STOCKS, raw)
        listed.unlink()
        assert files_in(raw) == []
    (tmp_path / "prices").write_text("prices")
    listed.symlink_to(tmp_path / "prices")
    ensure("stocks", STOCKS, raw, say=lambda _: None)
    assert not (raw / "stocks" / "daily_AAA.csv").is_symlink()
    assert (raw / "stocks" / "daily_AAA.csv").read_text() == "prices"


def test_a_gzip_bomb_is_never_unpacked(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published digest is asked first, so no byte of another file reaches the decompressor."""
    bomb = gzip.compress(bytes(1 << 20)) * 64
    name = "train-images-idx3-ubyte.gz"
    (mirror / name).write_bytes(bomb)
    with pytest.raises(UserError, match=f"{name}: could not be fetched"):
        ensure("moving_mnist", DIGITS, tmp_path / "raw", say=lambda _: None)
    assert files_in(tmp_path / "raw") == [f"mnist/{name}.part"]
    (tmp_path / "raw" / "mnist" / name).write_bytes(bomb)

    def unpacked(*_: object, **__: object) -> bytes:
        raise AssertionError("unpacked")

    for module, function in ((gzip, "decompress"), (gzip, "open"), (gzip, "GzipFile")):
        monkeypatch.setattr(module, function, unpacked)
    with pytest.raises(UserError, match=f"{name}: expected sha256 440fcab.*found {hashlib.sha256(bomb).hexdigest()}"):
        official_digits(tmp_path / "raw")


ROW = '{"1. open": "1", "4. close": "1", "5. volume": "1"}'
PRICES = {
    "nested": ('{"a":' * 100_000, "expected whole JSON"),
    "nested deeper": ('{"Time Series (Daily)":' + "[" * 100_000, "expected whole JSON"),
    "no facts": (f'{{"Meta Data": "x", "Time Series (Daily)": {{"2020-01-01": {ROW}}}}}', None),
    "lists": ('{"Time Series (Daily)": {"2020-01-01": [1, 2]}}', "expected stamps"),
    "text": ('{"Time Series (Daily)": {"2020-01-01": "x"}}', "expected stamps"),
    "markup": (
        f'{{"Meta Data": {{"2. Symbol": "<script>"}}, "Time Series (Daily)": {{"2020-01-01": {ROW}}}}}',
        "expected a ticker as '2. Symbol', found '<script>'",
    ),
    "a list": (
        f'{{"Meta Data": {{"2. Symbol": ["A"]}}, "Time Series (Daily)": {{"2020-01-01": {ROW}}}}}',
        "expected a ticker",
    ),
    "an open quote": ('timestamp,open,high,low,close,volume\n"2020-01-01,1,1,1,1,1\n', "expected CSV"),
}


@pytest.mark.parametrize("kind", PRICES)
def test_prices_that_break_their_format_are_refused_in_one_line(kind: str) -> None:
    text, told = PRICES[kind]
    if told is None:
        assert parse_prices(text.encode(), "daily_AAA.json").ticker == "AAA"
        return
    with pytest.raises(UserError, match=re.escape(told)) as refused:
        parse_prices(text.encode(), "daily_AAA.json")
    assert len(str(refused.value).splitlines()) == 1


# --- the report ---------------------------------------------------------------------------------------

MARKUP = (
    "<script>alert(1)</script>",
    "</title></style></script><script>alert(2)</script>",
    "\"'><img src=x onerror=alert(3)>",
    "--><svg onload=alert(4)>]]>",
    "{{ 7 * 19119119 }}{% raw %}",
    "&lt;script&gt;alert(5)&lt;/script&gt;",
)


@pytest.mark.parametrize("text", MARKUP)
def test_markup_in_params_and_manifests_is_text_in_the_report(tmp_path: Path, text: str) -> None:
    """Titles come from params.yaml; origins, descriptions and parameters come through the manifests."""
    results = results_fixture.fabricate(tmp_path / "results", datasets=("stocks_by_ticker",))
    for cell in results.cells:
        for manifest in (cell.score_folder, cell.run_folder):
            for path in manifest.glob("*.json") if manifest else ():
                told = json.loads(path.read_text())
                told |= {name: text for name in ("origin", "split", "device") if name in told}
                if "parameters" in told:
                    told["parameters"] |= {"test_tickers": [text], text: text}
                path.write_text(json.dumps(told))
    written = tmp_path / "params.yaml"
    tree = yaml.safe_load(TEXT)
    tree["studies"]["sequence_depth"]["title"] = text
    written.write_text(yaml.safe_dump(tree))
    study = reading.load(written).studies["sequence_depth"].model_copy(update={"datasets": ("stocks_by_ticker",)})
    html = render(results, {}, {"sequence_depth": study}, "laptop")
    page, tags = Page(html), [tag for tag, _ in Page(html).tags]
    assert (tags.count("script"), tags.count("style"), tags.count("title"), tags.count("img")) == (1, 1, 1, 0)
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert page.text.count(text) >= 5
    assert str(7 * 19119119) not in html


@pytest.mark.parametrize("text", MARKUP)
def test_markup_in_names_is_drawn_in_figures(tmp_path: Path, text: str) -> None:
    """No name of params.yaml can hold it; a figure that somebody adds may still draw it."""
    results = results_fixture.fabricate(tmp_path, datasets=("stocks_by_ticker",))
    cells = tuple(dataclasses.replace(cell, model=text) if cell.loss else cell for cell in results.cells)
    tables = {
        name: getattr(results, name).assign(
            model=getattr(results, name)["model"].replace("seq2seq_lstm_as_coded", text)
        )
        for name in ("scores", "horizon")
    }
    hostile = dataclasses.replace(results, cells=cells, **tables)
    for figure in ("error_vs_horizon", "depth_sweep", "training_curves"):
        drawn = base.svg(figure, hostile, "stocks_by_ticker")
        tags = {element.tag.split("}")[-1] for element in ElementTree.fromstring(drawn).iter()}
        assert not tags & {"script", "foreignObject", "image", "a"}
        assert b"onload=" not in re.sub(rb"<!--.*?-->", b"", drawn, flags=re.DOTALL)


def test_only_our_own_style_and_script_go_into_the_page_unescaped() -> None:
    templates = SOURCE / "framecast" / "report" / "templates"
    unescaped = [
        match
        for path in templates.glob("*.j2")
        for match in re.findall(r"\{\{([^}]*\|\s*safe[^}]*)\}\}", path.read_text())
    ]
    assert {match.strip() for match in unescaped} == {"script | safe", "style | safe"}
    for path in templates.glob("*.j2"):
        assert "autoescape" not in path.read_text()


# --- keys ---------------------------------------------------------------------------------------------

KEY = "S3CR3TK3Y0042XYZ"


@pytest.mark.slow
def test_a_key_in_the_environment_reaches_no_file_and_no_message(study: Path) -> None:
    """Everything that a study leaves, the records of failed attempts with it."""
    cell = "generated_sins/seq2seq_lstm/depth-1/mse/seed-1"
    (study / "params.yaml").write_text(re.sub(r"figures: \{.*\}", "figures: {training_curves: all}", TEXT))
    said = []
    for command in (
        ("prepare", "generated_sins"),
        ("train", cell, "--time-budget", "0.001"),
        ("train", cell),
        ("evaluate", cell),
        ("evaluate", "moving_mnist/zeros"),
        ("grid",),
    ):
        done = run("framecast", *command, cwd=study, check=False, ALPHA_VANTAGE_KEY=KEY)
        said.append(done.stdout + done.stderr)
    files = [path for path in study.rglob("*") if path.is_file()]
    assert any(path.name == "score.json" for path in files)
    assert not [path for path in files if KEY.encode() in path.read_bytes() or KEY in str(path)]
    assert KEY not in "".join(said)
