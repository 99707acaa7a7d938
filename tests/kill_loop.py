"""Kill training at random, start it again, and compare the weights with those of an undisturbed run.

``make kill-loop MINUTES=10`` does this for as long as it is told; the test suite does it for some 25 kills.
"""

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

from framecast.artifacts import sha256_of

CELL = "generated_sins/seq2seq_lstm/depth-1/mse/seed-1"
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
SOURCE = Path(__file__).with_name("params.yaml")

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


def study(folder: Path, epochs: int) -> Path:
    """A folder with the tiny study, ``epochs`` long, and its data prepared."""
    folder.mkdir(parents=True)
    (folder / "params.yaml").write_text(SOURCE.read_text().replace("epochs: 2", f"epochs: {epochs}"))
    child = start(folder, "prepare", "generated_sins")
    child.join()
    assert child.exitcode == 0, (folder / "log").read_text()
    return folder


def weights(folder: Path) -> dict[str, str]:
    """sha256 of everything that the finished run left."""
    return {path.name: sha256_of(path) for path in sorted((folder / "data" / "runs").rglob("*.*")) if path.is_file()}


def undisturbed(folder: Path) -> tuple[dict[str, str], float]:
    """Train to the end in peace; what is left, and the seconds that it took."""
    began = time.monotonic()
    child = start(folder, "train", CELL)
    child.join()
    assert child.exitcode == 0, (folder / "log").read_text()
    return weights(folder), time.monotonic() - began


def sent(counts: Counter[str]) -> int:
    """How many signals were sent so far."""
    return sum(counts[number.name] for number in set(SIGNALS))


def killed(
    folder: Path, chance: random.Random, counts: Counter[str], calm: float, most: float = math.inf
) -> dict[str, str]:
    """Train to the end under random signals at random moments; ``counts`` gathers what was sent and what came back.

    The moments lie in the first half of the ``calm`` seconds that the training takes when nobody disturbs it, so that
    one is as likely to strike in the middle of a step on a slow machine as on a fast one. After ``most`` signals
    there are no more.
    """
    while True:
        child = start(folder, "train", CELL, "--checkpoint-minutes", "0.001")
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
    """Loop until the time is up; exit 1 at the first run whose files differ."""
    end, chance, counts, rounds = time.monotonic() + minutes * 60, random.Random(time.time_ns()), Counter[str](), 0
    with tempfile.TemporaryDirectory() as place:
        calm = study(Path(place) / "calm", epochs=300)
        expected, seconds = undisturbed(calm)
        while time.monotonic() < end:
            rounds += 1
            folder = Path(place) / f"round-{rounds}"
            shutil.copytree(calm, folder, ignore=shutil.ignore_patterns("runs", "log"))
            if (found := killed(folder, chance, counts, seconds)) != expected:
                sys.exit(f"round {rounds} differs: expected {expected}, found {found}; signals so far: {dict(counts)}")
            shutil.rmtree(folder)
    print(f"{rounds} runs under {sent(counts)} signals, all equal: {dict(sorted(counts.items()))}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10)
