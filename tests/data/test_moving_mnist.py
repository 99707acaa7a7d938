"""Moving MNIST: the published sequence pixel for pixel, both generators against plain loops, purity of every sample."""

import gzip
import hashlib
import math
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from framecast.data import moving_mnist
from framecast.data.base import SPLITS, StoredSplit, counter_uniforms
from framecast.data.fetching.fetch import fetch
from framecast.data.formats.idx import read_images
from framecast.data.formats.mnist_test_seq import SHAPE, open_test_sequences
from framecast.data.generated.bouncing_digits import render, srivastava_positions, without_replacement
from framecast.data.moving_mnist import MovingMNIST, bundled_digits, official_digits, resize
from framecast.errors import UserError
from framecast.study import reading
from tests.conftest import ROOT

SHARED = ROOT / ".." / "shared" / "data"
CPU = torch.device("cpu")
needs_mnist = pytest.mark.skipif(not (SHARED / "mnist").is_dir(), reason="needs the real MNIST sample, absent here")

SVG = MovingMNIST(source="bundled", train=40, validation=30, test=50)
SRIVASTAVA = MovingMNIST(source="bundled", variant="srivastava", train=40, validation=30, test=50)
LAPTOP = MovingMNIST(source="bundled", frame_size=32, digit_size=16, max_speed=2, train=40, validation=30, test=50)
THREE = MovingMNIST(source="bundled", variant="srivastava", frame_size=40, digit_size=11, digits=3, train=40, test=50)
KINDS = pytest.mark.parametrize(
    "dataset", [SVG, SRIVASTAVA, LAPTOP, THREE], ids=["svg", "srivastava", "laptop", "three"]
)


def arrays_of(dataset: MovingMNIST) -> dict[str, Tensor]:
    prepared = dataset.prepare(Path("no raw files are read"))
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in prepared.arrays.items()}


