"""YAML without its traps: every YAML file that a person writes for framecast is read here.

Numbers are JSON's, with 1e-3 and a leading sign besides. What only YAML 1.1 takes for something else is text:
``24:00:00`` (base 60: 86 400), ``010`` (base 8), ``0x1F``, ``0b11``, ``1_000`` and dates. Where a number is wanted,
whoever asks for it refuses the text; where text is wanted, it stays as it was written. A key stands once in its
mapping, and nothing has a type of its own. Anchors, aliases and merge keys are followed up to the size at which a file
that has them written out could still be read.
"""

import io
import re
from pathlib import Path
from typing import Any

import yaml

from framecast.errors import UserError

AFFECTS_NUMBERS = False  # what was read is in the keys

LARGEST = 100_000  #: values of a file with its aliases written out; the study that is shipped has some 800
DEEPEST = 50  #: mappings and lists in one another

WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,99})")
DECIMAL = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
TAG = "tag:yaml.org,2002:"
TRUTH = "|".join(f"{word}|{word.title()}|{word.upper()}" for word in ("true", "false", "yes", "no", "on", "off"))
#: What a plain scalar may be besides text, and how it may begin.
RESOLVED = (
    ("bool", re.compile(TRUTH), "yYnNtTfFoO"),
    ("null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("int", WHOLE, "-+0123456789"),
    ("float", DECIMAL, "-+.0123456789"),
    ("float", re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"), "-+."),
    ("merge", re.compile(r"<<"), "<"),
)


def read(path: Path) -> Any:
    """The tree of a YAML file: mappings, lists, text, numbers, truth values and None.

    Raises UserError, one line, when the file is missing or cannot be read, or ``parsed`` finds a mistake in it.
    """
    try:
        return parsed(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run framecast from the root of the repository") from None
    except OSError as error:
        raise UserError(f"{path}: {str(error.strerror).lower()}; allowed: a file that this user can read") from None


def parsed(content: bytes, name: str) -> Any:
    """The tree of a YAML file's content; ``name`` is what a mistake is said of.

    Raises UserError, one line, when it is not UTF-8, not YAML with every key once, or with its aliases written out
    larger than ``LARGEST`` values or deeper than ``DEEPEST``.
    """
    try:
        return yaml.load(io.StringIO(content.decode(), newline=None).read(), Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}" if error.problem_mark else "unclear where"
        what = " ".join(_problem(error).split())
        allowed = "" if "; allowed: " in what else "; allowed: valid YAML, every key once, no tabs"
        raise UserError(f"{name}: {where}: {what}{allowed}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{name}: not readable: {' '.join(str(error).split())}; allowed: YAML in UTF-8") from None


def _problem(error: yaml.MarkedYAMLError) -> str:
    """What is wrong, also where the library's sentence about it begins in what it calls the context."""
    problem = str(error.problem or error.context)
    if problem == "second occurrence":
        return str(error.context).split(";")[0]
    return f"{error.context}, {problem}" if problem.startswith("but ") else problem


def number(text: str) -> int | float | str:
    """The number that a text would be in a file, or the text as it stands.

    >>> number("90"), number(" 1e-3 "), number("24:00:00"), number("010"), number("1_000")
    (90, 0.001, '24:00:00', '010', '1_000')
    """
    stripped = text.strip()
    if WHOLE.fullmatch(stripped):
        return int(stripped)
    return float(stripped) if DECIMAL.fullmatch(stripped) else text


class _Loader(yaml.SafeLoader):
    """Counts what the document stands for while it is composed, which is before anything of it is made."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (as its base class has it)

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._values = 0
        self._depth = 0
        self._reached = 0  # the greatest depth since the node that is being composed began
        self._behind: dict[str, tuple[int, int]] = {}  # anchor → values and levels that an alias of it stands for

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):  # type: ignore[no-untyped-call]
            if event.anchor in self.anchors and event.anchor not in self._behind:
                raise _wrong("found an anchor that holds itself; allowed: plain values", event)
            self._add(*self._behind.get(event.anchor, (0, 0)), event)
            return super().compose_node(parent, index)
        if event.tag not in (None, "!", f"{TAG}str", f"{TAG}seq", f"{TAG}map"):
            raise _wrong(f"found the type {event.tag.removeprefix(TAG)}; allowed: plain values without one", event)
        if any("\ud800" <= letter <= "\udfff" for letter in getattr(event, "value", "")):
            raise _wrong("found half a letter (\\ud800 to \\udfff); allowed: whole ones, as \\U0001F600", event)
        values, reached = self._values, self._reached
        self._reached = self._depth
        self._add(1, 1, event)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if event.anchor is not None:
            self._behind[event.anchor] = self._values - values, self._reached - self._depth
        self._reached = max(reached, self._reached)
        if isinstance(node, yaml.MappingNode):
            _refuse_a_key_twice(node)
        return node

    def _add(self, values: int, levels: int, event: Any) -> None:
        self._values += values
        self._reached = max(self._reached, self._depth + levels)
        if self._values > LARGEST:
            raise _wrong(f"found more than {LARGEST} values; allowed: up to that, with aliases written out", event)
        if self._reached > DEEPEST:
            raise _wrong(f"found more than {DEEPEST} levels; allowed: up to that, with aliases written out", event)


for _name, _pattern, _first in RESOLVED:
    _Loader.add_implicit_resolver(f"{TAG}{_name}", re.compile(f"(?:{_pattern.pattern})\\Z"), list(_first))


def _refuse_a_key_twice(node: yaml.MappingNode) -> None:
    """Before merging: a key may be written beside `<<: *other`, which has it too."""
    written: set[tuple[str, str]] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != f"{TAG}merge":
            if (key.tag, key.value) in written:
                raise _wrong(f"found the key {key.value!r} for the second time", key)
            written.add((key.tag, key.value))


def _wrong(problem: str, where: Any) -> yaml.MarkedYAMLError:
    """A mistake at the event or node where it was found."""
    return yaml.MarkedYAMLError(problem=problem, problem_mark=where.start_mark)
