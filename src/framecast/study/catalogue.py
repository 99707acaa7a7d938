"""What exists, read from the source files without importing them.

The name of a module is the name in ``params.yaml``: every file of ``data/``, ``models/``, ``losses/``, ``metrics/`` and
``figures/`` except ``base.py`` is one entry, and nothing is registered anywhere. What several entries share
lives in a subfolder. Reading the parsed source instead of importing keeps torch out of ``snakemake`` and
``framecast --help``, and gives each entry a *fingerprint* that comments and docstrings do not change.
"""

import ast
import hashlib
import importlib
import inspect
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from framecast.errors import UserError

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
    entries = {name: _entry(parsed(f"models.{name}").body) for name in names("models")}
    return tuple(
        name
        for name, entry in entries.items()
        if isinstance(entry, ast.ClassDef) and "Baseline" in map(ast.unparse, entry.bases)
    )


def trained() -> tuple[str, ...]:
    """The models that have weights to train."""
    return tuple(name for name in names("models") if name not in baselines())


@cache
def parsed(module: str) -> ast.Module:
    """The syntax tree of ``framecast.<module>``."""
    path = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    if not path.exists():
        path = path.with_suffix("") / "__init__.py"
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def constant(module: str, name: str, default: Any = None) -> Any:
    """The literal value of a top-level ``NAME = …`` of a module, or ``default`` when it has none."""
    value = _constant(module, name)
    return default if value is ... else value


@cache
def _constant(module: str, name: str) -> Any:
    for node in parsed(module).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                return ast.literal_eval(value)
            case ast.AnnAssign(target=ast.Name(id=found), value=ast.expr() as value) if found == name:
                return ast.literal_eval(value)
    return ...


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
    function = _entry(parsed(module).body)
    if isinstance(function, ast.ClassDef):
        methods = (node for node in function.body if isinstance(node, ast.FunctionDef))
        function = next((node for node in methods if node.name == "__init__"), None)
    if function is None:
        return {}
    arguments = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    return {
        argument.arg: (ast.unparse(argument.annotation), ... if default is None else ast.literal_eval(default))
        for argument, default in arguments
        if argument.annotation is not None
    }


def given(model: str) -> tuple[str, ...]:
    """The arguments of a model that are not written beside it: the grid knows its depth, the dataset its context."""
    return tuple(name for name in ("depth", "context") if name in keyword_arguments(f"models.{model}"))


def _entry(body: list[ast.stmt]) -> ast.ClassDef | ast.FunctionDef | None:
    """The last public class of a module, or its last public function when it defines no public class."""
    public = [
        node for node in body if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_")
    ]
    classes = [node for node in public if isinstance(node, ast.ClassDef)]
    return (classes or public or [None])[-1]


def load(package: str, name: str) -> Any:
    """Import an entry: the public class (or, without one, function) of ``framecast.<package>.<name>``.

    When a module defines several, the last one counts: files read cell first, network last.
    """
    entry = _entry(parsed(f"{package}.{name}").body)
    if entry is None:
        raise UserError(f"src/framecast/{package}/{name}.py: found no public class or function; allowed: one")
    return getattr(importlib.import_module(f"framecast.{package}.{name}"), entry.name)


# --- fingerprints ---------------------------------------------------------------------------------


def fingerprint(*modules: str) -> str:
    """sha256 over the parsed source of modules and of everything of ours that they import.

    Comments, docstrings, formatting and imports under ``if TYPE_CHECKING`` do not enter. A module that cannot
    change a number (a progress bar, a lease) says so with ``AFFECTS_NUMBERS = False`` and is left out.
    """
    digest = hashlib.sha256()
    for module in sorted(closure(*modules)):
        digest.update(f"{module}:{_source_hash(module)}\n".encode())
    return digest.hexdigest()


def closure(*modules: str) -> frozenset[str]:
    """The modules whose source a fingerprint is taken of."""
    return frozenset().union(*(_closure(module) for module in modules))


