"""The reference, out of the source: ``--help`` of every verb, params.yaml, docstrings of what a study is made of."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import griffe
import typer

from framecast.cli import app
from framecast.study import catalogue

ROOT = Path(__file__).resolve().parents[2]
COMMANDS, PARAMETERS = "reference/commands.md", "reference/params.md"
WIDTH = 100  #: characters of the terminal that ``--help`` is asked in
ARGUMENTS = "Its keyword-only arguments are what may be said there beside it, and their annotations what is allowed."
SYSTEMS = f"A name below is the `kind` of an entry under `models:` in [params.yaml](params.md). {ARGUMENTS}"
BASELINES = (
    "What every system is held against: nothing of them is trained by gradients, and a name below is one of "
    "`baselines:` in [params.yaml](params.md). They share [the interface of systems](systems.md#framecast.models.base)."
)
DATASETS = (
    f"A name below is the `kind` of an entry under `datasets:` in [params.yaml](params.md). {ARGUMENTS} Where "
    "published files come from is told in [Data](../data.md)."
)
LOSSES = f"A loss under `losses:` in [params.yaml](params.md) is a weighted sum of the terms below. {ARGUMENTS}"
METRICS = (
    "Every convention of the literature has an id of its own, and two ids are never interchangeable. "
    "`evaluation.metrics` in [params.yaml](params.md) lists ids; a file below holds a family of them."
)
FIGURES = "A name below is a key of `figures:` in [params.yaml](params.md), and what `framecast figure NAME` draws."
RULE = re.compile(r"=+(?:  +=+)+")


class Docstrings(griffe.Extension):
    """Docstrings as Markdown: their tables, and their examples, which Markdown would take for quotations."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Turn the docstring of whatever is found, paragraph by paragraph."""
        if obj.docstring:
            obj.docstring.value = "\n\n".join(map(_as_markdown, obj.docstring.value.split("\n\n")))


def _as_markdown(paragraph: str) -> str:
    first, *lines = paragraph.split("\n")
    if first.startswith(">>> "):
        return f"```pycon\n{paragraph}\n```"
    if not RULE.fullmatch(first):
        return paragraph
    starts = [found.start() for found in re.finditer("=+", first)]
    rows: list[tuple[str, ...]] = []
    for line in lines:
        cells = _cells(line, starts)
        if rows and not cells[0]:  # goes on with the row above
            rows[-1] = tuple(" ".join(filter(None, both)) for both in zip(rows[-1], cells, strict=True))
        elif not RULE.fullmatch(line):
            rows.append(cells)
    return _table(rows[0], rows[1:]) if RULE.fullmatch(lines[1]) else _table(("",) * len(starts), rows)


def _cells(line: str, starts: list[int]) -> tuple[str, ...]:
    """The cells of a line, of which one may reach over several columns; ``..`` stands for an empty one."""
    begin = [start for start in starts if not line[max(start - 2, 0) : start].strip()]
    texts = {start: line[start:end].strip() for start, end in zip(begin, [*begin[1:], None], strict=True)}
    return tuple(texts.get(start, "").removeprefix("..") for start in starts)


def pages() -> dict[str, str]:
    """Page → its text."""
    return {
        COMMANDS: _commands(),
        PARAMETERS: _parameters(),
        "reference/systems.md": _entries("Systems", "models", catalogue.trained(), SYSTEMS),
        "reference/baselines.md": _entries("Baselines", "models", catalogue.baselines(), BASELINES, base=False),
        "reference/datasets.md": _entries("Datasets", "data", catalogue.names("data"), DATASETS),
        "reference/losses.md": _entries("Losses", "losses", catalogue.names("losses"), LOSSES),
        "reference/metrics.md": _entries("Metrics", "metrics", catalogue.names("metrics"), METRICS, _metrics()),
        "reference/figures.md": _entries("Figures", "figures", catalogue.names("figures"), FIGURES),
    }


def block(path: Path, language: str) -> str:
    """A file as a block of code."""
    return f"````{language}\n{path.read_text(encoding='utf-8')}\n````"


# --- the command line -----------------------------------------------------------------------------


def _commands() -> str:
    """What ``--help`` prints, of framecast and of each verb, and of ``make``."""
    group = typer.main.get_command(app)
    whole = group.context_class(group, info_name="framecast", terminal_width=WIDTH)
    verbs = [
        f"## framecast {name}\n\n```text\n{_help(verb, name, whole)}\n```" for name, verb in group.commands.items()
    ]
    return "\n\n".join(
        [
            "# Commands",
            "Each verb is run from the root of the repository. A mistake is one line and an exit code of 1; 75 says "
            "that something is not finished and goes on when the command is given again.",
            f"```text\n{group.get_help(whole)}\n```",
            *verbs,
            "## make",
            "Each target builds the locked environment first.",
            *_targets(),
        ]
    )


def _help(verb: Any, name: str, whole: Any) -> str:
    return verb.get_help(verb.context_class(verb, info_name=name, parent=whole, terminal_width=WIDTH))


def _targets() -> list[str]:
    """The targets of the Makefile with what they say of themselves, as a table."""
    told = re.findall(r"^([a-z-]+):[^#\n]*## (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    return [_table(("target", "what it does"), ((f"`make {name}`", text) for name, text in told))]


def _parameters() -> str:
    """The whole of params.yaml: its comments say what each value is."""
    return "\n\n".join(
        [
            "---\nsearch: {exclude: true}\n---",
            "# params.yaml",
            "Every number that a reviewer would ask about, as it stands in the repository. What a kind of system, "
            "dataset or loss can be told stands in its signature: [systems](systems.md), [baselines](baselines.md), "
            "[datasets](datasets.md), [losses](losses.md), [metrics](metrics.md), [figures](figures.md).",
            block(ROOT / "params.yaml", "yaml"),
        ]
    )


# --- docstrings -----------------------------------------------------------------------------------


def _entries(title: str, package: str, names: Iterable[str], told: str, facts: str = "", *, base: bool = True) -> str:
    """A page of every entry of one kind, and of what they have in common."""
    rows = [
        (f"[`{name}`](#framecast.{package}.{name})", _told(f"{package}.{name}"), catalogue.frames(package, name))
        for name in names
    ]
    return "\n\n".join(
        [
            f"# {title}",
            told,
            facts,
            _table(("name", "what it is", "frames"), rows),
            *(_documented(package, name, name) for name in names),
            *([_documented(package, "base", "What they have in common")] if base else []),
        ]
    )


def _metrics() -> str:
    """Every id of a metric, as a table."""
    rows = [
        (
            f"`{metric}`",
            catalogue.metric_fact(metric, "unit"),
            catalogue.metric_fact(metric, "better"),
            f"[`{module}`](#framecast.metrics.{module}.{name})",
        )
        for metric, (module, name) in catalogue.metrics().items()
    ]
    return _table(("id", "unit", "better", "in"), rows)


def _told(module: str) -> str:
    """What the docstring of a module of ours begins with."""
    tree = ast.parse((ROOT / "src" / "framecast" / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n\n")[0].replace("\n", " ")


def _documented(package: str, name: str, heading: str) -> str:
    return f'::: framecast.{package}.{name}\n    options: {{heading: "{heading}", toc_label: "{heading}"}}'


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table of Markdown."""
    cells = [head, tuple("---" for _ in head), *(tuple(cell.replace("|", r"\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
