"""What exists, read from the source files without importing them.

The name of a module is the name in ``params.yaml``: every file of ``data/``, ``models/``, ``losses/``, ``metrics/`` and
``figures/`` except ``base.py`` is one entry, and nothing is registered anywhere. What several entries share
lives in a subfolder. Reading the parsed source instead of importing keeps torch out of ``snakemake`` and
``framecast --help``, and gives each entry a *fingerprint* that comments and docstrings do not change.
"""

import hashlib
import importlib
import inspect
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from framecast.errors import UserError
from framecast.study import source
from framecast.study.source import ClassFacts, Source

AFFECTS_NUMBERS = False  # whatever it finds is in the keys
PACKAGE = Path(__file__).parents[1]


@cache
def names(package: str) -> tuple[str, ...]:
    """The entries of ``data``, ``models``, ``losses``, ``metrics`` or ``figures``: its module names, sorted."""
    stems = (path.stem for path in (PACKAGE / package).glob("*.py"))
    return tuple(sorted(stem for stem in stems if stem not in ("__init__", "base")))


@cache
def baselines() -> tuple[str, ...]:
    """The models without training: their class derives from ``Baseline``."""
    return tuple(name for name in names("models") if "Baseline" in _bases_of_entry(f"models.{name}"))


def _bases_of_entry(module: str) -> list[str]:
    found = said(module)
    return found.classes[found.entry].bases if found.entry in found.classes else []


def trained() -> tuple[str, ...]:
    """The models that have weights to train."""
    return tuple(name for name in names("models") if name not in baselines())


@cache
def said(module: str) -> Source:
    """What the source of ``framecast.<module>`` says of itself."""
    path = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    return source.read(path if path.exists() else path.with_suffix("") / "__init__.py")


def constant(module: str, name: str, default: Any = None) -> Any:
    """The literal value of a top-level ``NAME = …`` of a module, or ``default`` when it has none."""
    value = _constant(module, name)
    return default if value is ... else value


@cache
def _constant(module: str, name: str) -> Any:
    found = said(module)
    if name in found.computed:
        raise ValueError(f"framecast.{module}: {name} is not a literal, so that it could be read without an import")
    return source.value_of(found.constants[name]) if name in found.constants else ...


def frames(package: str, name: str) -> str:
    """``series`` (B, T, C), ``video`` (B, T, C, H, W) or ``any``: the module's ``FRAMES``."""
    return constant(f"{package}.{name}", "FRAMES", "any")


def side(kind: str, arguments: Mapping[str, Any]) -> tuple[int, str]:
    """Pixels along the shorter side of a video dataset's frames, and the argument that says so, where one does."""
    stated: int | str = constant(f"data.{kind}", "SIDE")
    return (arguments[stated], stated) if isinstance(stated, str) else (stated, "")