def write_idx(path: Path, images: np.ndarray, *, magic: int = 0x803, count: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    count = len(images) if count is None else count
    path.write_bytes(gzip.compress(struct.pack(">4I", magic, count, 28, 28) + images.tobytes(), mtime=0))
    return path


# --- the published sequence -----------------------------------------------------------------------


@needs_mnist
def test_published_sequence_pixel_for_pixel():
    images = torch.tensor(read_images(SHARED / "mnist" / "t10k-images-idx3-ubyte.gz"))
    with np.load(SHARED / "moving_mnist" / "mmnist_test_sequence.npz") as published:
        digits = torch.tensor([[int(published["digit_a_test_index"]), int(published["digit_b_test_index"])]])
        corners = np.stack([published["yx_a"], published["yx_b"]], axis=1).astype(np.int16)
        frames = published["frames"]
    assert digits.tolist() == [[6345, 9903]]
    positions = torch.from_numpy(corners)[None]
    painted = render(images, digits, positions, frame_size=64, overlap="maximum")
    assert np.array_equal(painted[0, :, 0].numpy(), frames)
    clipped = render(images, digits, positions, frame_size=64, overlap="clipped_sum")
    assert not np.array_equal(clipped[0, :, 0].numpy(), frames)


@needs_mnist
def test_official_digits_are_mnist_and_share_no_digit():
    pools = official_digits(SHARED)
    assert [pools[split].shape for split in SPLITS] == [(50_000, 28, 28), (10_000, 28, 28), (10_000, 28, 28)]
    seen = [{image.tobytes() for image in pools[split]} for split in SPLITS]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


@needs_mnist
def test_paper_scale_is_prepared_from_the_real_files():
    prepared = MovingMNIST(test=10_000).prepare(SHARED)
    assert prepared.facts["source"] == "official"
    assert prepared.arrays["train_images"].shape == (50_000, 32, 32)
    sequences = sum(prepared.arrays[f"test_{name}"].nbytes for name in ("digits", "positions"))
    assert sequences < 3e6, "10 000 sequences are a few MB, not 800"


@needs_mnist
def test_the_long_test_set_is_the_published_one(tmp_path, monkeypatch):
    """By its bytes; ``fetch`` says what ``prepare`` writes into the manifest."""
    dataset = MovingMNIST(variant="srivastava", horizon=30, train=1, validation=1)
    prepared = dataset.prepare(SHARED)
    digits, positions = prepared.arrays["test_digits"], prepared.arrays["test_positions"]
    assert (digits.shape, positions.shape) == ((10_000, 2), (10_000, 40, 2, 2))
    assert (digits.dtype, positions.dtype) == ("<i4", "<i2")
    digest = hashlib.sha256(digits.tobytes() + positions.tobytes())
    published = moving_mnist.DRAWN_SHA256["srivastava", 40]
    assert prepared.facts["test_drawn"] == {"data_seed": 0, "sha256": digest.hexdigest()}
    assert digest.hexdigest() == published
    monkeypatch.setenv("FRAMECAST_MIRROR", str(SHARED))
    said = []
    fetch("moving_mnist_40", tmp_path, say=said.append)
    assert f"10000 sequences of 40 frames, data_seed 0, sha256 {published} as published" in said[-1]


def test_a_test_set_that_comes_out_otherwise_is_refused(monkeypatch):
    """As where another sine puts a digit one pixel beside its place; a set that nobody published is free."""
    for variant, frames in moving_mnist.DRAWN_SHA256:
        assert len(MovingMNIST(variant=variant, horizon=frames - 10).drawn("test", 10_000).digits) == 10_000
    beside = srivastava_positions(np.full((1, 2, 3), 0.5), 40, free=36, step_length=0.1)
    monkeypatch.setattr(moving_mnist, "srivastava_positions", lambda rows, *_, **__: beside.repeat(len(rows), axis=0))
    with pytest.raises(UserError, match=r"^moving digits: expected sequences with sha256 4890f67d.*drew .*$"):
        MovingMNIST(variant="srivastava", horizon=30).drawn("test", 10_000)
    for other in ({"data_seed": 1}, {"test": 50}, {"step_length": 0.2}, {"digit_size": 20}, {"source": "bundled"}):
        MovingMNIST(variant="srivastava", horizon=30, **other).drawn("test", 10_000)


# --- the two generators, one scalar step at a time ------------------------------------------------


def svg_by_hand(y: float, x: float, dy: float, dx: float, dataset: MovingMNIST) -> list[list[int]]:
    """Bounce, draw, move, on integers 0..31."""
    last, speeds = dataset.free - 1, 2 * dataset.max_speed + 1
    at = [int(y * dataset.free), int(x * dataset.free)]
    velocity = [int(dy * speeds) - dataset.max_speed, int(dx * speeds) - dataset.max_speed]
    path = []
    for _ in range(dataset.context + dataset.horizon):
        for axis in (0, 1):
            if at[axis] < 0:
                at[axis], velocity[axis] = 0, -velocity[axis]
            elif at[axis] > last:
                at[axis], velocity[axis] = last, -velocity[axis]
        path.append(list(at))
        at = [at[axis] + velocity[axis] for axis in (0, 1)]
    return path


def srivastava_by_hand(y: float, x: float, turn: float, dataset: MovingMNIST) -> list[list[int]]:
    """Move, bounce, record, on reals 0..1 that are truncated to pixels."""
    at, angle = [y, x], 2 * math.pi * turn
    velocity = [dataset.step_length * math.sin(angle), dataset.step_length * math.cos(angle)]
    path = []
    for _ in range(dataset.context + dataset.horizon):
        for axis in (0, 1):
            at[axis] += velocity[axis]
            if at[axis] <= 0:
                at[axis], velocity[axis] = 0.0, -velocity[axis]
            elif at[axis] >= 1:
                at[axis], velocity[axis] = 1.0, -velocity[axis]
        path.append([int(dataset.free * value) for value in at])
    return path


@KINDS
def test_trajectories_equal_a_scalar_loop(dataset):
    scenes = dataset.scenes("test", 7, 0, 200, 1000)
    by_hand, width = (svg_by_hand, 5) if dataset.variant == "svg" else (srivastava_by_hand, 4)
    rows = counter_uniforms(7, 2, 0, 200, dataset.digits * width).reshape(200, dataset.digits, width)
    for row, positions in zip(rows, scenes.positions.numpy(), strict=True):
        for k in range(dataset.digits):
            assert positions[:, k].tolist() == by_hand(*row[k, 1:].tolist(), dataset)


def test_svg_stays_inside_and_keeps_its_speed():
    positions = SVG.scenes("train", 1, 0, 3000, 1000).positions.numpy().astype(int)
    assert (positions.min(), positions.max()) == (0, 31)
    assert set(np.unique(positions[:, 0])) == set(range(32))
    speed = np.abs(np.diff(positions, axis=1))
    inside = (positions > 0) & (positions < 31)
    free_flight = inside[:, 1:] & inside[:, :-1]
    fastest = np.where(free_flight, speed, -1).max(axis=1)
    assert np.array_equal(
        np.where(free_flight, speed, fastest[:, None]), np.broadcast_to(fastest[:, None], speed.shape)
    )
    assert set(np.unique(fastest)) == {-1, 0, 1, 2, 3, 4}


@pytest.mark.parametrize("name", ["moving_mnist", "moving_mnist_srivastava", "moving_mnist_next"])
@pytest.mark.parametrize("scale", ["demo", "laptop"])
def test_a_reduced_scale_does_not_show_the_future_in_its_context(scale, name):
    params = reading.resolve(yaml.safe_load((ROOT / "params.yaml").read_text("utf-8")) | {"scale": scale})
    dataset = MovingMNIST(**params.datasets[name].arguments)
    paths = dataset.scenes("validation", 101, 0, 200, 1000).positions.numpy().astype(int)
    moving = paths[(paths != paths[:, :1]).any((1, 2, 3))]
    repeating = [lag for lag in range(1, paths.shape[1]) if np.array_equal(moving[:, lag:], moving[:, :-lag])]
    assert not repeating, f"every moving digit is back where it was after {repeating} frames"


def test_srivastava_steps_are_a_tenth_of_the_free_range():
    positions = SRIVASTAVA.scenes("train", 1, 0, 3000, 1000).positions.numpy().astype(float)
    assert (positions.min(), positions.max()) == (0, 36)
    displacement = np.linalg.norm(np.diff(positions, axis=1), axis=-1)
    assert displacement.max() <= 3.6 + math.sqrt(2)
    inside = ((positions > 4) & (positions < 32)).all(axis=-1)
    assert displacement[inside[:, 1:] & inside[:, :-1]].mean() == pytest.approx(3.6, abs=0.05)


def test_srivastava_never_shows_a_digit_twice_and_svg_may():
    assert all(len(set(row)) == 2 for row in SRIVASTAVA.scenes("train", 1, 0, 500, 5).digits.tolist())
    repeated = [len(set(row)) == 1 for row in SVG.scenes("train", 1, 0, 5000, 5).digits.tolist()]
    assert np.mean(repeated) == pytest.approx(0.2, abs=0.03)


def test_drawing_without_replacement_is_uniform():
    grid = (np.arange(60) + 0.5) / 60
    uniforms = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), axis=-1).reshape(-1, 3)
    triples, counts = np.unique(without_replacement(uniforms, 5), axis=0, return_counts=True)
    assert len(triples) == 5 * 4 * 3
    assert set(counts) == {60**3 // 60}
    with pytest.raises(UserError, match="at most 2"):
        without_replacement(np.zeros((1, 3)), 2)


# --- rendering ------------------------------------------------------------------------------------


@KINDS
def test_frames_equal_a_loop_over_digits_and_frames(dataset):
    arrays = arrays_of(dataset)
    images = arrays["test_images"].numpy().astype(int)
    digits, positions = arrays["test_digits"].numpy(), arrays["test_positions"].numpy()
    size = dataset.digit_size
    expected = np.zeros((50, 20, 1, dataset.frame_size, dataset.frame_size), dtype=int)
    for sequence in range(50):
        for step in range(20):
            for k in range(dataset.digits):
                y, x = positions[sequence, step, k]
                patch = expected[sequence, step, 0, y : y + size, x : x + size]
                digit = images[digits[sequence, k]]
                patch[:] = np.minimum(patch + digit, 255) if dataset.variant == "svg" else np.maximum(patch, digit)
    frames = dataset.split("test", arrays, seed=0, device=CPU).batch(np.arange(50))
    assert torch.equal(frames, torch.from_numpy(expected).float() / 255)
    assert frames.max() <= 1


@KINDS
def test_sequence_is_a_function_of_seed_split_and_index_alone(dataset):
    arrays = arrays_of(dataset)
    train = dataset.split("train", arrays, seed=1, device=CPU)
    order = np.random.default_rng(0).permutation(len(train))
    fresh = dataset.split("train", arrays, seed=1, device=CPU)
    for epoch in (2, 0, 1):
        together = train.batch(order, epoch)
        assert all(torch.equal(fresh.batch(order[i : i + 1], epoch)[0], together[i]) for i in range(len(order)))
    other = dataset.scenes("train", 1, 2 * len(train), len(train), len(arrays["train_images"]))
    train.batch(order, 2)
    assert torch.equal(train.scenes.positions, other.positions), "epoch e goes on where epoch e − 1 ended"
    assert not torch.equal(train.batch(order, 0), train.batch(order, 1))
    assert not torch.equal(train.batch(order), dataset.split("train", arrays, seed=2, device=CPU).batch(order))


def test_validation_and_test_are_the_same_for_every_seed_and_epoch():
    arrays = arrays_of(LAPTOP)
    for name in ("validation", "test"):
        first, second = (LAPTOP.split(name, arrays, seed=seed, device=CPU) for seed in (1, 2))
        assert torch.equal(first.batch(np.arange(20), epoch=0), second.batch(np.arange(20), epoch=3))
    other = MovingMNIST(source="bundled", frame_size=32, digit_size=16, max_speed=2, data_seed=1, test=50)
    assert not torch.equal(arrays_of(other)["test_positions"], arrays["test_positions"])


# --- digits ---------------------------------------------------------------------------------------


def test_bundled_digits_share_no_digit():
    pools = bundled_digits()
    assert sum(len(images) for images in pools.values()) == 1797
    seen = [{image.tobytes() for image in pools[split]} for split in SPLITS]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]
    assert pools["train"].max() == 255


