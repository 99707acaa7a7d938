"""Bounded numbers and lists without repetition, for the keyword arguments of datasets, models and loss terms.

``params.py`` reads these annotations to check ``params.yaml``, so a bound is written once: in the signature.
"""

from collections.abc import Sequence
from typing import Annotated, TypeVar

from annotated_types import Ge, Gt, Interval, MinLen, MultipleOf
from pydantic import AfterValidator

AFFECTS_NUMBERS = False

T = TypeVar("T")
Values = TypeVar("Values", bound=Sequence[object])


def each_once(values: Values) -> Values:
    """The same values; raises ValueError where one is there twice."""
    if doubled := sorted({str(value) for value in values if values.count(value) > 1}):
        raise ValueError(f"found {', '.join(doubled)} twice; allowed: each once")
    return values


def with_a_centre(size: int) -> int:
    """The same size; raises ValueError for an even one."""
    if size % 2 == 0:
        raise ValueError(f"found {size}; allowed: an odd number")
    return size


PositiveInt = Annotated[int, Interval(gt=0, lt=2**31)]  #: of what is counted: more of anything fits into no computer
Pixels = Annotated[int, Interval(ge=2, le=4096)]  #: of a frame's side: one alone has no neighbour
Kernel = Annotated[int, Interval(gt=0, lt=2**31), AfterValidator(with_a_centre)]
Even = Annotated[int, Interval(gt=0, lt=2**31), MultipleOf(2)]
MultipleOfFour = Annotated[int, Interval(gt=0, lt=2**31), MultipleOf(4)]
NonNegativeInt = Annotated[int, Interval(ge=0, lt=2**63)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
UnitInterval = Annotated[float, Interval(ge=0, le=1)]
Decay = Annotated[float, Interval(ge=0, lt=1)]
Reduction = Annotated[float, Interval(gt=0, lt=1)]

Distinct = Annotated[list[T] | tuple[T, ...], AfterValidator(each_once)]
NonEmpty = Annotated[list[T] | tuple[T, ...], MinLen(1)]
NonEmptyDistinct = Annotated[list[T] | tuple[T, ...], MinLen(1), AfterValidator(each_once)]
