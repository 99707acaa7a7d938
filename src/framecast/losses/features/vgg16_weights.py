"""The 260 160 numbers of VGG16 that the perceptual term needs: where they are kept, and the files they come from.

Kept is one safetensors file under ``data/raw`` with the tensors of ``vgg16.Block2`` and one line about their origin.
Two published files hold them; both are the network that Oxford trained, for RGB images in 0..255 less a mean colour:

* torchvision's ``vgg16_features-amdegroot-88682ab5.pth`` (the whole of VGG16, 527.8 MB), and
* an npz of exact kernels with biases that were rounded by up to 1.2e-4.

Nothing is unpickled.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError
from safetensors.numpy import save
from safetensors.torch import load_file
from torch import Tensor

from framecast.artifacts import replacing, sha256
from framecast.errors import UserError
from framecast.losses.features.torch_archive import read_tensors
from framecast.losses.features.vgg16 import CONVOLUTIONS

AFFECTS_NUMBERS = False  # the content of the kept file is in the key

Weights = dict[str, Float32[np.ndarray, "..."]]

REMEDY = "run `framecast fetch vgg16`"
SHAPES: dict[str, tuple[int, ...]] = {
    f"{name}.{part}": shape
    for name, (inputs, outputs) in CONVOLUTIONS.items()
    for part, shape in (("weight", (outputs, inputs, 3, 3)), ("bias", (outputs,)))
}
#: The layers' places in torchvision's ``vgg16().features``.
TORCHVISION = {"conv1_1": "features.0", "conv1_2": "features.2", "conv2_1": "features.5", "conv2_2": "features.7"}
#: sha256 of the four kernels, one after the other, as Oxford published them (float32; out, in, row, column; RGB).
OXFORD_KERNELS = "bfa26d7be7f1bc49f420ebd942136c47f632757ebb7d38190f618bcc4dbe625a"


def place(name: str) -> Path:
    """The absolute path of a raw file."""
    from framecast.study.grid import RAW

    return (RAW / name).resolve()


def read(path: Path) -> dict[str, Tensor]:
    """The kept weights. UserError when they are not there, or the file is not one that ``keep`` wrote."""
    if not path.is_file():
        raise UserError(
            f"{path}: the weights of the loss term perceptual are not here; {REMEDY}, or write perceptual_seeded, "
            "which needs none, under losses in params.yaml"
        )
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path}: expected a whole safetensors file: {error}; delete it and {REMEDY}") from None
    _check({name: tensor.numpy() for name, tensor in tensors.items()}, path)
    return tensors


def keep(weights: Mapping[str, np.ndarray], origin: str, path: Path) -> None:
    """Write the kept file: the same bytes for the same weights and origin."""
    with replacing(path) as partial:
        partial.write_bytes(save({name: np.ascontiguousarray(weights[name]) for name in SHAPES}, {"origin": origin}))


def from_torchvision(path: Path) -> Weights:
    """The needed layers of torchvision's checkpoint; UserError when it does not hold them."""
    parts = ("weight", "bias")
    wanted = {f"{there}.{part}": f"{here}.{part}" for here, there in TORCHVISION.items() for part in parts}
    found = read_tensors(path, {there: SHAPES[here] for there, here in wanted.items()})
    return _check({wanted[name]: array for name, array in found.items()}, path)


def from_npz(path: Path) -> Weights:
    """The tensors of an npz under their own names; UserError when it does not hold them."""
    with np.load(path, allow_pickle=False) as arrays:
        return _check({name: arrays[name] for name in SHAPES if name in arrays}, path)


def are_oxfords(weights: Weights) -> bool:
    """Whether the kernels are Oxford's, bit for bit; biases are not compared."""
    return sha256(b"".join(weights[name].tobytes() for name in SHAPES if name.endswith("weight"))) == OXFORD_KERNELS


def _check(weights: Weights, path: Path) -> Weights:
    for name, shape in SHAPES.items():
        array = weights.get(name)
        found = "nothing" if array is None else f"{array.dtype} {array.shape}"
        if found != f"float32 {shape}":
            raise UserError(f"{path}: {name}: expected float32 {shape}, found {found}; delete it and {REMEDY}")
        if not np.isfinite(weights[name]).all():
            raise UserError(f"{path}: {name}: found values that are not finite; delete it and {REMEDY}")
    return weights
