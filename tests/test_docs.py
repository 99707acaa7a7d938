"""The documentation: its site builds without a warning or a network, and every command in it is run or says why not."""

import ast
import importlib.util
import logging
import os
import re
import subprocess
import sys
import tomllib
from html import unescape
from html.parser import HTMLParser
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from framecast.artifacts import sha256_of
from framecast.cli import app
from framecast.data.formats.sha256sums import read_sums
from framecast.study import catalogue, reading
from framecast.study.grid import Grid
from tests import pages
from tests.conftest import ROOT

needs_mkdocs = pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None, reason="no MkDocs here: `make test` and `make docs` install it"
)

# --- commands -------------------------------------------------------------------------------------


def test_every_block_of_shell_commands_is_run_or_says_why_not() -> None:
    """A test that follows a page asks ``tests.pages`` for it by its name."""
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    followed = set(re.findall(r'pages\.(?:scripts|commands)\("([^"]+)"\)', sources))
    assert followed == {page for page in pages.PAGES if pages.scripts(page)}


def test_no_command_hides_in_a_block_of_another_kind() -> None:
    program = re.compile(r"^ *(framecast|snakemake|dvc|git|make|pip|python|source|export) ", re.MULTILINE)
    for page in pages.PAGES:
        for block in pages.blocks(page):
            assert block.language, f"{page}: a block without a language: {block.text}"
            assert not block.why_not or block.language == "sh", f"{page}: a reason for what is no command"
            assert block.language in ("sh", "python", "yaml") or not program.search(block.text), f"{page}: {block.text}"
        left = pages.FENCED.sub("", (ROOT / page).read_text(encoding="utf-8"))
        assert "```" not in left, page
        assert "\n<!-- not run:" not in left, f"{page}: a reason in front of nothing"
        indented = re.compile(r"^    " + program.pattern.lstrip("^"), re.MULTILINE)
        assert not indented.search(left), page


def test_every_cell_that_a_reader_is_told_to_type_is_in_the_demo() -> None:
    demo = {cell.name for cell in Grid(reading.load(ROOT / "params.yaml")).cells}
    typed = [(ROOT / "README.md").read_text(encoding="utf-8")]
    typed += chain.from_iterable(pages.scripts(page) for page in pages.PAGES)
    cells = re.findall(r"\w+/\w+/depth-\d+/\w+/seed-\d+", "\n".join(typed))
    assert cells
    assert set(cells) <= demo


def test_the_change_of_the_tutorial_moves_what_it_says(tmp_path: Path) -> None:
    """Four cells of the LSTM, all of them and no other."""
    (change,) = [block.text for block in pages.blocks("docs/tutorial.md") if block.language == "diff"]
    removed, added = (line[1:] for line in change.splitlines())
    before = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert before.count(removed) == 1
    assert "scale: demo " in before
    (tmp_path / "params.yaml").write_text(before.replace(removed, added), encoding="utf-8")
    old, new = (Grid(reading.load(folder / "params.yaml")) for folder in (ROOT, tmp_path))
    moved = {cell.model for cell in old.cells if old.run_key(cell) != new.run_key(cell)}
    assert moved == {"seq2seq_lstm"}
    assert len([cell for cell in old.cells if cell.model == "seq2seq_lstm"]) == 4


def test_a_list_of_own_files_is_written_as_the_page_of_data_says(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "raw" / "kth"
    folder.mkdir(parents=True)
    for name in ("00sequences.txt", "person01_walking_d1_uncomp.avi"):
        (folder / name).write_text(name)
    for script in pages.scripts("docs/data.md"):
        subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, check=True)
    listed = {path.removeprefix("./"): digest for path, digest in read_sums(folder / "SHA256SUMS").items()}
    assert listed == {path.name: sha256_of(path) for path in folder.iterdir() if path.name != "SHA256SUMS"}


# --- the site -------------------------------------------------------------------------------------


def test_what_builds_the_site_is_locked_and_not_installed_for_the_demo() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {re.split("[<>=]", one)[0] for one in project["optional-dependencies"]["docs"]}
    demo, _, docs = (ROOT / "requirements.lock").read_text(encoding="utf-8").partition("\n# docs")
    locked = [dict(line.split("==") for line in part.splitlines() if "==" in line) for part in (demo, docs)]
    assert wanted <= locked[1].keys()
    assert not locked[0].keys() & locked[1].keys()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as ``make docs`` builds it: strictly."""
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


class Links(HTMLParser):
    """What a page asks for while it loads, where it leads, and the places in it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads: list[str] = []
        self.places: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.places.add(told.get("id") or "")
        if tag == "a":
            self.leads.append(told.get("href") or "")
        else:
            self.loads += [value for name in ("src", "srcset", "href", "data", "poster") if (value := told.get(name))]


