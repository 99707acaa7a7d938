"""YAML in, frozen sections out; one line for everything that is wrong.

``params.yaml`` is checked as it is written and under each of its scales, before anything runs.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from framecast.errors import UserError
from framecast.study.checks import checked
from framecast.study.mistakes import S, Wrong, known, shown, unknown, validated
from framecast.study.params import Params

AFFECTS_NUMBERS = False  # what was resolved is in the keys
PARAMS = Path("params.yaml")


def load(path: Path = PARAMS) -> Params:
    """Read, check and resolve ``params.yaml``.

    Raises UserError (one line: file, key path, found, allowed) for anything that is not as it should be.
    """
    return resolve(read_yaml(path), str(path))


def resolve(tree: Any, source: str = "params.yaml") -> Params:
    """Check a parsed tree as it is written and under each of its scales; ``source`` names the file in messages.

    All of it is checked, not only the chosen scale: a wrong published value must not wait for the day on which
    somebody types ``scale: paper``.
    """
    try:
        if not isinstance(tree, dict):
            raise Wrong((), f"found {shown(tree)}; allowed: a mapping of sections")
        _refuse_what_yaml_made(tree, ())
        written = checked(validated(Params, tree, ()))
        if written.scale not in written.scales:
            raise Wrong(("scale",), unknown(written.scale, written.scales))
        return {scale: _scaled(tree, scale) for scale in written.scales}[written.scale]
    except Wrong as wrong:
        raise UserError(wrong.line(source)) from None


def read_section(path: Path, model: type[S], changes: dict[str, Any]) -> S:
    """A file that holds one section, with ``changes`` laid over it; UserError with the key for what is wrong."""
    tree = read_yaml(path) or {}
    try:
        if not isinstance(tree, dict):
            raise Wrong((), f"found {shown(tree)}; allowed: a mapping")
        _refuse_what_yaml_made(tree, ())
        return validated(model, {**tree, **changes}, ())
    except Wrong as wrong:
        raise UserError(wrong.line(str(path))) from None


def read_yaml(path: Path) -> Any:
    """The tree of a YAML file; UserError, one line, when it is missing, not UTF-8, or not YAML with every key once."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run framecast from the root of the repository") from None
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}" if error.problem_mark else "unclear where"
        what = f"{error.problem or error.context}; allowed: valid YAML, every key once, no tabs"
        raise UserError(f"{path}: {where}: {' '.join(what.split())}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable: {' '.join(str(error).split())}; allowed: YAML in UTF-8") from None


class _Loader(yaml.SafeLoader):
    """YAML without its two traps: a key written twice is refused, and 1e-3 is a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        written: list[Any] = []
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *other`, whose keys may be written anew
                continue
            key = self.construct_object(key_node, deep=True)
            if key in written:
                raise yaml.MarkedYAMLError(
                    problem=f"found the key {key!r} for the second time", problem_mark=key_node.start_mark
                )
            written.append(key)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


# --- scale ----------------------------------------------------------------------------------------


def _scaled(tree: dict[str, Any], scale: str) -> Params:
    """The tree under a scale's changes. What is wrong now and was not before, stands in those changes."""
    changes = tree["scales"][scale]
    try:
        for section in ("studies", "datasets", "models", "figures"):
            known((section,), changes.get(section, {}), tree[section])
        return checked(validated(Params, _merged(tree, changes), ()))
    except Wrong as wrong:
        raise Wrong(("scales", scale, *wrong.path), wrong.what) from None


def _merged(base: Any, change: Any) -> Any:
    """``change`` laid over ``base``: mappings key by key, anything else replaced."""
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    return {**base, **{key: _merged(base.get(key), value) for key, value in change.items()}}


def _refuse_what_yaml_made(node: Any, path: tuple[Any, ...]) -> None:
    """YAML knows more than JSON: ``no`` as a key is a truth value, 2022-04-01 a date, and a node may hold itself."""
    if len(path) > 20:
        raise Wrong(path[:3], "found an anchor that holds itself; allowed: plain values")
    if not isinstance(node, (dict, list, str, int, float, type(None))):
        raise Wrong(path, f"found a YAML {type(node).__name__} ({node}); allowed: text (in quotes), numbers, lists")
    for key in node if isinstance(node, dict) else ():
        if not isinstance(key, str):
            raise Wrong(path, f"found the key {shown(key)}, a YAML {type(key).__name__}; allowed: text (in quotes)")
    for key, value in node.items() if isinstance(node, dict) else enumerate(node if isinstance(node, list) else ()):
        _refuse_what_yaml_made(value, (*path, key))
