"""What the arguments of an entry must be beside each other: the rules that its module states in ``FITS``.

A rule is a condition in Python over arguments, and may end in the case that it holds for:

    FITS = ("context + horizon <= 30", "frame_size == 64 if source == 'official'")

It asks nothing of an argument that is None. What it says is also what a message says is allowed.
"""

import ast
import builtins
import math
from collections.abc import Mapping
from functools import cache
from types import CodeType
from typing import Any

from framecast.study.mistakes import shown

AFFECTS_NUMBERS = False  # what it lets pass is in the keys
CASE = " if "
LARGE = 1000  #: an exponent from which on a power is larger than anything that it is compared with
_POWER = "_power"


@cache
def names(rule: str) -> tuple[str, ...]:
    """The arguments that a rule is about, in the order of the text.

    >>> names("len(b) + a < 3 if c == 'd'")
    ('b', 'a', 'c')
    """
    found = [node for node in ast.walk(ast.parse(_in_python(rule))) if isinstance(node, ast.Name)]
    ordered = dict.fromkeys(node.id for node in sorted(found, key=lambda node: node.col_offset))
    return tuple(name for name in ordered if not hasattr(builtins, name))


@cache
def asked_of(rule: str) -> tuple[str, ...]:
    """The same without those that say no more than the case.

    >>> asked_of("len(b) + a < 3 if c == 'd'")
    ('b', 'a')
    """
    return names(rule.partition(CASE)[0])


def is_kept(rule: str, values: Mapping[str, Any]) -> bool:
    """Whether the values are as a rule asks.

    >>> [is_kept("a < b if c == 'd'", {"a": 2, "b": 2, "c": case}) for case in "de"]
    [False, True]
    """
    if any(values[name] is None for name in asked_of(rule)):
        return True
    return bool(eval(_compiled(rule), {_POWER: _power}, dict(values)))  # noqa: S307 (our source, not the user's file)


def found(rule: str, values: Mapping[str, Any]) -> str:
    """The values that a rule is about.

    >>> found("a < b if c == 'd'", {"a": 2, "b": [2], "c": "d", "e": 1})
    'a 2, b [2], c "d"'
    """
    return ", ".join(f"{name} {_shown(values[name])}" for name in names(rule))


@cache
def _compiled(rule: str) -> CodeType:
    tree = _Powers().visit(ast.parse(_in_python(rule), "FITS", "eval"))
    return compile(ast.fix_missing_locations(tree), "FITS", "eval")


class _Powers(ast.NodeTransformer):
    """A power whose exponent somebody wrote is not worked out to a billion digits."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Pow):
            return ast.Call(ast.Name(_POWER, ast.Load()), [node.left, node.right], [])
        return node


def _power(base: float, exponent: float) -> float:
    return base**exponent if exponent < LARGE else math.inf


def _in_python(rule: str) -> str:
    return f"{rule} else True" if CASE in rule else rule


def _shown(value: Any) -> str:
    return f"[{', '.join(map(shown, value))}]" if isinstance(value, (list, tuple)) else shown(value)
