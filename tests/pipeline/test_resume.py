"""Drivers that are killed, drivers that meet, and ``framecast resume`` after them, with the real local engines."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from framecast.artifacts import sha256_of
from framecast.cluster import lease, slurm
from framecast.errors import UserError
from framecast.upkeep import driver
from tests import warm
from tests.conftest import BIN, STUCK_SECONDS, one_line, until
from tests.pipeline.conftest import CONVLSTM, KEYED, LSTM, Clone

MISSING = (LSTM.format(1), CONVLSTM)  #: cells that the studies here still have to train
RESUME = ("framecast", "resume")
NOBODY: dict[str, dict[str, str]] = {"read": {}, "write": {}}  #: DVC's lock when nobody holds it

#: Read by every Python with this folder on its path: a cell that the gate names stops before its weights get their
#: name, and says so, until it is named no more. So a test knows where a process is when it kills another.
GATE = """
import os, pathlib, time

GATE = os.environ.get("GATE", "")


def is_closed(target):
    with open(GATE) as gate:
        return any(cell in target for cell in gate.read().split())


if GATE:
    real = pathlib.Path.replace

    def replace(self, target):
        if pathlib.Path(target).name == "model.safetensors" and is_closed(str(target)):
            with open(GATE + ".held", "a") as held:
                held.write(f"{target}\\n")
            while is_closed(str(target)):
                time.sleep(0.05)
        return real(self, target)

    pathlib.Path.replace = replace
"""


@dataclass(frozen=True)
class Gate:
    """Holds cells in training shortly before their end."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "gate"

    def close(self, *cells: str) -> dict[str, str]:
        """Name the cells to hold; gives the environment of the processes that are to be held."""
        (self.folder / "sitecustomize.py").write_text(GATE)
        (self.folder / "gate.held").touch()
        self.file.write_text("\n".join(f"{cell}/" for cell in cells))
        return {"GATE": str(self.file)}

    def open(self) -> None:
        self.file.write_text("")

    def holds(self, *cells: str) -> bool:
        """Whether these have arrived."""
        return all(f"{cell}/" in (self.folder / "gate.held").read_text() for cell in cells)

    def environment(self, clone: Clone, place: Path) -> dict[str, str]:
        """What a process of the clone needs to meet the gate, and to find its programs in a place."""
        paths = f"{self.folder}{os.pathsep}{clone.environment['PYTHONPATH']}"
        around = {**os.environ, **clone.environment}
        path = f"{place}{os.pathsep}{around['PATH']}"
        return {**around, "PATH": path, "PYTHONPATH": paths, "GATE": str(self.file)}


@dataclass(frozen=True)
class Started:
    """A program in the background, in a session of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    def printed(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def ends_well(self) -> str:
        """Wait for its end; gives what it printed."""
        assert self.process.wait(timeout=STUCK_SECONDS) == 0, self.printed()
        return self.printed()

    def kill(self) -> None:
        """SIGKILL it alone."""
        self.process.kill()
        self.process.wait()

    def kill_tree(self) -> None:
        """SIGKILL it with all that it has started: stopped first, lest one of them start another meanwhile."""
        tree: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            found = [root]
            while found:
                for process in found:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.suspend()
                tree += found
                found = [process for process in root.children(recursive=True) if process not in tree]
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        psutil.wait_procs(tree, timeout=STUCK_SECONDS)


Start = Callable[..., Started]


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


@pytest.fixture
def start(gate: Gate) -> Iterator[Start]:
    """Start programs in a clone; whatever is left of them when the test ends is killed.

    They are the real ones, for what is about their processes. Where nothing but their words and files is looked at, a
    ``place`` can have others, which they start their jobs from, too.
    """
    running: list[Started] = []

    def starter(clone: Clone, *command: str, place: Path = BIN, **environment: str) -> Started:
        log = gate.folder / f"log-{len(running)}"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [place / command[0], *command[1:]],
                cwd=clone.folder,
                env={**gate.environment(clone, place), **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        running.append(Started(process, log))
        return running[-1]

    yield starter
    for started in running:
        started.kill_tree()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.process.pid, signal.SIGKILL)


def session(process: psutil.Process) -> int | None:
    """The session that a process belongs to; None where it has ended."""
    with contextlib.suppress(ProcessLookupError):
        return os.getsid(process.pid)
    return None


def without(clone: Clone, *cells: str) -> dict[str, tuple[int, int]]:
    """Take cells' runs and scores away; gives what is left: every file's inode and time."""
    for cell in cells:
        for phase in ("runs", "scores"):
            shutil.rmtree(clone.folder / "data" / phase / cell)
    return clone.artefacts()


def hashes(folder: Path) -> dict[str, str]:
    """sha256 of every artefact, by path."""
    places = [*(f"data/{phase}" for phase in KEYED), "reports"]
    files = (path for place in places for path in (folder / place).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files if path.name != ".gitignore"}


def attempts(folder: Path, phase: str = "train") -> dict[str, list[str]]:
    """How each cell's attempts ended, in their order."""
    found: dict[str, list[str]] = {}
    for path in sorted((folder / "logs" / "attempts" / phase).rglob("*.json"), key=lambda path: int(path.stem)):
        cell = path.parent.parent.relative_to(folder / "logs" / "attempts" / phase).as_posix()
        found.setdefault(cell, []).append(json.loads(path.read_text())["outcome"])
    return found


