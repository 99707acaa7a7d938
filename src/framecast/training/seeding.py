"""All randomness of training as a function of (seed, position): nothing to save, nothing to restore.

The order of epoch e is a function of (seed, e), and the random numbers of step s (dropout, sampling masks) a function
of (seed, s). A resumed run therefore meets the very numbers that an undisturbed one would have met.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

ORDER, STEP, WEIGHTS, SAMPLING = 0, 1, 2, 3  #: streams: no two uses of a seed share their numbers


def be_deterministic(threads: int) -> None:
    """Fix what may reorder a sum: kernel choice, reduced precision, and the number of CPU threads."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("error")  # as use_deterministic_algorithms, without importing the compiler
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # 5 % of a step
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Count numbers below 1.2e-38 as zero: saturated gates give them, and a CPU takes many times as long for each.

    It holds in this thread, and in those that PyTorch starts meanwhile.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def epoch_order(seed: int, epoch: int, size: int) -> np.ndarray:
    """A permutation of 0 … size−1, (size,) int64."""
    return np.random.default_rng([seed, ORDER, epoch]).permutation(size)


def numbers_of_step(seed: int, step: int, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform numbers in [0, 1) that a training step has besides all that is drawn within it, float64."""
    return np.random.default_rng([seed, SAMPLING, step]).random(shape)


def seed_weights(seed: int) -> None:
    """Seed the initial weights of a cell."""
    _seed(seed, WEIGHTS, 0)


def seed_step(seed: int, step: int) -> None:
    """Seed the random numbers drawn within one training step."""
    _seed(seed, STEP, step)


def _seed(*words: int) -> None:
    torch.manual_seed(int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0]))
