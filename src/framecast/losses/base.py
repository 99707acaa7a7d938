"""A named loss is a weighted sum of terms: L = Σ w_i · L_i.

A term is a module of this package with one public function ``name(forecast, target, *, options…) -> scalar``; means
run over every axis unless its docstring says otherwise. ``FRAMES = "video"`` marks a term that needs images,
``SMALLEST_FRAME`` says how many pixels a side its window takes, and ``RAW_WEIGHTS`` names the file under ``data/raw``
that a term reads.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from framecast.study import catalogue

Term = Callable[[Tensor, Tensor], Tensor]


class WeightedLoss:
    """Σ w_i · L_i with every term kept apart, so that the history can show each.

    ``terms`` maps a term's name to its weight, or to a mapping with ``weight`` and the term's own options.

    >>> import torch
    >>> loss = WeightedLoss({"mse": 2.0})
    >>> total, terms = loss(torch.ones(1, 1, 1), torch.zeros(1, 1, 1))
    >>> float(total), float(terms["mse"])
    (2.0, 1.0)
    """

    def __init__(self, terms: Mapping[str, float | Mapping[str, Any]]) -> None:
        self.weights: dict[str, float] = {}
        self.terms: dict[str, Term] = {}
        for name, entry in terms.items():
            options = dict(entry) if isinstance(entry, Mapping) else {"weight": entry}
            self.weights[name] = float(options.pop("weight"))
            self.terms[name] = partial(catalogue.load("losses", name), **options)

    def __call__(
        self, forecast: Float[Tensor, "b k *frame"], target: Float[Tensor, "b k *frame"]
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The weighted sum, and the unweighted value of each term. Computed in float32 whatever the precision."""
        forecast, target = forecast.float(), target.float()
        values = {name: term(forecast, target) for name, term in self.terms.items()}
        total = sum(self.weights[name] * value for name, value in values.items())
        return total, values  # type: ignore[return-value]

    def shares(self, forecast: Float[Tensor, "b k *frame"], target: Float[Tensor, "b k *frame"]) -> dict[str, float]:
        """Each term's share of the gradient at the forecast: ‖∂(w_i L_i)/∂p‖ / Σ_j ‖∂(w_j L_j)/∂p‖.

        In [0, 1] and together 1, or all 0 where no term has a gradient. A term whose share stays near 0 is inert: its
        weight could as well be 0. Norms ignore direction, so two terms that pull against each other both have theirs.

        Leaves no trace: no gradient of model, forecast or target changes, and no random number is drawn.
        """
        norms = {name: self._pull(name, forecast.detach().float(), target.detach().float()) for name in self.terms}
        total = sum(norms.values()) or 1.0
        return {name: norm / total for name, norm in norms.items()}

    def _pull(self, name: str, forecast: Tensor, target: Tensor) -> float:
        """‖∂(w L)/∂p‖ of one term."""
        with torch.enable_grad():
            leaf = forecast.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(self.terms[name](leaf, target), leaf)
        return abs(self.weights[name]) * float(torch.linalg.vector_norm(gradient))