def hash_of(source: str) -> str:
    """What a fingerprint takes of one module's source. Raises SyntaxError for what is not Python."""
    return _hash(ast.parse(source))


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
    for node in ast.walk(_without_type_checking(parsed(module))):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == "framecast"):
            above = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *(node.module or "").removeprefix("framecast").split(".")]).strip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}".lstrip(".")
                found.append(inner if _exists(inner) else base)
        elif isinstance(node, ast.Import):
            found += [alias.name.removeprefix("framecast.") for alias in node.names if "framecast." in alias.name]
    return tuple(name for name in found if name)


def _exists(module: str) -> bool:
    path = PACKAGE.joinpath(*module.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


@cache
def _source_hash(module: str) -> str:
    return _hash(parsed(module))


def _hash(tree: ast.Module) -> str:
    stripped = _WithoutDocstrings().visit(_without_type_checking(tree))
    return hashlib.sha256(repr(_plain(stripped)).encode()).hexdigest()


def _plain(node: Any) -> Any:
    """A syntax tree as nested tuples and lists, without empty fields: these differ between versions of Python."""
    if isinstance(node, list):
        return [_plain(one) for one in node]
    if not isinstance(node, ast.AST):
        return node
    fields = ((name, value) for name, value in ast.iter_fields(node) if value is not None and value != [])
    return type(node).__name__, [(name, _plain(value)) for name, value in fields]


def _without_type_checking(tree: ast.Module) -> ast.Module:
    """A copy of the top level without ``if TYPE_CHECKING`` blocks."""
    body = [node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))]
    return ast.Module(body=body, type_ignores=[])


class _WithoutDocstrings(ast.NodeTransformer):
    def _strip(self, node: Any) -> Any:
        self.generic_visit(node)
        match node.body:
            case [ast.Expr(value=ast.Constant(value=str())), *rest]:
                copy = type(node)(**dict(ast.iter_fields(node)))
                copy.body = rest or [ast.Pass()]
                return copy
        return node

    visit_Module = visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _strip


def summary(module: ModuleType | Any) -> str:
    """First line of a docstring: the one-sentence description that tables print."""
    return (inspect.getdoc(module) or "").split("\n", 1)[0]


@cache
def metrics() -> dict[str, tuple[str, str]]:
    """Metric id → (module, class): every class of ``metrics/`` with an ``id = "…"``."""
    found = {}
    for module in names("metrics"):
        for node in parsed(f"metrics.{module}").body:
            if isinstance(node, ast.ClassDef) and (identifier := _literal(node, "id")) is not None:
                found[identifier] = (module, node.name)
    return found


def metric_fact(metric: str, name: str) -> str:
    """``unit`` or ``better`` of a metric, as its class in ``metrics/`` (or that one's base class) states it."""
    stated = [text for node in _lineage(metric) if (text := _literal(node, name)) is not None]
    if not stated:
        raise LookupError(f"metric {metric} states no {name}")
    return stated[0]


@cache
def smallest_frame(metric: str) -> int:
    """Pixels that a metric's window takes along each side of a frame; 1 for a metric without a window."""
    return next((side for node in _lineage(metric) if (side := _literal(node, "smallest_frame")) is not None), 1)


def is_per_sequence(metric: str) -> bool:
    """Whether a metric has a value for each test sequence whose mean is its score, as the paired bootstrap needs."""
    lineage = _lineage(metric)
    methods = {node.name for one in lineage for node in one.body if isinstance(node, ast.FunctionDef)}
    return ast.unparse(lineage[-1].bases[0]) == "FrameMean" and "result" not in methods


def _lineage(metric: str) -> list[ast.ClassDef]:
    """A metric's class and its base classes within the same module, nearest first."""
    module, found = metrics()[metric]
    classes = {node.name: node for node in parsed(f"metrics.{module}").body if isinstance(node, ast.ClassDef)}
    lineage = []
    while found in classes:
        lineage.append(classes[found])
        found = ast.unparse(classes[found].bases[0])
    return lineage


def _literal(node: ast.ClassDef, name: str) -> Any:
    """The literal that a class body assigns to a name; None where it assigns none."""
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=found)], value=ast.Constant(value=value)) if found == name:
                return value
    return None
