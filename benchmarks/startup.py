"""CPU seconds before anything useful happens: of ``framecast --help``, and of a training job up to its first step."""

import statistics
from pathlib import Path

from benchmarks.base import TINY, Row, scratch, used_by

REPEATS = 5
CELLS = ("generated_sins/seq2seq_lstm/depth-1/mse/seed-1", "moving_mnist/seq2seq_convlstm/depth-1/mse/seed-1")
IMPORT_TORCH = ("python", "-c", "import torch")
BARE_PYTHON = ("python", "-c", "pass")

#: The job itself, left as soon as its loop has made one step.
UNTIL_FIRST_STEP = """
import os, sys
from framecast import cli
from framecast.training.loop import Trainer
step = Trainer._step
Trainer._step = lambda self: (step(self), os._exit(0))
cli.main()
"""


def rows() -> list[Row]:
    """Each in turn with what it cannot do without: the interpreter, or PyTorch's own import."""
    with scratch(params=TINY) as folder:
        measured = [_row("framecast --help", ("framecast", "--help"), BARE_PYTHON, 0.3, folder)]
        for cell in CELLS:
            dataset, model, *_ = cell.split("/")
            used_by("framecast", "prepare", dataset, cwd=folder)
            job = ("python", "-c", UNTIL_FIRST_STEP, "train", cell)
            measured.append(_row(f"start to first step, {model}", job, IMPORT_TORCH, 3, folder))
        return measured


def _row(name: str, ours: tuple[str, ...], reference: tuple[str, ...], goal: float, folder: Path) -> Row:
    pairs = [(used_by(*ours, cwd=folder).cpu, used_by(*reference, cwd=folder).cpu) for _ in range(REPEATS)]
    mine, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    bare = " ".join(reference).replace("-c ", "")
    return Row(name, f"{mine:.2f} s of CPU", f"{theirs:.2f} s ({bare})", mine, "s", f"≤ {goal} s", mine <= goal)
