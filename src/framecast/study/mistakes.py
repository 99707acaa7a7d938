"""What is wrong with a file of the user's, in one line: the key's path, what was found, what is allowed."""

import difflib
import json
import re
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

AFFECTS_NUMBERS = False
LONGEST_NAME = 64  #: file systems take 255 bytes, some of which our endings need
LONGEST_TOLD = 200  #: of what was found, in a message

S = TypeVar("S", bound=BaseModel)


class Section(BaseModel):
    """A part of a YAML file: frozen, and without room for a key that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Wrong(Exception):
    """A mistake and where it stands; whoever knows the file's name makes a UserError of it."""

    def __init__(self, path: tuple[Any, ...], what: str) -> None:
        self.path, self.what = path, what

    def line(self, source: str) -> str:
        """The mistake as one line about a file."""
        return " ".join(f"{source}: {'.'.join(map(_plain, self.path)) or 'top level'}: {self.what}".split())


#: What is allowed where pydantic found an error of this type, in the words of somebody who writes YAML.
_ALLOWED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "greater_than": "above {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "below {lt:g}",
    "less_than_equal": "{le:g} or less",
    "multiple_of": "a multiple of {multiple_of:g}",
    "literal_error": "{expected}",
    "string_pattern_mismatch": "{form}",
    "string_too_long": "at most {max_length} letters",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
}


def validated(model: type[S], tree: Any, path: tuple[Any, ...]) -> S:
    """Strict validation of what JSON can say: 1 is no truth value and "1" no number, and a list will do for a tuple."""
    try:
        return model.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        first = min(error.errors(include_url=False), key=_told_late)
        raise Wrong((*path, *_written(first["loc"], tree, first["type"])), _told(model, first)) from None


def _told_late(error: Any) -> tuple[bool, bool]:
    """A misspelt key is also a missing one, and where a word or a list may stand a wrong list is also no word: what was
    written is told rather than what was not."""
    return error["type"] != "extra_forbidden", error["type"] == "literal_error" and isinstance(error["input"], list)


def known(path: tuple[Any, ...], found: Iterable[str], allowed: Iterable[str]) -> None:
    """Raise Wrong for the first name that is not among those allowed."""
    allowed = tuple(allowed)
    for name in found:
        if name not in allowed:
            raise Wrong(path, unknown(name, allowed))


def unknown(found: str, allowed: Iterable[str]) -> str:
    """What is said of a name that is not among those allowed, with the nearest that is."""
    choices = list(allowed)
    close = difflib.get_close_matches(found, choices, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"found {shown(found)}{hint}; allowed: {', '.join(choices) or 'nothing'}"


def shown(found: Any) -> str:
    """A value as it may stand in YAML, or what kind of thing it is."""
    if found in (None, [], {}):
        return "nothing"
    if isinstance(found, (list, dict)):
        return "a list" if isinstance(found, list) else "a mapping"
    told = json.dumps(found, ensure_ascii=False, default=str)
    return told if len(told) <= LONGEST_TOLD else f"{told[:LONGEST_TOLD]}…"


def as_tree(section: BaseModel) -> dict[str, Any]:
    """A section as plain JSON values, for keys and manifests."""
    return section.model_dump(mode="json")


def _written(location: tuple[Any, ...], tree: Any, kind: str) -> list[Any]:
    """The keys and indices of a location that stand in the file: pydantic adds steps of its own for unions and keys."""
    path: list[Any] = []
    for part in location:
        if (isinstance(tree, dict) and part in tree) or (isinstance(tree, list) and part in range(len(tree))):
            path.append(part)
            tree = tree[part]
    return [*path, location[-1]] if kind == "missing" else path


def _told(model: type[BaseModel], error: Any) -> str:
    match error["type"]:
        case "extra_forbidden":
            return unknown(error["loc"][-1], _siblings(model, error["loc"]))
        case "missing":
            return "found nothing; allowed: a value, since there is no default"
        case "value_error":
            return str(error["ctx"]["error"])
    found, context = error["input"], dict(error.get("ctx", {}))
    if "pattern" in context:
        context["form"] = _form(context["pattern"])
    return f"found {shown(found)}; allowed: {_ALLOWED.get(error['type'], error['msg']).format(**context)}"


def _form(pattern: str) -> str:
    """What a regular expression asks for, in words: the first and the last text that it allows, where these are found.

    They are of one that has nothing but letters, [a-z] and (this|that).

    >>> _form("^case(0[1-9]|1[0-4])_(left|right)$")
    'text like case01_left or case14_right'
    """
    ends = [_end(pattern, at) for at in (0, -1)]
    if all(re.fullmatch(pattern, end) for end in ends):
        return f"text like {' or '.join(dict.fromkeys(ends))}"
    return f"text that matches {pattern}"


def _end(pattern: str, at: int) -> str:
    """Of every [a-z] and (this|that) the first, 0, or the last, −1."""
    text = re.sub(r"\[([^]]+)\]", lambda letters: letters[1][at], pattern.removeprefix("^").removesuffix("$"))
    return re.sub(r"\(([^()]*)\)", lambda choices: choices[1].split("|")[at], text)


def _plain(part: Any) -> str:
    """A step of a key's path, as text that no terminal takes for a command."""
    text = str(part) if len(str(part)) <= 2 * LONGEST_NAME else f"{str(part)[:LONGEST_NAME]}…"
    return text if text.isprintable() else ascii(text)


def _siblings(model: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    """The keys that stand where an unknown key was found."""
    annotation: Any = model
    for part in loc[:-1]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = annotation.model_fields[str(part)].annotation
        else:
            arguments = getattr(annotation, "__args__", ())
            annotation = arguments[-1] if arguments else annotation
    return sorted(getattr(annotation, "model_fields", ()))