@needs_mkdocs
def test_no_page_asks_a_network_for_anything(site: Path) -> None:
    read = list(site.rglob("*.html"))
    assert len(read) > 40
    for page in read:
        loads = [found for found in Links(page).loads if not found.startswith("data:")]
        assert loads, page
        for target in loads:
            assert not re.match(r"\w+:|//", target), f"{page.name}: {target}"
            assert page.name == "404.html" or (page.parent / re.split("[?#]", target)[0]).exists(), f"{page}: {target}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(\w+:)?//", sheet.read_text(encoding="utf-8")), sheet


@needs_mkdocs
def test_every_page_is_in_the_navigation(site: Path) -> None:
    listed = set(Links(site / "index.html").leads)
    for page in pages.PAGES[1:]:
        assert page.removeprefix("docs/").replace(".md", ".html") in listed


@needs_mkdocs
def test_the_reference_has_every_verb_and_every_entry(site: Path) -> None:
    told = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    verbs = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert len(verbs) > 20
    shown = CliRunner().invoke(app, ["predict", "--help"], prog_name="framecast", env={"COLUMNS": "100"})
    assert {f"framecast-{verb}" for verb in verbs} <= Links(site / "reference" / "commands.html").places
    for line in shown.stdout.splitlines():
        assert line.strip().replace("<", "&lt;").replace(">", "&gt;") in told
    places = {page.stem: Links(page).places for page in (site / "reference").glob("*.html")}
    for page, package, names in (
        ("systems", "models", catalogue.trained()),
        ("baselines", "models", catalogue.baselines()),
        ("datasets", "data", catalogue.names("data")),
        ("losses", "losses", catalogue.names("losses")),
        ("metrics", "metrics", catalogue.names("metrics")),
        ("figures", "figures", catalogue.names("figures")),
    ):
        assert {f"framecast.{package}.{name}" for name in names} <= places[page]
    for page in (site / "reference").glob("*.html"):
        assert not re.search("====|<blockquote", page.read_text(encoding="utf-8")), f"{page}: not Markdown"


@needs_mkdocs
def test_the_reference_has_every_word_of_a_docstring_and_every_argument(site: Path) -> None:
    for page, package, names in (
        ("systems", "models", catalogue.trained()),
        ("datasets", "data", catalogue.names("data")),
        ("losses", "losses", catalogue.names("losses")),
        ("metrics", "metrics", catalogue.names("metrics")),
    ):
        shown = unescape(re.sub("<[^>]+>", "", (site / "reference" / f"{page}.html").read_text(encoding="utf-8")))
        words = set(re.findall(r"\w+", shown))
        for name in names:
            tree = ast.parse((ROOT / "src" / "framecast" / package / f"{name}.py").read_text(encoding="utf-8"))
            missing = set(re.findall(r"\w+", ast.get_docstring(tree) or "")) - words
            assert not missing, f"{package}/{name}: {missing}"
            if package != "metrics":
                assert all(f"{argument}: " in shown for argument in catalogue.keyword_arguments(f"{package}.{name}"))


@needs_mkdocs
def test_a_link_out_of_the_documentation_leads_to_its_file_and_one_to_nothing_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "hooks"))
    import pages as hook  # the site's own

    page = SimpleNamespace(file=SimpleNamespace(src_uri="decisions/0001.md"))
    text = "[a](../../src/framecast/cli.py) [b](../data.md#kth) [c](https://x.org) [d](../../params.yaml)"
    text += "\n```\n[e](f)\n```"
    assert hook.on_page_markdown(text, page) == (
        "[a](../repository/src/framecast/cli.py.md) [b](../data.md#kth) [c](https://x.org) [d](../reference/params.md)"
        "\n```\n[e](f)\n```"
    )
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        hook.on_page_markdown("[a](../../src/nothing.py)", page)
    assert [record.getMessage() for record in caplog.records] == [
        "decisions/0001.md: link to ../../src/nothing.py, which is not there"
    ]
