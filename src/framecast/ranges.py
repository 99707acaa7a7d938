"""Bounded number types for the keyword arguments of datasets, models and loss terms.

``params.py`` reads these annotations to check ``params.yaml``, so a bound is written once: in the signature.
"""

from typing import Annotated

from annotated_types import Ge, Gt, Interval

AFFECTS_NUMBERS = False

PositiveInt = Annotated[int, Interval(gt=0, lt=2**63)]
NonNegativeInt = Annotated[int, Interval(ge=0, lt=2**63)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
UnitInterval = Annotated[float, Interval(ge=0, le=1)]
Decay = Annotated[float, Interval(ge=0, lt=1)]
Reduction = Annotated[float, Interval(gt=0, lt=1)]
