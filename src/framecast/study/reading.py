"""YAML in, frozen sections out; one line for everything that is wrong.

``params.yaml`` is checked as it is written and under each of its scales, before anything runs.
"""

from pathlib import Path
from typing import Any

from framecast import plain_yaml
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
    return resolve(plain_yaml.read(path), str(path))


def resolve(tree: Any, source: str = "params.yaml") -> Params:
    """Check a parsed tree as it is written and under each of its scales; ``source`` names the file in messages.

    All of it is checked, not only the chosen scale: a wrong published value must not wait for the day on which
    somebody types ``scale: paper``.
    """
    try:
        if not isinstance(tree, dict):
            raise Wrong((), f"found {shown(tree)}; allowed: a mapping of sections")
        _refuse_keys_of_no_text(tree, ())
        written = checked(validated(Params, tree, ()))
        if written.scale not in written.scales:
            raise Wrong(("scale",), unknown(written.scale, written.scales))
        return {scale: _scaled(tree, scale) for scale in written.scales}[written.scale]
    except Wrong as wrong:
        raise UserError(wrong.line(source)) from None


def read_section(path: Path, model: type[S], changes: dict[str, Any]) -> S:
    """A file that holds one section, with ``changes`` laid over it; UserError with the key for what is wrong."""
    tree = plain_yaml.read(path) or {}
    try:
        if not isinstance(tree, dict):
            raise Wrong((), f"found {shown(tree)}; allowed: a mapping")
        _refuse_keys_of_no_text(tree, ())
        return validated(model, {**tree, **changes}, ())
    except Wrong as wrong:
        raise UserError(wrong.line(str(path))) from None


# --- scale ----------------------------------------------------------------------------------------


def _scaled(tree: dict[str, Any], scale: str) -> Params:
    """The tree under a scale's changes. What is wrong now and was not before, stands in those changes."""
    changes = dict(tree["scales"][scale])
    without = changes.pop("without", ())
    try:
        for section in ("studies", "datasets", "models", "figures"):
            known((section,), changes.get(section, {}), tree[section])
        known(("without",), without, tree["studies"])
        models = {
            name: _freed(entry, changes.get("models", {}).get(name, {})) for name, entry in tree["models"].items()
        }
        merged = _merged(tree | {"models": models}, changes)
        studies = {name: study for name, study in merged["studies"].items() if name not in without}
        return checked(validated(Params, merged | {"studies": studies}, ()))
    except Wrong as wrong:
        raise Wrong(("scales", scale, *wrong.path), wrong.what) from None


def _freed(model: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """A model without what it says for single datasets of that which a scale says for all: epochs, say."""
    for_all = change.get("training")
    if not isinstance(for_all, dict) or "training_on" not in model:
        return model
    left = {
        dataset: {key: value for key, value in said.items() if key not in for_all}
        for dataset, said in model["training_on"].items()
    }
    return model | {"training_on": left}


def _merged(base: Any, change: Any) -> Any:
    """``change`` laid over ``base``: mappings key by key, anything else replaced."""
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    return {**base, **{key: _merged(base.get(key), value) for key, value in change.items()}}


def _refuse_keys_of_no_text(node: dict[Any, Any] | list[Any], path: tuple[Any, ...]) -> None:
    """YAML knows more keys than JSON: ``no`` is a truth value, and 1 is a number."""
    for key in node if isinstance(node, dict) else ():
        if not isinstance(key, str):
            raise Wrong(path, f"found the key {shown(key)}, a YAML {type(key).__name__}; allowed: text (in quotes)")
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(value, (dict, list)):
            _refuse_keys_of_no_text(value, (*path, key))
