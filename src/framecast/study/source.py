"""What a source file says of itself, read without importing it, and remembered beside its ``.pyc``.

To parse every file of a study's systems and to walk their trees takes a third of a second, which each job of a grid
would pay twice. What is found is therefore kept in ``__pycache__``, one small file for each source file, and holds for
exactly these bytes of it and of this module. Where nothing may be written (a shared checkout, PYTHONDONTWRITEBYTECODE)
it is found anew each time.
"""

import ast
import contextlib
import hashlib
import importlib.util
import json
import os
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

AFFECTS_NUMBERS = False  # what it finds is in the keys


@dataclass(frozen=True)
class ClassFacts:
    """A class of a source file.

    ``literals`` are the plain values (text, numbers, None) that its body assigns to a name, ``methods`` the functions
    that it defines.
    """

    bases: list[str]
    literals: dict[str, Any]
    methods: list[str]


@dataclass(frozen=True)
class Source:
    """A source file: its literals, types, classes and imports, its entry with the keyword-only arguments, and its hash.

    Of ``constants`` and defaults it holds the text; ``value_of`` gives the value. ``computed`` are names that the top
    level assigns something to that is no literal, ``types`` the text of those among them that stand for
    ``Annotated[…]`` or ``Literal[…]``. The entry is the last public class, or the last public function of a file
    without one; its arguments are None where a default is no literal. ``imports`` are [level, module, names] as they
    are written; ``hash`` is a sha256 that comments, docstrings, formatting and ``if TYPE_CHECKING`` do not change.
    """

    constants: dict[str, str]
    computed: list[str]
    types: dict[str, str]
    classes: dict[str, ClassFacts]
    entry: str | None
    arguments: dict[str, list[str]] | None
    imports: list[list[Any]]
    hash: str


def read(path: Path) -> Source:
    """What a file says. Raises SyntaxError for what is not Python, OSError for what cannot be read."""
    text = path.read_bytes()
    holds_for = hashlib.sha256(_this() + text).hexdigest()
    kept = Path(importlib.util.cache_from_source(str(path))).with_suffix(".facts")
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):  # absent, or torn: it is written anew
        told = json.loads(kept.read_bytes())
        if told.pop("holds_for") == holds_for:
            return _from_builtins(**told)
    found = of(text.decode("utf-8"), str(path))
    if not sys.dont_write_bytecode:
        _keep(kept, json.dumps({"holds_for": holds_for, **asdict(found)}).encode())
    return found


def of(text: str, name: str = "<source>") -> Source:
    """What a text says. Raises SyntaxError for what is not Python."""
    tree = ast.parse(text, filename=name)
    constants, computed = _assigned(tree.body)
    entry = _entry(tree.body)
    return Source(
        constants=constants,
        computed=computed,
        types=_types(tree.body),
        classes={node.name: _class_facts(node) for node in tree.body if isinstance(node, ast.ClassDef)},
        entry=entry.name if entry else None,
        arguments=_keyword_arguments(entry),
        imports=_imports(tree),
        hash=_hash(tree),
    )


# --- kept beside the .pyc ---------------------------------------------------------------------------


@cache
def _this() -> bytes:
    return Path(__file__).read_bytes()


def _keep(kept: Path, content: bytes) -> None:
    """Written whole or not at all; where it may not be written, it is not kept."""
    beside = kept.with_name(f"{kept.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        beside.replace(kept)


def _from_builtins(*, classes: dict[str, Any], **others: Any) -> Source:
    return Source(classes={name: ClassFacts(**facts) for name, facts in classes.items()}, **others)


# --- found in the tree --------------------------------------------------------------------------------


def _assigned(body: list[ast.stmt]) -> tuple[dict[str, str], list[str]]:
    """The literals of a module's top level, the first of each name; and names of which the first is no literal."""
    constants: dict[str, str] = {}
    computed: list[str] = []
    for node in body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                pass
            case _:
                continue
        if name not in constants and name not in computed:
            if (literal := _literal(value)) is None:
                computed.append(name)
            else:
                constants[name] = literal
    return constants, computed


def _types(body: list[ast.stmt]) -> dict[str, str]:
    """The types that a module's top level gives a name."""
    found = {}
    for node in body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id=name)], value=ast.Subscript(value=ast.Name(id="Annotated" | "Literal")) as value
            ):
                found[name] = ast.unparse(value)
    return found


def _class_facts(node: ast.ClassDef) -> ClassFacts:
    literals: dict[str, Any] = {}
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value)) if _is_plain(value):
                literals.setdefault(name, value)
    methods = [one.name for one in node.body if isinstance(one, ast.FunctionDef)]
    return ClassFacts([ast.unparse(base) for base in node.bases], literals, methods)


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _entry(body: list[ast.stmt]) -> ast.ClassDef | ast.FunctionDef | None:
    """The last public class of a module, or its last public function when it defines no public class."""
    public = [
        node for node in body if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_")
    ]
    classes = [node for node in public if isinstance(node, ast.ClassDef)]
    return (classes or public or [None])[-1]


def _keyword_arguments(entry: ast.ClassDef | ast.FunctionDef | None) -> dict[str, list[str]] | None:
    """Keyword-only arguments of a class's constructor or of a function: name → [annotation, default or ``...``]."""
    if isinstance(entry, ast.ClassDef):
        methods = (node for node in entry.body if isinstance(node, ast.FunctionDef))
        function = next((node for node in methods if node.name == "__init__"), None)
    else:
        function = entry
    if function is None:
        return {}
    found = {}
    for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        if argument.annotation is not None:
            literal = "..." if default is None else _literal(default)
            if literal is None:
                return None
            found[argument.arg] = [ast.unparse(argument.annotation), literal]
    return found


def _literal(node: ast.expr) -> str | None:
    """The text of a literal; None for anything else."""
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError):
        return None
    return ast.unparse(node)


def value_of(literal: str) -> Any:
    """What a literal stands for."""
    return ast.literal_eval(literal)


def _imports(tree: ast.Module) -> list[list[Any]]:
    """[level, module, names] of every import at any depth, but under ``if TYPE_CHECKING``; −1: ``import a, b``."""
    found = []
    for node in ast.walk(_without_type_checking(tree)):
        if isinstance(node, ast.ImportFrom):
            found.append([node.level, node.module or "", [alias.name for alias in node.names]])
        elif isinstance(node, ast.Import):
            found.append([-1, "", [alias.name for alias in node.names]])
    return found


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
