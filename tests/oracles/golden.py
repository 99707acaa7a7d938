"""Golden numbers: what the authors' own code gives for a small network, with the weights that it had.

A file of arrays and a file of facts for each network. The arrays hold the input, the output, the gradients of
Σ output ⊙ loss_weight, and every weight under the authors' name and in the authors' layout. Everything was computed in
float64, and so it is here. The tolerances are the files' own and are never widened: a wrong choice shows at 1e-4.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from _pytest.mark.structures import ParameterSet
from torch import Tensor, nn

from tests.conftest import ROOT

FOLDER = Path(os.environ.get("FRAMECAST_ORACLES", ROOT.parent / "shared" / "oracles"))
EXACT, DIGEST, STORED, FLOAT32 = 1e-10, 1e-9, 1e-6, 1e-4
NOTHING = 1e-12  #: of a gradient that cancels, as that of a bias before a normalisation does, so much may be left …
CANCELS = 1e-9  #: … and it does where its norm is below this

Place = tuple[str, Callable[[Tensor], Tensor]]  #: the name of our tensor, and how it is seen in the authors' layout
Run = Callable[[Tensor], Tensor]


def files(pattern: str, suffix: str = ".npz") -> list[Path] | list[ParameterSet]:
    """The files of a family, as the values of a test's parameter; without any, one that skips and says why."""
    found = sorted(FOLDER.glob(pattern + suffix))
    reason = f"no golden numbers {pattern}{suffix} in {FOLDER} (FRAMECAST_ORACLES names another folder)"
    return found or [pytest.param(FOLDER / pattern, marks=pytest.mark.skip(reason=reason), id="absent")]


@dataclass(frozen=True)
class Golden:
    """One network's numbers."""

    path: Path

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The words and the configuration."""
        facts: dict[str, Any] = json.loads(self.path.with_suffix(".json").read_text(encoding="utf-8"))
        return facts

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """Every array, as stored."""
        with np.load(self.path) as stored:
            return dict(stored)

    @property
    def config(self) -> dict[str, Any]:
        """Sizes and switches under the authors' names."""
        config: dict[str, Any] = self.facts["config"]
        return config

    def __getitem__(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name]).double()

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def under(self, group: str) -> dict[str, Tensor]:
        """The arrays ``<group>/<name>`` by their names."""
        return {name.removeprefix(f"{group}/"): self[name] for name in self.arrays if name.startswith(f"{group}/")}

    @property
    def context(self) -> Tensor:
        """The frames that a forecast is made from; in some files the true future follows them."""
        return self["input"][:, : self.config["T"]]

    @property
    def weights(self) -> dict[str, Tensor]:
        """Parameters and running statistics, without those that never matter."""
        stored = self.under("param") | self.under("buffer")
        return {name: value for name, value in stored.items() if name not in self.facts["unused_parameters"]}

    def digest_rows(self, digest: str) -> list[str]:
        """The parameters whose gradients a digest holds."""
        rows = self.facts["digest_rows"]
        if isinstance(rows, list):  # one list for all
            return rows
        named = rows[digest]
        return list(rows[named.removeprefix("as ")] if isinstance(named, str) else named)


def as_it_is(tensor: Tensor) -> Tensor:
    """The layout of both."""
    return tensor


def loaded(model: nn.Module, golden: Golden, place: Callable[[str], Place]) -> nn.Module:
    """The model in float64 with the authors' weights: each of them used once, and each of ours given once."""
    model.double()
    ours = _tensors(model)
    given = {name: torch.zeros_like(tensor) for name, tensor in ours.items()}
    for name, value in golden.weights.items():
        to, layout = place(name)
        assert layout(ours[to]).shape == value.shape, f"{name} → {to}"
        layout(ours[to]).copy_(value)
        layout(given[to]).add_(1)
    assert {name: times.unique().tolist() for name, times in given.items()} == {name: [1.0] for name in ours}
    return model


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and running statistics."""
    buffers = {name: value for name, value in model.named_buffers() if "running" in name}
    return {name: value.detach() for name, value in (*model.named_parameters(), *buffers.items())}


def agrees(
    model: nn.Module,
    golden: Golden,
    place: Callable[[str], Place],
    run: Run,
    *,
    before: str = "",
    after: str = "",
    digest: str = "grad_digest",
) -> None:
    """Output, gradient of the input and digests of the gradients, named ``<before>output<after>`` and so on."""
    frames = golden.context.requires_grad_()
    output = run(frames)
    close(output, golden[f"{before}output{after}"], EXACT)
    objective = (output * golden[f"loss_weight{after}"]).sum()
    rows = golden[digest], golden.digest_rows(digest)
    named = gradients_agree(model, golden, place, objective, frames, golden[f"{before}grad_input{after}"], rows)
    if not before and not after:
        for name, gradient in golden.under("grad").items():
            close(named[name], gradient, _share(STORED, float(gradient.abs().max())), name)


def gradients_agree(
    model: nn.Module,
    golden: Golden,
    place: Callable[[str], Place],
    objective: Tensor,
    frames: Tensor,
    of_frames: Tensor,
    digest: tuple[Tensor, list[str]],
) -> dict[str, Tensor]:
    """Gradients of the frames and, by their digests, of the parameters, which are returned under the authors' names.

    A parameter without a row has no gradient, as where one serves the training alone.
    """
    parameters = dict(model.named_parameters())
    inputs = [frames, *parameters.values()]
    of_input, *of_parameters = torch.autograd.grad(objective, inputs, allow_unused=True)
    assert of_input is not None
    close(of_input, of_frames, EXACT)
    gradients = {name: found for name, found in zip(parameters, of_parameters, strict=True) if found is not None}
    named = {name: _seen(place(name), gradients) for name in digest[1]}
    assert set(named) == {name for name in golden.weights if place(name)[0] in gradients}
    for (name, gradient), row in zip(named.items(), digest[0], strict=True):
        flat = gradient.flatten()
        ours = torch.stack([flat.sum(), flat.norm(), flat[0], flat[-1]])
        close(ours, row, _share(DIGEST, float(row[1])), name)
    return named


def _share(tolerance: float, size: float) -> float:
    """That part of what is compared, or what may be left of nothing."""
    return tolerance * size if size > CANCELS else NOTHING


def agrees_in_float32(model: nn.Module, golden: Golden, run: Run) -> None:
    """The same network in single precision; it stays so."""
    model.float()
    with torch.no_grad():
        close(run(golden.context.float()).double(), golden["output"], FLOAT32)


def statistics_agree(model: nn.Module, golden: Golden, place: Callable[[str], Place]) -> None:
    """The running statistics after one forward pass in training."""
    stored = golden.under("train_buffer")
    ours = _tensors(model)
    assert {place(name)[0] for name in stored} == {name for name in ours if "running" in name}
    for name, value in stored.items():
        close(_seen(place(name), ours), value, EXACT, name)


def close(ours: Tensor, theirs: Tensor, tolerance: float, what: str = "") -> None:
    """No element further off than an absolute tolerance."""
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance, msg=lambda told: f"{what} {told}")


def _seen(place: Place, tensors: Mapping[str, Tensor]) -> Tensor:
    name, layout = place
    return layout(tensors[name])
