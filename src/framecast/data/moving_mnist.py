"""Moving MNIST: handwritten digits that drift through a black frame and bounce off its edges.

Two generators of the literature, which differ in everything but the idea:

============  ==========================================  ============================================
              ``srivastava`` (Srivastava et al. 2015)      ``svg`` (Denton & Fergus 2018, deterministic)
============  ==========================================  ============================================
digits        28 px, no digit twice in a sequence          32 px (bilinear), independent draws
start         continuous, uniform on the free range        integer, uniform on 0..31
velocity      angle uniform, 0.1 of the free range a step  integer dx, dy uniform on −4..4
each step     move, bounce, record (truncated to int)      bounce, record, move
bounce        clamp to 0 or 36, flip that component        clamp to 0 or 31, flip that component
overlap       pixel-wise maximum                           sum, clipped to 1
============  ==========================================  ============================================

PredRNN, SimVP and MIMO-VP train on the first, Coleman (2022) on the second. Digits and trajectories are stored; frames
are rendered on the device when they are asked for.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from framecast.data.base import SPLITS, Dataset, Prepared, Split, SplitName, StoredSplit, counter_uniforms
from framecast.data.formats.idx import MNIST_SHA256, read_images
from framecast.data.formats.mnist_test_seq import SHA256, open_test_sequences
from framecast.data.formats.sha256sums import verify
from framecast.data.generated.bouncing_digits import (
    FreshSplit,
    Overlap,
    RenderedSplit,
    Scenes,
    srivastava_positions,
    svg_positions,
    without_replacement,
)
from framecast.ranges import NonNegativeInt, Pixels, PositiveInt, UnitInterval

FRAMES = "video"
SIDE = "frame_size"
RAW_SOURCES = (
    ({"protocol": "kartal"}, ("moving_mnist",)),
    ({"source": "official", "test_file": "mnist_test_seq"}, ("mnist", "moving_mnist")),
    ({"source": "official"}, ("mnist",)),
)
#: Of a digit where nothing else is said, in pixels.
STATED = {"variant": {"svg": {"digit_size": 32}, "srivastava": {"digit_size": 28}}}
FITS = (
    "digit_size < frame_size",
    "max_speed < frame_size if variant == 'svg'",
    "digits <= 270 if variant == 'srivastava' and source == 'bundled'",  # no digit twice: what the smallest split has
    "digits <= 10000 if variant == 'srivastava' and source == 'official'",
    "source == 'official' if test_file == 'mnist_test_seq'",
    "frame_size == 64 if test_file == 'mnist_test_seq'",
    "context + horizon <= 20 if test_file == 'mnist_test_seq'",
    "test <= 10000 if test_file == 'mnist_test_seq'",
    "source == 'official' if protocol == 'kartal'",
    "frame_size == 64 if protocol == 'kartal'",
    "context + horizon <= 20 if protocol == 'kartal'",
    "train + validation + test <= 10000 if protocol == 'kartal'",
)

ORIGINS = {
    "official": "handwritten digits of MNIST (LeCun, Cortes, Burges)",
    "bundled": "handwritten digits of scikit-learn (8×8, enlarged)",
    "mnist_test_seq": "; tested on mnist_test_seq.npy (Srivastava, Mansimov, Salakhutdinov)",
    "kartal": "all splits are cut from mnist_test_seq.npy (Srivastava, Mansimov, Salakhutdinov) and share its digits",
}
REMEDY = "run `framecast fetch {}`, or set FRAMECAST_MIRROR to a folder that holds the published files"
#: The test sets drawn from MNIST where nothing else is said, 10 000 sequences with ``data_seed`` 0: variant and frames
#: → sha256 of their scenes. The second is the fixed set of the long horizon, 10 → 30.
DRAWN_SHA256 = {
    ("svg", 20): "e3a33e1e8788397b336a360dd027184919636658ece9943a51c25ee5968334d1",
    ("srivastava", 40): "4890f67db8def3239a82e1be75cdfc529df87c523bf2fe850fb03c9f0946da48",
}
MNIST_VALIDATION = 10_000  #: the last training digits, kept out of training
BUNDLED_SHARES = (0.60, 0.75)  #: the bundled digits end training and validation at these fractions


# --- digits ---------------------------------------------------------------------------------------


def resize(images: UInt8[np.ndarray, "n s s"], size: int) -> UInt8[np.ndarray, "n {size} {size}"]:
    """Bilinear resampling of square images, antialiased when it shrinks; each axis is rounded to whole grey levels.

    Equal to Pillow's ``BILINEAR`` filter, with which the SVG generator enlarges MNIST to 32 px.
    """
    if images.shape[-1] == size:
        return images
    weights = _triangle(images.shape[-1], size)
    resized = np.empty((len(images), size, size), np.uint8)
    for start in range(0, len(images), 1024):  # float64 copies of all of MNIST would take 400 MB
        rows = np.floor(images[start : start + 1024] @ weights + 0.5)
        resized[start : start + 1024] = np.floor(weights.T @ rows + 0.5)
    return resized


def _triangle(old: int, new: int) -> Float[np.ndarray, "{old} {new}"]:
    """Weights of a triangle filter centred on each new pixel, whose half-width is one pixel of the coarser grid.

    In units of 2⁻²², as in Pillow: sums of grey levels are then exact, hence the same on every machine.
    """
    scale = old / new
    centre = (np.arange(new) + 0.5) * scale
    weights = np.maximum(1 - np.abs(np.arange(old)[:, None] + 0.5 - centre) / max(scale, 1), 0)
    return np.rint(weights / weights.sum(axis=0) * 2**22) / 2**22


def official_digits(raw: Path) -> dict[SplitName, UInt8[np.ndarray, "n 28 28"]]:
    """MNIST: training digits without the last 10 000, those 10 000, and the test digits."""
    files = {}
    for name, digest in MNIST_SHA256.items():
        path = raw / "mnist" / name
        verify(path, digest, remedy=REMEDY.format("mnist"))
        files[name] = read_images(path)
    train, test = files["train-images-idx3-ubyte.gz"], files["t10k-images-idx3-ubyte.gz"]
    return {"train": train[:-MNIST_VALIDATION], "validation": train[-MNIST_VALIDATION:], "test": test}


def bundled_digits() -> dict[SplitName, UInt8[np.ndarray, "n 8 8"]]:
    """The 1797 digits of scikit-learn, 8×8, grey levels 0..16 stretched to 0..255.

    They are in the order of their writers, so the three consecutive blocks hardly share a hand.
    """
    from sklearn.datasets import load_digits  # only this source needs it, and it takes a second to import

    images = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
    blocks = np.split(images, [round(share * len(images)) for share in BUNDLED_SHARES])
    return dict(zip(SPLITS, blocks, strict=True))


# --- the dataset ----------------------------------------------------------------------------------


class MovingMNIST(Dataset):
    """``digits`` digits in frames (1, frame_size, frame_size), values in [0, 1].

    ``digit_size`` None is the published one, 32 px for ``svg`` and 28 px for ``srivastava``. ``max_speed`` (pixels per
    step, each axis) belongs to ``svg``; ``step_length`` (of the free range) to ``srivastava``.

    Training draws fresh sequences in every epoch, from the cell's seed; validation and test are drawn once, from
    ``data_seed``. ``source`` says whose digits: ``official`` is MNIST (``mnist/*.gz`` under the raw folder),
    ``bundled`` is scikit-learn's. ``test_file="mnist_test_seq"`` tests on the published sequences instead
    (``moving_mnist/mnist_test_seq.npy``), which have 20 frames. No digit is shared between splits.

    ``protocol="kartal"`` draws nothing and cuts all three splits from the published file, one after the other: ``test``
    sequences, then ``validation``, then ``train``. KARTAL evaluates on 1 000 sequences and trains on the other 9 000.
    Two things differ here: the evaluated sequences also chose his checkpoint, ours are held out; and he reads a copy
    in another order, so his first 1 000 are not the file's. The splits share no sequence, but digits, as his do.
    """

    def __init__(
        self,
        *,
        context: PositiveInt = 10,
        horizon: PositiveInt = 10,
        variant: Literal["svg", "srivastava"] = "svg",
        source: Literal["official", "bundled"] = "official",
        digits: PositiveInt = 2,
        frame_size: Pixels = 64,
        digit_size: PositiveInt | None = None,
        max_speed: NonNegativeInt = 4,
        step_length: UnitInterval = 0.1,
        train: PositiveInt = 60000,
        validation: PositiveInt = 1000,
        test: PositiveInt = 10000,
        test_file: Literal["generated", "mnist_test_seq"] = "generated",
        protocol: Literal["generated", "kartal"] = "generated",
        data_seed: NonNegativeInt = 0,
    ) -> None:
        self.context, self.horizon = context, horizon
        self.frame_shape = (1, frame_size, frame_size)
        self.variant, self.source, self.test_file, self.protocol = variant, source, test_file, protocol
        self.digits, self.frame_size = digits, frame_size
        self.digit_size = digit_size or STATED["variant"][variant]["digit_size"]
        self.max_speed, self.step_length = max_speed, step_length
        self.sizes: dict[SplitName, int] = {"train": train, "validation": validation, "test": test}
        self.data_seed = data_seed

    @property
    def free(self) -> int:
        """The free range: how far a digit can be moved in the frame, in pixels."""
        return self.frame_size - self.digit_size

    @property
    def overlap(self) -> Overlap:
        """How digits that cover each other are combined."""
        return "clipped_sum" if self.variant == "svg" else "maximum"

    def prepare(self, raw: Path) -> Prepared:
        """Collect the digits, draw validation and test.

        Raises UserError with path, expected and found when a published file is missing, cut off or altered.
        """
        if self.protocol == "kartal":
            return self._prepare_kartal(raw)
        pools = official_digits(raw) if self.source == "official" else bundled_digits()
        arrays: dict[str, np.ndarray] = {}
        for split, images in pools.items():
            if split == "test" and self.test_file == "mnist_test_seq":
                arrays["test_sequences"] = self._published_sequences(raw)[: self.sizes["test"]]
                continue
            arrays[f"{split}_images"] = resize(images, self.digit_size)
            if split != "train":
                scenes = self.drawn(split, len(images))
                arrays[f"{split}_digits"] = scenes.digits.numpy()
                arrays[f"{split}_positions"] = scenes.positions.numpy()
        facts = {
            "source": self.source,
            "origin": ORIGINS[self.source] + (ORIGINS[self.test_file] if "test_sequences" in arrays else ""),
            "digit_size": self.digit_size,
            "digit_pools": {split: len(images) for split, images in pools.items()},
        }
        if "test_sequences" not in arrays:
            facts["test_drawn"] = {"data_seed": self.data_seed, "sha256": scenes.sha256}
        return Prepared(arrays, facts)

    def drawn(self, split: SplitName, pool: int) -> Scenes:
        """The scenes of validation or test over ``pool`` digits.

        Raises UserError where a test set whose sha256 is known comes out otherwise: other sines would be another set.
        """
        scenes = self.scenes(split, self.data_seed, 0, self.sizes[split], pool)
        published = DRAWN_SHA256.get((self.variant, self.context + self.horizon))
        if split == "test" and published and self._as_stated:
            scenes.verify(published)
        return scenes

    @property
    def _as_stated(self) -> bool:
        """Whether the test set is drawn as it is where only its variant and frames are said."""
        stated = MovingMNIST(context=self.context, horizon=self.horizon, variant=self.variant)
        shaped = ("source", "digits", "frame_size", "digit_size", "max_speed", "step_length", "data_seed")
        named = all(getattr(self, name) == getattr(stated, name) for name in shaped)
        return named and self.sizes["test"] == stated.sizes["test"]

    def _published_sequences(self, raw: Path) -> UInt8[np.ndarray, "n t 1 64 64"]:
        path = raw / "moving_mnist" / "mnist_test_seq.npy"
        verify(path, SHA256, remedy=REMEDY.format("moving_mnist"))
        return open_test_sequences(path)[:, : self.context + self.horizon]

    def _prepare_kartal(self, raw: Path) -> Prepared:
        published, start, arrays = self._published_sequences(raw), 0, {}
        for split in reversed(SPLITS):
            arrays[f"{split}_sequences"] = np.ascontiguousarray(published[start : start + self.sizes[split]])
            start += self.sizes[split]
        return Prepared(arrays, {"source": self.source, "origin": ORIGINS["kartal"]})

    def scenes(self, split: SplitName, seed: int, start: int, count: int, pool: int) -> Scenes:
        """Scenes start … start+count−1 over ``pool`` digits, each a function of (seed, split, index) alone."""
        steps = self.context + self.horizon
        width = {"svg": 5, "srivastava": 4}[self.variant]
        uniforms = counter_uniforms(seed, SPLITS.index(split), start, count, self.digits * width)
        which, motion = np.split(uniforms.reshape(count, self.digits, width), [1], axis=2)
        if self.variant == "svg":
            digits = np.floor(pool * which[..., 0]).astype(np.int32)
            positions = svg_positions(motion, steps, free=self.free, max_speed=self.max_speed)
        else:
            digits = without_replacement(which[..., 0], pool)
            positions = srivastava_positions(motion, steps, free=self.free, step_length=self.step_length)
        return Scenes(torch.from_numpy(digits), torch.from_numpy(positions))

    def split(self, name: SplitName, arrays: Mapping[str, Tensor], *, seed: int, device: torch.device) -> Split:
        """Open a split. ``seed`` draws the training scenes; validation and test are fixed."""
        if f"{name}_sequences" in arrays:
            return StoredSplit(arrays[f"{name}_sequences"], device)
        images = arrays[f"{name}_images"].to(device)
        if name == "train":

            def draw(start: int, count: int) -> Scenes:
                return self.scenes("train", seed, start, count, len(images))

            return FreshSplit(images, draw, self.sizes["train"], frame_size=self.frame_size, overlap=self.overlap)
        scenes = Scenes(arrays[f"{name}_digits"], arrays[f"{name}_positions"]).to(device)
        return RenderedSplit(images, scenes, frame_size=self.frame_size, overlap=self.overlap)
