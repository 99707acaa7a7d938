"""Faults at chosen moments: inside a write, inside a step, in clocks, manifests and memory; nothing is lost by any."""

import errno
import json
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from framecast.artifacts import sha256_of
from framecast.cluster.journal import Attempt, attempts
from framecast.study.grid import Cell
from tests import kill_loop
from tests.kill_loop import CELL
from tests.test_faults import FULL, Done, Place, calm, flip, halve, place, scored, verb

__all__ = ["calm", "place", "scored"]  # fixtures

pytestmark = pytest.mark.slow

EVERY = 10  #: steps between the checkpoints of a run with an injected fault

# --- injected into a child's life -------------------------------------------------------------------

Fault = Callable[[], None]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_the_third_write(partial: Path, content: bytes) -> None:
    """Half of a checkpoint is on the disk, under its temporary name."""
    with partial.open("wb") as file:
        file.write(content[: len(content) // 2])


def killed_in_a_write() -> None:
    def broken(partial: Path, content: bytes) -> None:
        in_the_third_write(partial, content)
        die()

    _third_checkpoint("write_bytes", broken)


def disk_full_in_a_write() -> None:
    def broken(partial: Path, content: bytes) -> None:
        in_the_third_write(partial, content)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(partial))

    _third_checkpoint("write_bytes", broken)


def killed_before_the_name() -> None:
    _third_checkpoint("replace", lambda *_: die())


def killed_after_the_name() -> None:
    real = Path.replace

    def named(partial: Path, target: Path) -> None:
        real(partial, target)
        die()

    _third_checkpoint("replace", named)


def killed_between_writes() -> None:
    _in_step(3 * EVERY + 5, die)


def told_to_stop_in_a_step(number: int) -> None:
    _in_step(3 * EVERY + 5, lambda: os.kill(os.getpid(), number))


def told_to_stop_in_a_write(number: int) -> None:
    real = Path.write_bytes

    def interrupted(partial: Path, content: bytes) -> None:
        os.kill(os.getpid(), number)
        real(partial, content)

    _third_checkpoint("write_bytes", interrupted)


def little_memory() -> None:
    """Leave a process little more than it has."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), resource.RLIM_INFINITY))


def _third_checkpoint(method: str, instead: Callable[..., None]) -> None:
    """Replace a method of Path for the third checkpoint that is written."""
    real, seen = getattr(Path, method), 0

    def counted(path: Path, *arguments: object) -> object:
        nonlocal seen
        if not path.name.startswith(".step-"):
            return real(path, *arguments)
        seen += 1
        return instead(path, *arguments) if seen == 3 else real(path, *arguments)

    setattr(Path, method, counted)


def _in_step(step: int, happens: Fault) -> None:
    """Between the backward pass and the update of a step."""
    from framecast.training import optimizers

    real, seen = optimizers.gradient_norms, 0

    def norms(parameters: object) -> object:
        nonlocal seen
        seen += 1
        if seen == step:
            happens()
        return real(parameters)  # type: ignore[arg-type]

    optimizers.gradient_norms = norms  # type: ignore[assignment]


def afflicted(folder: Path, said: Path, arguments: tuple[str, ...], fault: Callable[..., None], *given: object) -> None:
    """A child's life with a fault in it, and a checkpoint every few steps."""
    from framecast.training import cell

    def every(_: float) -> Callable[[], bool]:
        steps = iter(range(1, 10**9))
        return lambda: next(steps) % EVERY == 0

    cell._every = every
    fault(*given)
    verb(folder, said, arguments, {})


def suffer(
    place: Place, fault: Callable[..., None], *given: object, command: tuple[str, ...] = ("train", CELL)
) -> Done:
    said = place.folder.parent / "suffered"
    child = kill_loop.context.Process(target=afflicted, args=(place.folder, said, command, fault, *given))
    child.start()
    child.join()
    return Done(int(child.exitcode or 0), said.read_text())


def warnings(done: Done) -> list[str]:
    return [line for line in done.said.splitlines() if "warning" in line]


# --- checkpoints ------------------------------------------------------------------------------------

KILLS = {
    killed_in_a_write: 2 * EVERY,
    killed_before_the_name: 2 * EVERY,
    killed_after_the_name: 3 * EVERY,
    killed_between_writes: 3 * EVERY,
}


@pytest.mark.parametrize("fault", KILLS)
def test_killed_training_goes_on_from_the_newest_generation_with_one_warning(
    place: Place, calm: Place, fault: Callable[[], None]
) -> None:
    assert suffer(place, fault).code == -signal.SIGKILL
    assert place.weights() == {}
    done = place("train", CELL)
    assert done.code == 0, done.said
    (warning,) = warnings(done)
    assert "was killed" in warning
    assert warning.endswith(f"going on from step {KILLS[fault]}")
    assert place.weights() == calm.weights()
    assert not list(place.folder.glob("data/checkpoints/**/*.*"))


@pytest.mark.parametrize("damage", [flip, halve, lambda path: path.write_bytes(b"")], ids=["flip", "halve", "empty"])
def test_a_generation_that_a_power_cut_took_is_passed_over_with_one_warning(
    place: Place, calm: Place, damage: Callable[[Path], object]
) -> None:
    suffer(place, killed_after_the_name)
    newest = place.one(f"data/checkpoints/{CELL}/*/step-{3 * EVERY:09d}-*")
    damage(newest)
    done = place("train", CELL, "--time-budget", "0.001")
    assert done.code == 75
    (warning,) = warnings(done)
    for word in (newest.name, "is damaged", "was killed", f"going on from step {2 * EVERY}"):
        assert word in warning
    done = place("train", CELL)
    assert (done.code, warnings(done)) == (0, [])
    assert place.weights() == calm.weights()


def test_a_disk_that_fills_up_in_a_write_leaves_the_generation_before(place: Place, calm: Place) -> None:
    done = suffer(place, disk_full_in_a_write)
    done.in_one_line("checkpoints", f"step-{3 * EVERY:09d}", FULL)
    assert place.weights() == {}
    kept = sorted(path.name[:14] for path in place.folder.glob(f"data/checkpoints/{CELL}/*/*step-*"))
    assert kept == [f"step-{step:09d}" for step in (EVERY, 2 * EVERY)]
    done = place("train", CELL)
    assert (done.code, warnings(done)) == (0, []), "the failed run has told already"
    assert place.weights() == calm.weights()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize(
    ("fault", "step"), [(told_to_stop_in_a_step, 3 * EVERY + 5), (told_to_stop_in_a_write, 3 * EVERY)]
)
def test_a_signal_in_the_middle_ends_in_75_and_the_same_weights(
    place: Place, calm: Place, fault: Callable[[int], None], step: int, number: signal.Signals
) -> None:
    done = suffer(place, fault, number)
    assert done.code == 75, done.said
    assert done.said.strip().endswith(f"received {number.name}; saved at step {step} of 120, run again")
    assert not place.weights()
    done = place("train", CELL)
    assert (done.code, warnings(done)) == (0, [])
    assert place.weights() == calm.weights()
    stopped, last = attempts_at(place)[-2:]
    assert (stopped.outcome, last.outcome) == ("stopped", "done")


def attempts_at(place: Place) -> list[Attempt]:
    with inside(place.folder):
        return attempts("train", CELL, place.grid.run_key(Cell("generated_sins", "seq2seq_lstm", 1, "mse", 1)))


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


# --- clocks -----------------------------------------------------------------------------------------

HOUR = 3600


@pytest.mark.parametrize("ahead", [-HOUR, HOUR, 10 * 365 * 24 * HOUR])
def test_a_lease_of_another_time_blocks_nobody_and_a_fresh_one_does(place: Place, calm: Place, ahead: float) -> None:
    assert place("train", CELL, "--time-budget", "0.001").code == 75
    lease = place.one(f"data/checkpoints/{CELL}/*/step-*").with_name("lease.json")
    told = {"host": "elsewhere", "pid": 1, "job": "77", "heartbeat": time.time()}
    lease.write_text(json.dumps(told))
    place("train", CELL).in_one_line(CELL, "job 77, process 1 on elsewhere is training it")
    lease.write_text(json.dumps(told | {"heartbeat": time.time() + ahead}))
    place.succeeds("train", CELL)
    assert place.weights() == calm.weights()


def test_times_of_files_decide_nothing(place: Place, calm: Place) -> None:
    """The newest generation is the one with the most steps; what exists is done, whatever its clock says."""
    suffer(place, killed_between_writes)
    older, newer = sorted(place.folder.glob(f"data/checkpoints/{CELL}/*/step-*"))
    os.utime(older, (time.time() + HOUR,) * 2)
    os.utime(newer, (0, 0))
    done = place("train", CELL)
    assert warnings(done)[0].endswith(f"going on from step {3 * EVERY}")
    assert place.weights() == calm.weights()
    before = place.one(f"data/runs/{CELL}/*/run.json").stat().st_ino
    for path in place.folder.rglob("*"):
        os.utime(path, (time.time() + 1000 * 24 * HOUR,) * 2)
    done = place("train", CELL)
    assert done.code == 0
    assert "already trained" in done.said
    assert place.one(f"data/runs/{CELL}/*/run.json").stat().st_ino == before


def test_an_attempt_of_the_future_is_not_taken_for_a_running_one(place: Place) -> None:
    assert place("train", CELL, "--time-budget", "0.001").code == 75
    path = place.folder / sorted(place.folder.glob(f"logs/attempts/train/{CELL}/*/*.json"))[-1]
    told = json.loads(path.read_text())
    for host in ("elsewhere", socket.gethostname()):
        future = {"host": host, "pid": 2**22 - 1, "outcome": "", "heartbeat": time.time() + HOUR}
        path.write_text(json.dumps(told | future))
        found = attempts_at(place)[-1]
        assert not found.alive
        assert found.ending == "lost"


# --- files that are not what they were ----------------------------------------------------------------

FLIPPED = [
    ("train", CELL, "processed/generated_sins/*/arrays.safetensors"),
    ("evaluate", CELL, "processed/generated_sins/*/arrays.safetensors"),
    ("evaluate", CELL, f"runs/{CELL}/*/model.safetensors"),
]


@pytest.mark.parametrize(("command", "cell", "file"), FLIPPED)
def test_a_flipped_byte_is_told_with_file_expected_and_found(
    scored: Place, calm: Place, command: str, cell: str, file: str
) -> None:
    path = scored.one(f"data/{file}")
    if command == "train":
        for made in scored.one(f"data/runs/{CELL}/*").iterdir():
            made.unlink()
    expected = sha256_of(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    told = str(path.relative_to(scored.folder))
    scored(command, cell).in_one_line(told, f"found sha256 {sha256_of(path)}", f"expected {expected}")
    if command == "train":
        assert scored.weights() == {}
        assert not list(scored.folder.glob("data/checkpoints/**/step-*"))


EDITED = [
    (("evaluate", CELL), f"runs/{CELL}/*/run.json", "parameter_count", 1),
    (("report",), f"runs/{CELL}/*/run.json", "best_step", 119),
    (("tables",), f"scores/{CELL}/*/score.json", "scale", "paper"),
    (("report",), f"scores/{CELL}/*/score.json", "causal", "leaky"),
    (("train", CELL), "processed/generated_sins/*/manifest.json", "horizon", 6),
    (("evaluate", CELL), "processed/generated_sins/*/manifest.json", "key", "00000000"),
]


@pytest.mark.parametrize(("command", "file", "name", "value"), EDITED)
def test_an_edited_manifest_is_refused_where_it_is_read(
    scored: Place, command: tuple[str, ...], file: str, name: str, value: object
) -> None:
    scored.succeeds("tables")
    path = scored.one(f"data/{file}")
    if command[0] == "train":
        scored.one(f"data/runs/{CELL}/*/run.json").unlink()
    original = path.read_text()
    told = json.loads(original)
    assert told[name] != value
    path.write_text(json.dumps(told | {name: value}, sort_keys=True, indent=1))
    place = path.relative_to(scored.folder)
    scored(*command).in_one_line(
        f"{place}: its content was edited: found sha256 ", "expected ", f"delete {place.parent}"
    )
    path.write_text(original)
    scored.succeeds(*command)


def test_the_files_of_another_key_are_refused(scored: Place) -> None:
    run = scored.one(f"data/runs/{CELL}/*")
    other = run.with_name("0123abcd")
    run.rename(other)
    params = scored.folder / "params.yaml"
    params.write_text(params.read_text().replace("hidden_size: 8", "hidden_size: 9"))
    wanted = scored.grid.run_folder(Cell("generated_sins", "seq2seq_lstm", 1, "mse", 1))
    other.rename(scored.folder / wanted)
    scored("evaluate", CELL).in_one_line(f"{wanted}/run.json", f"found the manifest of key {run.name}", wanted.name)


# --- memory -----------------------------------------------------------------------------------------


def test_memory_that_runs_out_is_one_line_and_a_failed_attempt(place: Place) -> None:
    path = place.folder / "params.yaml"
    path.write_text(path.read_text().replace("hidden_size: 8", "hidden_size: 8192"))
    suffer(place, little_memory).in_one_line("out of memory", "allocate", "ask params.yaml for less")
    (found,) = attempts_at(place)
    assert found.ending == "failed"
    assert "allocate" in found.cause
    assert len(found.cause.splitlines()) == 1
    assert not place.weights()