@pytest.mark.parametrize(("old", "new"), [(28, 32), (8, 28), (8, 16), (28, 16), (28, 28)])
def test_resize_is_pillows_bilinear_filter(old, new):
    image = pytest.importorskip("PIL.Image")
    digits = np.random.default_rng(0).integers(0, 256, (20, old, old), dtype=np.uint8)
    theirs = np.stack([image.fromarray(digit).resize((new, new), image.Resampling.BILINEAR) for digit in digits])
    assert np.array_equal(resize(digits, new), theirs)


# --- files that are not what they should be -------------------------------------------------------


def test_missing_or_edited_mnist_stops_prepare(tmp_path):
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte.gz.*found none.*framecast fetch mnist"):
        MovingMNIST().prepare(tmp_path)
    path = write_idx(tmp_path / "mnist" / "train-images-idx3-ubyte.gz", np.zeros((3, 28, 28), np.uint8))
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte.gz.*440fcabf.*found [0-9a-f]{64}"):
        MovingMNIST().prepare(tmp_path)
    assert path.exists(), "the user's file is left as it was"


def test_idx_files_that_lie_are_refused(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    whole = write_idx(tmp_path / "whole.gz", images)
    assert np.array_equal(read_images(whole), images)
    cut = tmp_path / "cut.gz"
    cut.write_bytes(whole.read_bytes()[:-100])
    plain = tmp_path / "plain.gz"
    plain.write_bytes(b"<html>not found</html>")
    short = tmp_path / "short.gz"
    short.write_bytes(gzip.compress(b"\x00\x00\x08"))
    for path, complaint in (
        (cut, "expected a whole gzip"),
        (plain, "expected a whole gzip"),
        (short, "expected an idx header of 16 bytes, found 3"),
        (write_idx(tmp_path / "labels.gz", images, magic=0x801), "found magic 0x00000801"),
        (write_idx(tmp_path / "count.gz", images, count=6), "expected 6×28×28 pixels as its header says, found 3920"),
    ):
        with pytest.raises(UserError, match=complaint) as refusal:
            read_images(path)
        assert str(path) in str(refusal.value)


def test_an_archive_is_unpacked_no_further_than_its_header_says(tmp_path):
    header = struct.pack(">4I", 0x803, 5, 28, 28)
    bomb = tmp_path / "bomb.gz"
    bomb.write_bytes(gzip.compress(header + bytes(1 << 16)) + gzip.compress(bytes(1 << 20)) * 256)
    huge = tmp_path / "huge.gz"
    huge.write_bytes(gzip.compress(struct.pack(">4I", 0x803, *(2**32 - 1,) * 3)) + gzip.compress(bytes(1 << 20)) * 256)
    for path, complaint in ((bomb, "pixels as its header says, found more than 3920"), (huge, "expected at most")):
        tracemalloc.start()
        with pytest.raises(UserError, match=complaint):
            read_images(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 << 20, "of the 256 MB that are in it"


def test_published_test_file(tmp_path, monkeypatch):
    """Through a sparse file of the published size, and with small digit files in MNIST's place."""
    path = tmp_path / "moving_mnist" / "mnist_test_seq.npy"
    path.parent.mkdir()
    stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=SHAPE)
    clip = np.random.default_rng(0).integers(0, 256, (20, 64, 64), dtype=np.uint8)
    stored[:, 3] = clip
    stored.flush()
    assert np.array_equal(open_test_sequences(path)[3, :, 0], clip)

    for name, count in (("train", 10_050), ("t10k", 40)):
        write_idx(tmp_path / "mnist" / f"{name}-images-idx3-ubyte.gz", np.zeros((count, 28, 28), np.uint8))
    monkeypatch.setattr(moving_mnist, "verify", lambda *arguments, **options: None)
    dataset = MovingMNIST(variant="srivastava", horizon=5, test=6, validation=4, test_file="mnist_test_seq")
    prepared = dataset.prepare(tmp_path)
    assert "mnist_test_seq" in prepared.facts["origin"]
    assert not any(name in prepared.arrays for name in ("test_images", "test_digits", "test_positions"))
    arrays = {"test_sequences": torch.from_numpy(np.ascontiguousarray(prepared.arrays["test_sequences"]))}
    split = dataset.split("test", arrays, seed=1, device=CPU)
    assert isinstance(split, StoredSplit)
    assert len(split) == 6
    assert torch.equal(split.batch(np.array([3]))[0, :, 0], torch.from_numpy(clip[:15]).float() / 255)

    kartal = MovingMNIST(context=1, horizon=19, test=2, validation=3, train=4, protocol="kartal").prepare(tmp_path)
    assert {name: len(array) for name, array in kartal.arrays.items()} == {
        "test_sequences": 2,
        "validation_sequences": 3,
        "train_sequences": 4,
    }
    assert np.array_equal(kartal.arrays["validation_sequences"][1, :, 0], clip)
    assert sum(array.any((1, 2, 3, 4)).sum() for array in kartal.arrays.values()) == 1, "a sequence in two splits"
    assert "share its digits" in kartal.facts["origin"]

    with path.open("r+b") as file:
        file.truncate(1_000_000)
    with pytest.raises(UserError, match=r"mnist_test_seq.npy: expected a whole npy file, found 1000000 bytes"):
        open_test_sequences(path)
    np.save(path, np.zeros((2, 3), np.float32))
    with pytest.raises(UserError, match=r"expected uint8 \(20, 10000, 64, 64\), found float32 \(2, 3\)"):
        open_test_sequences(path)
