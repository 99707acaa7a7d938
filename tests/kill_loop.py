"""Kill training at random, start it again, and compare the weights with those of an undisturbed run.

``make kill-loop MINUTES=10`` does this for as long as it is told, with one system of ``models/`` after the other, those
that can be fed their own forecasts in training under a sampling schedule and with ``reverse_input``; the test suite
does it for some 25 kills of one system, and a few of another.
"""

import itertools
import math
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from framecast.artifacts import sha256_of
from framecast.study import catalogue

CELL = "generated_sins/seq2seq_lstm/depth-1/mse/seed-1"
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
SIGNALS_OF_A_RUN = 10  #: then it may end in peace, and the next system is the one
SOURCE = Path(__file__).with_name("params.yaml")
DATASETS = {"series": "generated_sins", "any": "generated_sins", "video": "moving_mnist"}
EPOCHS = {"series": 300, "any": 300, "video": 20}  #: some ten seconds

#: What makes a system small, and its loss one with a penalty, where it has such an argument; and its training one with
#: sampling.
SMALL = {
    "hidden_size": 8,
    "hidden_channels": 8,
    "translator_channels": 8,
    "encoder_blocks": 1,
    "kernel_size": 3,
    "patch_size": 2,
    "decoupling": 0.05,
}
SAMPLED = {
    "sampling": "reverse",
    "sampling_unit": "run",
    "sampling_start": 0.3,
    "sampling_end": 0.7,
    "sampling_decay": 0.1,
    "reverse_input": True,
}

# Children fork from a server that has imported torch already: the kill then lands in training, not in an import.
context = multiprocessing.get_context("forkserver")
PRELOADED = ("training.cell", "cli", "study.reading", "data.fetching.fetch")
context.set_forkserver_preload([f"framecast.{module}" for module in PRELOADED])


def verb(folder: Path, *arguments: str) -> None:
    """A child's life: one ``framecast`` command in ``folder``, its messages kept in ``log``."""
    os.chdir(folder)
    os.dup2(os.open("log", os.O_CREAT | os.O_WRONLY | os.O_APPEND), 2)
    framecast(*arguments)


def framecast(*arguments: str) -> None:
    """The command; in one thread, for its tensors are small."""
    import torch

    from framecast.cli import main

    torch.set_num_threads(1)
    sys.argv = ["framecast", *arguments]
    main()


def start(folder: Path, *arguments: str) -> multiprocessing.context.ForkServerProcess:
    """Start a command; an exit code is there after ``join``."""
    child = context.Process(target=verb, args=(folder, *arguments))
    child.start()
    return child


def cell(kind: str) -> str:
    """The cell of a kind of system in ``study``."""
    return f"{dataset(kind)}/killed/depth-2/mse/seed-1"


def tree(epochs: int, kind: str | None = None) -> dict[str, Any]:
    """The tiny study, ``epochs`` long, with a small system of a kind as the model ``killed``, or without."""
    whole: dict[str, Any] = yaml.safe_load(SOURCE.read_text())
    whole["training"]["epochs"] = epochs
    if kind is not None:
        taken = catalogue.keyword_arguments(f"models.{kind}")
        small = {name: value for name, value in SMALL.items() if name in taken}
        training = SAMPLED if catalogue.constant(f"models.{kind}", "SAMPLED", False) else {}
        whole["models"]["killed"] = {"kind": kind, **small, "training": training}
        lists = {"datasets": [dataset(kind)], "models": ["killed"], "depths": [2], "losses": ["mse"]}
        whole["studies"]["killed"] = lists
    return whole


def dataset(kind: str) -> str:
    """What a kind of system is trained on."""
    return DATASETS[catalogue.frames("models", kind)]


def study(folder: Path, epochs: int, kind: str | None = None) -> Path:
    """A folder with such a study, and its data prepared."""
    folder.mkdir(parents=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(tree(epochs, kind)))
    child = start(folder, "prepare", "generated_sins" if kind is None else dataset(kind))
    child.join()
    assert child.exitcode == 0, (folder / "log").read_text()
    return folder


def weights(folder: Path) -> dict[str, str]:
    """sha256 of everything that the finished run left."""
    return {path.name: sha256_of(path) for path in sorted((folder / "data" / "runs").rglob("*.*")) if path.is_file()}


def undisturbed(folder: Path, cell: str = CELL) -> tuple[dict[str, str], float]:
    """Train to the end in peace; what is left, and the seconds that it took."""
    began = time.monotonic()
    child = start(folder, "train", cell)
    child.join()
    assert child.exitcode == 0, (folder / "log").read_text()
    return weights(folder), time.monotonic() - began


def sent(counts: Counter[str]) -> int:
    """How many signals were sent so far."""
    return sum(counts[number.name] for number in set(SIGNALS))


def killed(
    folder: Path,
    chance: random.Random,
    counts: Counter[str],
    calm: float,
    most: float = math.inf,
    cell: str = CELL,
) -> dict[str, str]:
    """Train to the end under random signals at random moments; ``counts`` gathers what was sent and what came back.

    The moments lie in the first half of the ``calm`` seconds that the training takes when nobody disturbs it, so that
    one is as likely to strike in the middle of a step on a slow machine as on a fast one. After ``most`` signals
    there are no more.
    """
    while True:
        child = start(folder, "train", cell, "--checkpoint-minutes", "0.001")
        moment = chance.uniform(0.05, 0.5) * calm
        child.join(timeout=moment if sent(counts) < most else None)
        if child.exitcode is None:
            number = chance.choice(SIGNALS)
            os.kill(child.pid or 0, number)
            counts[number.name] += 1
        child.join()
        allowed = {0, 75, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGUSR1, 130}
        assert child.exitcode in allowed, f"exit {child.exitcode}: {(folder / 'log').read_text()}"
        counts[f"exit {child.exitcode}"] += 1
        if child.exitcode == 0:
            return weights(folder)


def main(minutes: float) -> None:
    """Loop over all systems until the time is up; exit 1 at the first run whose files differ."""
    end, chance, counts, rounds = time.monotonic() + minutes * 60, random.Random(time.time_ns()), Counter[str](), 0
    calm: dict[str, tuple[Path, dict[str, str], float]] = {}
    with tempfile.TemporaryDirectory() as place:
        for kind in itertools.cycle(catalogue.trained()):
            if time.monotonic() >= end:
                break
            if kind not in calm:
                folder = study(Path(place) / kind, EPOCHS[catalogue.frames("models", kind)], kind)
                calm[kind] = (folder, *undisturbed(folder, cell(kind)))
            rounds += 1
            source, expected, seconds = calm[kind]
            folder = Path(place) / f"round-{rounds}"
            shutil.copytree(source, folder, ignore=shutil.ignore_patterns("runs", "log"))
            found = killed(folder, chance, counts, seconds, sent(counts) + SIGNALS_OF_A_RUN, cell(kind))
            if found != expected:
                told = f"expected {expected}, found {found}; signals so far: {dict(counts)}"
                sys.exit(f"round {rounds}, {kind}, differs: {told}")
            shutil.rmtree(folder)
    systems = f"{rounds} runs of {len(calm)} systems"
    print(f"{systems} under {sent(counts)} signals, all equal: {dict(sorted(counts.items()))}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10)