def remains(folder: Path) -> list[Path]:
    """What only a killed process leaves."""
    locks = [*(folder / ".snakemake" / "locks").glob("*"), *folder.glob(".dvc/tmp/rwlock")]
    locks = [path for path in locks if path.name != "rwlock" or json.loads(path.read_text()) not in ({}, NOBODY)]
    leases = [*folder.glob("data/checkpoints/**/lease.json"), *folder.glob("data/**/.*.partial")]
    return [*locks, *leases, *folder.glob(driver.RECORD.as_posix())]


def frozen(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file that ``resume`` might touch, to see that it did not. (A living training renews its lease itself.)"""
    places = [folder / ".snakemake", folder / ".dvc" / "tmp", folder / "data"]
    files = [path for place in places for path in place.rglob("*") if path.is_file() and path.name != driver.LOCK.name]
    files = [path for path in files if path.suffix not in (".pkl", ".log")]
    renewed = {str(path): (0, 0) for path in files if path.name == "lease.json"}
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files} | renewed


# --- killed drivers ----------------------------------------------------------------------------------


def test_a_killed_tree_leaves_nobody_who_was_just_started(tmp_path: Path) -> None:
    log = tmp_path / "log"
    busy = "(while :; do sleep 300 & echo >&2; kill $!; wait; done) &"
    with log.open("wb") as out:
        process = subprocess.Popen(["sh", "-c", f"{busy * 8} wait"], stderr=out, start_new_session=True)
    started = Started(process, log)
    until(lambda: len(started.printed()) > 99, "it starts one after the other")
    started.kill_tree()
    assert [each for each in psutil.process_iter() if session(each) == process.pid] == []


@pytest.mark.slow
def test_the_whole_tree_killed(pulled: Clone, built: Clone, gate: Gate, start: Start) -> None:
    done, held = MISSING
    before = without(pulled, *MISSING)
    gate.close(held)
    first = start(pulled, "snakemake", "-j2")
    until(lambda: gate.holds(held) and attempts(pulled.folder).get(done) == ["done"], "one trained, one in training")
    trained = {path: of for path, of in pulled.artefacts().items() if path.startswith(f"data/runs/{done}")}
    first.kill_tree()
    assert remains(pulled.folder)

    gate.open()
    resumed = pulled(*RESUME)
    assert "going on with snakemake -j2" in resumed.stderr
    assert hashes(pulled.folder) == hashes(built.folder)
    assert (before | trained).items() <= pulled.artefacts().items()
    assert attempts(pulled.folder) == {done: ["done"], held: ["", "done"]}
    assert remains(pulled.folder) == []
    pulled.assert_quiet()
    assert "no interrupted run is recorded" in one_line(pulled(*RESUME, check=False))


@pytest.mark.slow
def test_the_driver_alone_killed_its_training_goes_on_and_is_waited_for(
    pulled: Clone, built: Clone, gate: Gate, start: Start
) -> None:
    done, held = MISSING
    before = without(pulled, *MISSING)
    gate.close(held)
    first = start(pulled, "snakemake", "-j2")
    until(lambda: gate.holds(held) and is_scored(pulled, done), "one trained and scored, one in training")
    first.kill()

    seen = frozen(pulled.folder)
    refusal = one_line(pulled(*RESUME, check=False))
    assert f"(framecast train {held}" in refusal
    assert refusal.endswith("wait with `framecast resume --wait`, or end them first")
    again = pulled("snakemake", check=False)
    assert again.returncode
    assert "framecast: a driver was killed here, and still alive: process" in again.stderr
    assert "`framecast resume --wait`" in again.stderr
    assert frozen(pulled.folder) == seen

    resumed = start(pulled, *RESUME, "--wait")
    until(lambda: f"waiting for process {training(pulled, held)} " in resumed.printed(), "it waits")
    gate.open()
    assert "going on with snakemake -j2" in resumed.ends_well()
    assert attempts(pulled.folder) == {done: ["done"], held: ["done"]}
    assert hashes(pulled.folder) == hashes(built.folder)
    assert before.items() <= pulled.artefacts().items()
    assert remains(pulled.folder) == []
    pulled.assert_quiet()


def is_scored(clone: Clone, cell: str) -> bool:
    """Whether nothing more will be written for that cell: of a score, the manifest comes last."""
    return any((clone.folder / "data" / "scores" / cell).glob("*/score.json"))


def training(clone: Clone, cell: str) -> int:
    """The process that trains a cell there; other tests may train one of the same name somewhere else."""
    found = [process.pid for process in psutil.process_iter(["cmdline", "cwd"]) if _trains(process, clone, cell)]
    assert len(found) == 1
    return found[0]


def _trains(process: psutil.Process, clone: Clone, cell: str) -> bool:
    words = process.info["cmdline"] or []
    here = process.info["cwd"] == str(clone.folder.resolve())
    return here and words[1:2] == [str(BIN / "framecast")] and words[2:4] == ["train", cell]


@pytest.mark.slow
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with its tree"])
def test_dvc_repro_killed(pulled: Clone, built: Clone, gate: Gate, start: Start, alone: bool) -> None:
    before = without(pulled, CONVLSTM)
    gate.close(CONVLSTM)
    first = start(pulled, "dvc", "repro")
    until(lambda: gate.holds(CONVLSTM), "a cell in training")
    (first.kill if alone else first.kill_tree)()
    if alone:
        assert "(snakemake -- train_all)" in one_line(pulled(*RESUME, check=False))
        gate.open()
        until(lambda: not pulled.folder.joinpath(driver.RECORD).exists(), "its Snakemake ends by itself")
        until(lambda: not list(driver_processes(pulled.folder)), "all that is left of it ends")
    gate.open()

    resumed = pulled(*RESUME)
    assert "going on with dvc repro" in resumed.stderr
    assert "removed DVC's lock of dead processes" in resumed.stderr
    assert attempts(pulled.folder) == {CONVLSTM: ["done"] if alone else ["", "done"]}
    assert hashes(pulled.folder) == hashes(built.folder)
    assert before.items() <= pulled.artefacts().items()
    assert remains(pulled.folder) == []
    pulled.assert_quiet()


def driver_processes(folder: Path) -> Iterator[psutil.Process]:
    """Everything that stands in a folder."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if Path(process.cwd()) == folder and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def dvc_above(folder: Path, stage: str) -> psutil.Process:
    """The DVC that runs a stage: of what stands in the folder, the first of those that led to the stage's command."""
    here = list(driver_processes(folder))
    words: dict[psutil.Process, list[str]] = {}
    for process in here:
        with contextlib.suppress(psutil.Error):  # a job may have ended meanwhile
            words[process] = process.cmdline()
    (command,) = (process for process, said in words.items() if said[-1:] == [stage])
    return next(process for process in reversed(command.parents()) if process in here)


# --- two terminals -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("first", [("snakemake",), ("dvc", "repro")], ids=" ".join)
def test_a_second_driver_stops_at_once_and_the_first_ends_well(
    pulled: Clone, built: Clone, gate: Gate, start: Start, first: tuple[str, ...]
) -> None:
    without(pulled, CONVLSTM)
    gate.close(CONVLSTM)
    running = start(pulled, *first, place=warm.programs())
    until(lambda: gate.holds(CONVLSTM), "a cell in training")

    second = pulled("snakemake", check=False)
    assert second.returncode
    assert "framecast: this grid is already being run here, by process" in second.stderr
    assert f"({' '.join(first)})" in second.stderr
    assert "`framecast status --watch`" in second.stderr
    third = pulled("dvc", "repro", check=False)
    assert third.returncode
    if first[0] == "dvc":
        assert set(re.findall(r"\(PID (\d+)\)", third.stderr)) == {str(dvc_above(pulled.folder, "train_all").pid)}
    assert "still alive" in one_line(pulled(*RESUME, check=False))

    gate.open()
    running.ends_well()
    assert attempts(pulled.folder) == {CONVLSTM: ["done"]}
    assert hashes(pulled.folder) == hashes(built.folder)
    assert remains(pulled.folder) == []


@pytest.mark.slow
def test_one_of_two_at_the_same_instant_goes_on(pulled: Clone, start: Start, gate: Gate) -> None:
    without(pulled, CONVLSTM)
    gate.close()
    both = [start(pulled, "snakemake", place=warm.programs()) for _ in range(2)]
    codes = sorted(one.process.wait(timeout=STUCK_SECONDS) for one in both)
    assert codes == [0, 1], [one.printed() for one in both]
    refused = re.compile(
        "already being run here|Directory cannot be locked"
    )  # ours, or Snakemake's in the same instant
    assert sum(bool(refused.search(one.printed())) for one in both) == 1
    assert attempts(pulled.folder) == {CONVLSTM: ["done"]}


# --- what is recorded, and what is left --------------------------------------------------------------


class Gone(Exception):
    """``resume`` would now have become another program."""


@pytest.fixture
def resume(study: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[list[str], dict[str, str]]]:
    """Call resume; gives the command and environment that it would become."""
    monkeypatch.setattr(slurm, "jobs", lambda: None)
    became: list[tuple[list[str], dict[str, str]]] = []

    def execve(program: str, command: list[str], environment: dict[str, str]) -> None:
        assert Path(program).parent == BIN
        became.append((command, environment))
        raise Gone

    monkeypatch.setattr(os, "execve", execve)

    def call(*command: str) -> tuple[list[str], dict[str, str]]:
        with pytest.raises(Gone):
            driver.resume(command)
        return became.pop()

    return call


Resume = Callable[..., tuple[list[str], dict[str, str]]]


def record(host: str = "", command: str = "snakemake -j2", **more: object) -> None:
    """What a driver that was killed left."""
    told = {"host": host or socket.gethostname(), "pid": 1, "command": command.split(), **more}
    driver.RECORD.parent.mkdir(exist_ok=True)
    driver.RECORD.write_text(json.dumps(told))


def test_there_is_nothing_to_resume(framecast: Callable[..., subprocess.CompletedProcess[str]], study: Path) -> None:
    told = one_line(framecast("resume", check=False))
    assert told.startswith(f"framecast: resume: no interrupted run is recorded in {study}; say which command goes on")
    assert "allowed: --wait, or a command" in one_line(framecast("resume", "--wiat", check=False))


def test_what_the_dead_left_is_cleared_and_nothing_else(
    resume: Resume, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(environment={"SNAKEMAKE_PROFILE": "mine", "FRAMECAST_PARTITION": "p"})
    cell = study / "data/checkpoints/a/b/c"
    dead = {
        study / ".snakemake/locks/0.input.lock": "",
        study / ".snakemake/incomplete/xyz": "",
        cell / "lease.json": json.dumps({"host": "gone", "pid": 7, "job": "5", "heartbeat": time.time() - 301}),
        study / "data/runs/a/b/.model.safetensors.7.partial": "half",
        study / "reports/.report.html.7.partial": "half",
        # Processes of these numbers live: one is not DVC, so the number was given again.
        study / ".dvc/tmp/rwlock": json.dumps({"write": {"data/runs": {"pid": os.getpid(), "cmd": "dvc repro"}}}),
    }
    kept = {
        cell / "lease.lock": "",
        cell / "step-9.safetensors": "state",
        study / "data/runs/a/b/model.safetensors": "weights",
        study / "data/raw/mnist/images.part": "half a download, which goes on",
    }
    for path, text in (dead | kept).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    command, environment = resume()
    assert command == ["snakemake", "-j2"]
    assert environment["SNAKEMAKE_PROFILE"] == "mine"
    assert environment["FRAMECAST_PARTITION"] == "p"
    assert not any(path.exists() for path in dead)
    assert {path: path.read_text() for path in kept} == kept
    assert not driver.RECORD.exists()
    told = capsys.readouterr().err.splitlines()
    assert told[-1] == "framecast: going on with snakemake -j2"
    assert "framecast: removed half-written files (2)" in told


def test_dvc_killed_between_its_stages_is_known_by_its_own_lock(resume: Resume, study: Path) -> None:
    lock = study / ".dvc/tmp/rwlock"
    lock.parent.mkdir(parents=True)
    holder = {"pid": os.getpid(), "cmd": f"{BIN}/dvc repro -q"}
    lock.write_text(json.dumps({"read": {"data/runs": [holder]}, "write": {}}))
    assert resume()[0] == ["dvc", "repro", "-q"]
    assert not lock.exists()
    lock.write_text('{"write": {"data/ru')  # DVC writes it in place
    assert resume("dvc", "repro")[0] == ["dvc", "repro"]
    assert not lock.exists()


def test_a_driver_on_another_machine(resume: Resume, monkeypatch: pytest.MonkeyPatch) -> None:
    record("login2")
    with pytest.raises(UserError, match=r"on login2 \(process 1\).*run `framecast resume` there, or delete"):
        driver.resume()
    with pytest.raises(SystemExit, match="framecast: resume: the driver was started on login2"):
        driver.started(["snakemake"])
    assert driver.RECORD.exists()

    record("node7", "snakemake --profile slurm", job="12")  # itself a job: Slurm knows whether it lives
    job = slurm.Job("12", "RUNNING", "None", "")
    monkeypatch.setattr(slurm, "jobs", lambda: [job])
    with pytest.raises(UserError, match=r"still alive: 1 Slurm job \(scancel 12\)"):
        driver.resume()
    monkeypatch.setenv("SLURM_JOB_ID", "13")  # the job that resumes is no obstacle to itself
    monkeypatch.setattr(slurm, "jobs", lambda: [slurm.Job("13", "RUNNING", "None", "")])
    assert resume()[0] == ["snakemake", "--profile", "slurm"]


def test_a_controller_that_is_silent(resume: Resume) -> None:
    for left in ({"command": "snakemake --profile slurm"}, {"environment": {"SNAKEMAKE_PROFILE": "slurm"}}):
        record(**left)  # type: ignore[arg-type]
        with pytest.raises(UserError, match="controller does not answer, so its jobs may be alive"):
            driver.resume()
    driver.RECORD.unlink()
    with pytest.raises(UserError, match="controller does not answer"):
        driver.resume(["snakemake", "--profile", "slurm"])
    assert resume("snakemake", "-j1")[0] == ["snakemake", "-j1"]


@contextlib.contextmanager
def pretending(folder: Path, name: str, *arguments: str, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like one of our programs and only waits."""
    script = folder / name
    script.write_text(f"#!{sys.executable}\nprint(flush=True)\nimport time\ntime.sleep(600)\n")
    script.chmod(0o755)
    with subprocess.Popen([script, *arguments], cwd=cwd, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"\n"
            yield process
        finally:
            process.kill()


def test_only_what_writes_counts_as_alive(
    resume: Resume, study: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    programs, below = tmp_path_factory.mktemp("programs"), study / "below"
    below.mkdir()
    looks_on: list[tuple[str, tuple[str, ...], Path]] = [
        ("framecast", ("status", "--watch"), study),
        ("framecast", ("train", "a"), below),
        ("snakemake", (), programs),
        ("less", ("snakemake", "dvc.yaml"), study),
    ]
    writes: list[tuple[str, tuple[str, ...], Path]] = [
        ("framecast", ("evaluate", "a"), study),
        ("snakemake", (), study),
        ("dvc", ("repro",), below),
    ]
    for name, arguments, cwd in looks_on:
        with pretending(programs, name, *arguments, cwd=cwd):
            record()
            resume()
    for name, arguments, cwd in writes:
        with pretending(programs, name, *arguments, cwd=cwd) as process:
            record()
            named = " ".join([name, *arguments])
            with pytest.raises(UserError, match=rf"alive: process {process.pid} \({named}\);"):
                driver.resume()
            process.send_signal(signal.SIGSTOP)
            os.waitpid(process.pid, os.WUNTRACED)  # the signal is sent, and may not have arrived yet
            with pytest.raises(UserError, match=rf"alive: process {process.pid} \({named}, stopped\);"):
                driver.resume()
            assert driver.RECORD.exists()


def test_between_the_stages_of_dvc_nobody_else_starts(study: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    lock = study / ".dvc/tmp/rwlock"
    lock.parent.mkdir(parents=True)
    with pretending(tmp_path_factory.mktemp("programs"), "dvc", "repro", cwd=study) as dvc:
        lock.write_text(json.dumps({"write": {"data/runs": {"pid": dvc.pid, "cmd": "/bin/dvc repro"}}}))
        with pytest.raises(SystemExit, match=rf"already being run here, by process {dvc.pid} \(/bin/dvc repro\)"):
            driver.started(["snakemake"])
    assert not driver.RECORD.exists()
    driver.started(["/bin/snakemake", "-j2"])
    assert json.loads(driver.RECORD.read_text())["command"] == ["snakemake", "-j2"]
    driver.ended()
    assert not driver.RECORD.exists()


def test_reading_the_rules_is_refused_only_to_what_would_run(study: Path) -> None:
    looks = "-n", "-np", "-Fn", "-l", "--dry-run all", "--unlock", "--list-rules", "--report r.html"
    record()
    driver.refuse_a_second(["snakemake", "-j2"])  # its driver is dead, and it has left nothing that is in the way
    lock = study / ".snakemake/locks/0.input.lock"
    lock.parent.mkdir()
    lock.touch()
    with pytest.raises(UserError, match="nothing of it is alive; `framecast resume` goes on"):
        driver.refuse_a_second(["snakemake", "-j2"])
    with (study / driver.LOCK).open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for arguments in (["-j2"], ["-call"], ["-F"], ["--profile", "slurm", "--", "train_all"], ["--cores", "all"]):
            with pytest.raises(UserError, match="already being run here, by process 1 on"):
                driver.refuse_a_second(["snakemake", *arguments])
        for look in looks:
            driver.refuse_a_second(["snakemake", *look.split()])


def test_only_one_of_two_that_resume_goes_on(resume: Resume, study: Path) -> None:
    record()
    with (study / driver.LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"still alive: process 1 on .* \(snakemake -j2\); wait with"):
            driver.resume()
        with pytest.raises(SystemExit, match="already being run here, by process 1 on"):
            driver.started(["snakemake"])
        driver.ended()
        assert driver.RECORD.exists()
    assert resume()[0] == ["snakemake", "-j2"]


# --- leases ------------------------------------------------------------------------------------------


def elsewhere(folder: Path, job: str | None, age: float = 0) -> None:
    """A lease that another machine wrote."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lease.lock").touch()
    told = {"host": "node9", "pid": 4, "job": job, "heartbeat": time.time() - age}
    (folder / "lease.json").write_text(json.dumps(told))


def test_a_cell_that_another_machine_trains_is_alive(
    resume: Resume, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = study / "data/checkpoints/a/b"
    record()
    elsewhere(cell, None)
    with pytest.raises(UserError, match="still alive: a: process 4 on node9;"):
        driver.resume()
    elsewhere(cell, "5")
    with pytest.raises(UserError, match="still alive: a: job 5, process 4 on node9;"):
        driver.resume()
    monkeypatch.setattr(slurm, "jobs", list)  # Slurm knows no such job
    resume()
    assert (cell / "lease.json").exists()  # fresh: should it beat after all, the next one will see it


@pytest.mark.parametrize(("state", "own"), [("NODE_FAIL", "9"), ("", "5")], ids=["job is over", "own earlier life"])
def test_a_heartbeat_that_slurm_calls_dead_is_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, own: str
) -> None:
    monkeypatch.setattr(slurm, "state_of", lambda job: state)
    monkeypatch.setattr(lease, "SILENT_SECONDS", 0.1)
    monkeypatch.setenv("SLURM_JOB_ID", own)
    elsewhere(tmp_path, "5")
    with lease.lease(tmp_path, "a"):
        assert lease.holder(tmp_path) is not None
    elsewhere(tmp_path, "5", age=1)
    monkeypatch.setattr(lease, "SILENT_SECONDS", 100)
    monkeypatch.setattr(time, "sleep", lambda seconds: elsewhere(tmp_path, "5"))  # it beats on
    with pytest.raises(UserError, match="cell a: job 5, process 4 on node9 is training it"), lease.lease(tmp_path, "a"):
        pass
    monkeypatch.setattr(slurm, "state_of", lambda job: "RUNNING")
    monkeypatch.setenv("SLURM_JOB_ID", "9")
    with pytest.raises(UserError, match="is training it"), lease.lease(tmp_path, "a"):
        pass