def raw_sources(kind: str, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """What a dataset reads of ``data/raw``, by the names under which it is fetched; nothing where it needs no file.

    Its module says it as ``RAW_SOURCES = (({argument: value, …}, (source, …)), …)``: the first row whose arguments all
    have these values.
    """
    rows: tuple[tuple[dict[str, Any], tuple[str, ...]], ...] = constant(f"data.{kind}", "RAW_SOURCES", ())
    return next((sources for wanted, sources in rows if wanted.items() <= arguments.items()), ())


@cache
def keyword_arguments(module: str) -> dict[str, tuple[str, Any]]:
    """Keyword-only arguments of a module's public class or function: name → (annotation, default or ``...``)."""
    arguments = said(module).arguments
    if arguments is None:
        raise ValueError(f"framecast.{module}: the default of a keyword-only argument is not a literal")
    return {name: (annotation, source.value_of(default)) for name, (annotation, default) in arguments.items()}


@cache
def named(module: str) -> dict[str, str]:
    """The text of what the annotations of a module may name: types and literals, its own and of what it imports."""
    return {
        name: text
        for one in (*_imports(module), module)
        for name, text in (said(one).constants | said(one).types).items()
    }


def stated(kind: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A dataset's arguments, where one that is None has what its protocol states.

    Its module says it as ``STATED = {argument: {value of it: {argument that may be None: what then holds}}}``.
    """
    rows: dict[str, dict[Any, dict[str, Any]]] = constant(f"data.{kind}", "STATED", {})
    unsaid = {name: value for chooser, by in rows.items() for name, value in by[arguments[chooser]].items()}
    return {name: unsaid.get(name) if value is None else value for name, value in arguments.items()}


def given(model: str) -> tuple[str, ...]:
    """The arguments of a model that are not written beside it: the grid knows its depth, the dataset its context."""
    return tuple(name for name in ("depth", "context") if name in keyword_arguments(f"models.{model}"))


def load(package: str, name: str) -> Any:
    """Import an entry: the public class (or, without one, function) of ``framecast.<package>.<name>``.

    When a module defines several, the last one counts: files read cell first, network last.
    """
    entry = said(f"{package}.{name}").entry
    if entry is None:
        raise UserError(f"src/framecast/{package}/{name}.py: found no public class or function; allowed: one")
    return getattr(importlib.import_module(f"framecast.{package}.{name}"), entry)


# --- fingerprints ---------------------------------------------------------------------------------


def fingerprint(*modules: str) -> str:
    """sha256 over the parsed source of modules and of everything of ours that they import.

    Comments, docstrings, formatting and imports under ``if TYPE_CHECKING`` do not enter. A module that cannot
    change a number (a progress bar, a lease) says so with ``AFFECTS_NUMBERS = False`` and is left out.
    """
    digest = hashlib.sha256()
    for module in sorted(closure(*modules)):
        digest.update(f"{module}:{said(module).hash}\n".encode())
    return digest.hexdigest()


def closure(*modules: str) -> frozenset[str]:
    """The modules whose source a fingerprint is taken of."""
    return frozenset().union(*(_closure(module) for module in modules))


@cache
def _closure(module: str) -> frozenset[str]:
    """The module and, transitively, the framecast modules it imports."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        current = waiting.pop()
        if current in found or not constant(current, "AFFECTS_NUMBERS", True):
            continue
        found.add(current)
        waiting.extend(_imports(current))
    return frozenset(found)


@cache
def _imports(module: str) -> tuple[str, ...]:
    """framecast modules imported by a module, at any depth of its code except under ``if TYPE_CHECKING``."""
    found = []
    for level, path, imported in said(module).imports:
        if level < 0:
            found += [name.removeprefix("framecast.") for name in imported if "framecast." in name]
        elif level or path.split(".")[0] == "framecast":
            above = module.split(".")[:-level] if level else []
            base = ".".join([*above, *path.removeprefix("framecast").split(".")]).strip(".")
            inner = [f"{base}.{name}".lstrip(".") for name in imported]
            found += [one if _exists(one) else base for one in inner]
    return tuple(name for name in found if name)


def _exists(module: str) -> bool:
    path = PACKAGE.joinpath(*module.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def summary(module: ModuleType | Any) -> str:
    """First line of a docstring: the one-sentence description that tables print."""
    return (inspect.getdoc(module) or "").split("\n", 1)[0]


@cache
def metrics() -> dict[str, tuple[str, str]]:
    """Metric id → (module, class): every class of ``metrics/`` with an ``id = "…"``."""
    return {
        facts.literals["id"]: (module, name)
        for module in names("metrics")
        for name, facts in said(f"metrics.{module}").classes.items()
        if facts.literals.get("id") is not None
    }


def metric_fact(metric: str, name: str) -> str:
    """``unit`` or ``better`` of a metric, as its class in ``metrics/`` (or that one's base class) states it."""
    stated = [text for one in _lineage(metric) if (text := one.literals.get(name)) is not None]
    if not stated:
        raise LookupError(f"metric {metric} states no {name}")
    return stated[0]


@cache
def smallest_frame(metric: str) -> int:
    """Pixels that a metric's window takes along each side of a frame; 1 for a metric without a window."""
    return next((side for one in _lineage(metric) if (side := one.literals.get("smallest_frame")) is not None), 1)


def is_per_sequence(metric: str) -> bool:
    """Whether a metric has a value for each test sequence whose mean is its score, as the paired bootstrap needs."""
    lineage = _lineage(metric)
    own_mean = any("result" in one.methods for one in lineage)
    return lineage[-1].bases[0] == "FrameMean" and not own_mean


def _lineage(metric: str) -> list[ClassFacts]:
    """A metric's class and its base classes within the same module, nearest first."""
    module, found = metrics()[metric]
    classes = said(f"metrics.{module}").classes
    lineage = []
    while found in classes:
        lineage.append(classes[found])
        found = classes[found].bases[0]
    return lineage
