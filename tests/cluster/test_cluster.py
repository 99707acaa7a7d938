"""What a cell asks for, what a site says, what state a cell is in, and a report with holes; no cluster is needed."""

import errno
import fcntl
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake_interface_common.exceptions import WorkflowError

from framecast.artifacts.locks import STALE_SECONDS, Lock, is_held
from framecast.cluster import journal, site, slurm
from framecast.cluster.demand import demand
from framecast.cluster.lease import holder, lease
from framecast.cluster.request import Request, device_mb, request
from framecast.errors import UserError
from framecast.study import reading
from framecast.study.grid import Cell, Grid
from framecast.upkeep import plan
from framecast.upkeep.status import state
from tests.conftest import ROOT, one_line

Run = Callable[..., subprocess.CompletedProcess[str]]
LSTM = "generated_sins/seq2seq_lstm/depth-1/mse/seed-1"
CONVLSTM = Cell("moving_mnist", "seq2seq_convlstm", 1, "mse", 1)
CPU = site.Site(device="cpu", gpus=0, memory_mb=100_000)
PARTITIONS = (("short", 60.0, ""), ("gpu", 1440.0, "gpu:a100:4"))  #: name, minutes, generic resources


@pytest.fixture
def paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Grid:
    """The shipped study at the published scale; nothing of it is there."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("scale: demo", "scale: paper", 1)
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return Grid(reading.load())


def record(grid: Grid, cell: Cell, **facts: object) -> None:
    """Write an attempt at a cell, as one that was killed leaves it."""
    where = journal.folder("train", cell.name, grid.run_key(cell))
    where.mkdir(parents=True, exist_ok=True)
    now = time.time()
    written = {"number": 1, "host": "gone", "pid": 1, "job": None, "begun": now - 1800, "heartbeat": now - 600, **facts}
    (where / f"{written['number']}.json").write_text(json.dumps(written), encoding="utf-8")


# --- what is asked for ------------------------------------------------------------------------------


def test_the_count_is_that_of_the_published_network(paper: Grid) -> None:
    """models.md gives 42 GMAC a sample forward for depth 1; 4 samples, 2 operations a MAC, 3 passes a step."""
    found = demand(paper, replace(CONVLSTM, depth=1))
    assert found.parameters == 1_036_097
    assert found.flops == pytest.approx(42e9 * 2 * 3 * 4, rel=0.02)
    maps = 4 * 20 * 2 * 64 * 64 * 64 * 4 / 1e6  # batch, steps, cells, maps, float32: one map of each kind
    assert 6 * maps < found.tensors_mb < 14 * maps


def test_a_second_update_is_counted(paper: Grid) -> None:
    """With the weights and moments that are kept until it is sound."""
    cell = paper.find(LSTM)
    once = demand(paper, cell)
    recipe = paper.params.models[cell.model].training
    changed = {
        **paper.params.models,
        cell.model: paper.params.models[cell.model].model_copy(update={"training": {**recipe, "reverse_input": True}}),
    }
    twice = demand(Grid(paper.params.model_copy(update={"models": changed})), cell)
    assert (twice.flops, twice.launches) == (2 * once.flops, 2 * once.launches)
    assert twice.tensors_mb - once.tensors_mb == pytest.approx(3 * 4 * once.parameters / 1e6)


def test_the_request_follows_from_the_cell(paper: Grid) -> None:
    """More layers ask for more; the site's limits are never passed; without data the time is not known."""
    shallow, deep = (request(paper, replace(CONVLSTM, depth=depth), "train", CPU) for depth in (1, 3))
    assert shallow.mem_mb < deep.mem_mb < CPU.memory_mb
    assert shallow.hours is None
    assert shallow.minutes == CPU.walltime
    folder = paper.data_folder("moving_mnist")
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"splits": {"train": 60000, "validation": 1, "test": 1}}')
    counted = request(paper, CONVLSTM, "train", CPU)
    assert counted.hours is not None
    assert counted.source.startswith("counted")
    assert counted.slices(CPU) == -(-counted.hours * 3600 // (60 * counted.minutes - CPU.margin)) > 1
    tight = CPU.model_copy(update={"memory_mb": 1000, "walltime": 60})
    assert (request(paper, CONVLSTM, "train", tight).mem_mb, request(paper, CONVLSTM, "train", tight).minutes) == (
        1000,
        60,
    )


def test_what_was_measured_takes_the_place_of_what_was_counted(paper: Grid) -> None:
    folder = paper.data_folder("moving_mnist")
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"splits": {"train": 4000, "validation": 1, "test": 1}}')
    record(paper, replace(CONVLSTM, seed=2), outcome="done", rate=10.0, peak_mb=2000.0, steps=10_000, step=10_000)
    found = request(paper, CONVLSTM, "train", CPU)
    assert found.source == "measured: 10 steps/s on cpu"
    assert found.hours == pytest.approx(10_000 / 10 / 3600)
    assert found.mem_mb == 3400  # half as much again, and the two Snakemakes around it


def test_a_plan_tells_what_a_training_step_takes_of_a_gpu_until_it_was_measured(paper: Grid) -> None:
    gpu, seen = site.Site(device="cuda"), replace(CONVLSTM, seed=2)
    counted = device_mb(paper, CONVLSTM, "train", gpu)
    assert counted == math.ceil(1.5 * demand(paper, CONVLSTM).tensors_mb) > 0
    assert device_mb(paper, CONVLSTM, "evaluate", gpu) == 0, "nothing is known of a scoring"
    assert device_mb(paper, CONVLSTM, "train", CPU) == 0
    record(paper, seen, outcome="done", device="cuda (A100)", rate=10.0, gpu_peak_mb=123.4, steps=10, step=10)
    assert device_mb(Grid(paper.params), CONVLSTM, "train", gpu) == 124


@pytest.mark.parametrize(
    ("facts", "ending", "more"),
    [
        ({"asked_mb": 4000, "peak_mb": 3900.0, "asked_minutes": 60}, "out of memory", {"mem_mb": 8000}),
        ({"asked_mb": 4000, "peak_mb": 900.0, "asked_minutes": 20}, "out of time", {"minutes": 40}),
        ({"asked_mb": 4000, "peak_mb": 900.0, "asked_minutes": 600}, "lost", {}),
    ],
)
def test_an_attempt_that_was_killed_is_judged_by_its_last_heartbeat(
    study: Path, facts: dict[str, float], ending: str, more: dict[str, int]
) -> None:
    grid = Grid(reading.load())
    cell = grid.find(LSTM)
    (grid.data_folder(cell.dataset)).mkdir(parents=True)
    (grid.data_folder(cell.dataset) / "manifest.json").write_text(
        '{"splits": {"train": 64, "validation": 1, "test": 1}}'
    )
    before = request(grid, cell, "train", CPU)
    record(grid, cell, **facts)
    [found] = journal.explained(grid, cell, "train")
    assert found.ending == ending
    after = request(grid, cell, "train", CPU)
    assert {"mem_mb": after.mem_mb, "minutes": after.minutes} == {
        "mem_mb": before.mem_mb,
        "minutes": before.minutes,
        **more,
    }
    told = state(grid, cell)
    assert told.state == "failed"
    assert told.detail.startswith(f"train, attempt 1: {ending}")
    assert told.command == f"framecast train {LSTM}"


# --- what a site says -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("FRAMECAST_GPUS", "many", 'environment: FRAMECAST_GPUS: found "many"; allowed: a whole number'),
        (
            "FRAMECAST_PARTITION",
            "gpu; rm -rf /",
            'FRAMECAST_PARTITION: found "gpu; rm -rf /"; allowed: letters, digits and any of _.,:@+-, at most 200',
        ),
        (
            "FRAMECAST_EXTRA",
            "--qos=$(id)",
            'environment: FRAMECAST_EXTRA: found "--qos=$(id)"; allowed: flags like --exclusive --mail-type=END',
        ),
        ("FRAMECAST_DEVICE", "tpu", "environment: FRAMECAST_DEVICE: found"),
        ("FRAMECAST_MARGIN", "86400", "margin: found 86400 s with a walltime of 1440 minutes; allowed: less than that"),
        ("FRAMECAST_SITE", "/nowhere.yaml", "/nowhere.yaml: not found"),
    ],
)
def test_a_wrong_site_is_one_line(study: Path, framecast: Run, variable: str, value: str, told: str) -> None:
    shutil.copytree(ROOT / "slurm", study / "slurm")
    assert told in one_line(framecast("plan", "--profile", "slurm", check=False, **{variable: value}))


@pytest.mark.parametrize(
    ("written", "minutes"),
    [
        ("90", 90),
        ("90:59", 90),  # never more than the partition takes
        ("36:00:00", 2160),
        ("0:45:30", 45),
        ("2-12", 3600),
        ("2-12:30", 3630),
        ("0-00:30:59", 30),
    ],
)
@pytest.mark.parametrize("place", ["file", "environment"])
def test_walltime_is_minutes_or_a_time_limit_as_sbatch_reads_it(
    study: Path, monkeypatch: pytest.MonkeyPatch, written: str, minutes: int, place: str
) -> None:
    monkeypatch.setenv("FRAMECAST_SITE", "mine.yaml")
    (study / "mine.yaml").write_text(f"walltime: {written}\n" if place == "file" else "{}\n")
    if place == "environment":
        monkeypatch.setenv("FRAMECAST_WALLTIME", written)
    assert site.load().walltime == minutes


@pytest.mark.parametrize("written", ["1:2:3:4", "10:75", "1-24", "infinite", "036", "1_440", "1-", "-1:00", "12h"])
def test_another_walltime_is_refused_in_words(study: Path, monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("FRAMECAST_SITE", "mine.yaml")
    (study / "mine.yaml").write_text(f"walltime: {written}\n")
    with pytest.raises(
        UserError, match=rf'mine.yaml: walltime: found "{written}"; allowed: minutes \(90\), or as sbatch'
    ):
        site.load()


def test_the_environment_lies_over_the_site_file(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "slurm", study / "slurm")
    assert site.load() == site.Site()  # the file says what the defaults are
    (study / "mine.yaml").write_text("partition: a100\nwalltime: 600\n")
    monkeypatch.setenv("FRAMECAST_SITE", "mine.yaml")
    monkeypatch.setenv("FRAMECAST_WALLTIME", "90")
    assert site.load() == site.Site(partition="a100", walltime=90)
    (study / "mine.yaml").write_text("partitoin: a100\n")
    with pytest.raises(UserError, match=r"mine\.yaml: partitoin: found .partitoin. .did you mean partition"):
        site.load()


def test_flags_with_a_key_of_their_own_are_taken_to_it(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Slurm plugin refuses them as flags, and takes them as resources."""
    shutil.copytree(ROOT / "slurm", study / "slurm")
    monkeypatch.setenv("FRAMECAST_EXTRA", "--mail-type=END --qos=overnight --account=optics --exclusive")
    assert site.load() == site.Site(qos="overnight", account="optics", extra="--mail-type=END --exclusive")
    site.refuse_flags(site.load())
    monkeypatch.setenv("FRAMECAST_QOS", "overnight")
    assert site.load().qos == "overnight"
    monkeypatch.setenv("FRAMECAST_QOS", "short")
    with pytest.raises(UserError, match=r"extra: found --qos=overnight, and qos: short; allowed: one of them"):
        site.load()


def test_every_flag_that_the_slurm_plugin_refuses_is_told_before_there_is_a_job(
    study: Path, framecast: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snakemake_executor_plugin_slurm.validation import get_forbidden_slurm_options, validate_slurm_extra

    flags = [flag for pattern in get_forbidden_slurm_options() for flag in re.findall(r"--[a-z-]+", pattern)]
    assert {"--time", "--mem", "--gres", "--job-name", "--qos"} <= set(flags)
    shutil.copytree(ROOT / "slurm", study / "slurm")
    for flag in [*flags, "--reservation"]:
        written = f"--hold --{flag.lstrip('-')}=a-Job" if flag == "--reservation" else f"--hold {flag}=7"
        monkeypatch.setenv("FRAMECAST_EXTRA", written)
        asked = site.load()
        if flag in site.OWN_KEYS:
            validate_slurm_extra(_asking(asked.extra))
            continue
        with pytest.raises(WorkflowError):
            validate_slurm_extra(_asking(asked.extra))
        with pytest.raises(UserError, match=rf"site\.yaml: extra: found {flag}=\S+, which the Slurm plugin refuses"):
            site.refuse_flags(asked)
    told = one_line(framecast("plan", "--profile", "slurm", check=False, FRAMECAST_EXTRA="--time=60"))
    assert told.endswith("; say walltime instead")


def _asking(extra: str) -> SimpleNamespace:
    """A job as the plugin looks at it."""
    return SimpleNamespace(resources=SimpleNamespace(slurm_extra=extra))


# --- one at a time, also on file systems without locks ----------------------------------------------

WITHOUT_FLOCK = """
import errno, fcntl, os, sys, time
from pathlib import Path

def refused(*_):
    raise OSError(getattr(errno, sys.argv[1]), "no locks here")

fcntl.flock = refused
from framecast.artifacts.locks import Lock
from framecast.cluster.lease import lease
"""
HOLD = "\nwith lease(Path('cell'), 'a'):\n    print('held', flush=True)\n    sys.stdin.read()"
COUNT = """
for _ in range(5):
    with Lock(Path("lock")) as lock:
        assert lock.take(seconds=600)
        os.close(os.open("inside", os.O_CREAT | os.O_EXCL))
        Path("count").write_text(str(int(Path("count").read_text()) + 1))
        os.unlink("inside")
"""
AGAIN = """
lock = Lock(Path("lock"))
print(lock.take(), flush=True)
if len(sys.argv) == 2:
    os.execv(sys.executable, [sys.executable, "-c", Path("again.py").read_text(), sys.argv[1], "second"])
"""


def without_flock(code: str, error: str = "ENOSYS") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WITHOUT_FLOCK + code, error]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def no_flock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose file system keeps no locks."""

    def refused(*_: object) -> None:
        raise OSError(errno.ENOSYS, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refused)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("error", ["ENOSYS", "EOPNOTSUPP", "ENOLCK"])
def test_without_locks_a_cell_has_one_writer_too_and_a_killed_one_blocks_nobody(no_flock: Path, error: str) -> None:
    writer = without_flock(HOLD, error)
    try:
        assert writer.stdout
        assert writer.stdout.readline() == "held\n"
        with (
            pytest.raises(UserError, match=rf"cell a: process {writer.pid} on \S+ is training it"),
            lease(Path("cell"), "a"),
        ):
            pass
        assert holder(Path("cell")) is not None
    finally:
        writer.kill()
        writer.communicate()
    assert holder(Path("cell")) is None
    with lease(Path("cell"), "a"):
        assert len([*Path("cell").glob("*.held")]) == 1  # what the dead have left is gone
    assert not [*Path("cell").glob("*.held")]


def test_without_locks_never_two_are_inside(no_flock: Path) -> None:
    Path("count").write_text("0")
    writers = [without_flock(COUNT) for _ in range(3)]
    for writer in writers:
        writer.communicate()
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert Path("count").read_text() == "15"


def test_without_locks_another_machine_is_believed_for_as_long_as_it_shows_life(no_flock: Path) -> None:
    announced = Path("lock.0123456789ab-7-99-deadbeef.held")
    announced.touch()
    assert is_held(Path("lock")) is False  # nobody has ever taken it
    Path("lock").touch()
    assert is_held(Path("lock"))
    assert not Lock(Path("lock")).take()
    long_ago = time.time() - STALE_SECONDS - 1
    os.utime(announced, (long_ago, long_ago))
    assert not is_held(Path("lock"))
    with Lock(Path("lock")) as lock:
        assert lock.take()
        assert not announced.exists()


def test_without_locks_a_program_that_becomes_another_lets_go(no_flock: Path) -> None:
    """As with the kernel's: resume holds the driver's lock until it becomes the driver."""
    Path("again.py").write_text(WITHOUT_FLOCK + AGAIN)
    assert without_flock(AGAIN).communicate()[0].split() == ["True", "True"]


# --- states, and a report with holes ----------------------------------------------------------------


@contextmanager
def somebody(user: int, group: int) -> Iterator[None]:
    """Be another person for as long as the block lasts."""
    os.setegid(group)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def can_be_somebody() -> bool:
    """Whether this is a user who may become another one, and whether that one may read our source and environment."""
    if os.geteuid() != 0:
        return False
    try:
        with somebody(1, 4242):
            return all(os.access(place, os.R_OK | os.X_OK, effective_ids=True) for place in (ROOT / "src", sys.prefix))
    except OSError:
        return False


@pytest.fixture
def groups() -> Iterator[Path]:
    """A folder that a group writes into, as docs/cluster.md says; pytest's own folder lets nobody else in."""
    before, umask = Path.cwd(), os.umask(0o002)
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, 0, 4242)
        os.chmod(folder, 0o2775)
        os.chdir(folder)
        yield Path(folder)
        os.chdir(before)
    os.umask(umask)


@pytest.mark.skipif(not can_be_somebody(), reason="needs to be several people (root)")
def test_a_member_goes_on_where_another_one_left_off(groups: Path) -> None:
    """With lock, lease and attempts that only their writer may change; who trains is named, and strangers stay out."""
    cell, attempts = Path("data", "checkpoints", "a", "key"), ("train", "a", "key")
    lock, heartbeat, first = cell / "lease.lock", cell / "lease.json", journal.folder(*attempts) / "1.json"
    with lease(cell, "a"), journal.attempt(*attempts, "cpu", journal.Asked()):
        for path in (lock, heartbeat, first):
            path.chmod(0o644)
        told = heartbeat.read_text(encoding="utf-8")
        with (
            somebody(1, 4242),
            pytest.raises(UserError, match=f"cell a: process {os.getpid()} on .* is training it"),
            lease(cell, "a"),
        ):
            pass
    first.chmod(0o644)
    heartbeat.write_text(told, encoding="utf-8")  # as one that was killed leaves it
    heartbeat.chmod(0o644)
    with somebody(1, 4242), lease(cell, "a"), journal.attempt(*attempts, "cpu", journal.Asked()):
        assert [path.stat().st_uid for path in (lock, heartbeat, first)] == [0, 1, 0]
    assert not heartbeat.exists()
    assert [(one.number, one.outcome) for one in journal.attempts(*attempts)] == [(1, "done"), (2, "done")]
    with somebody(2, 2), pytest.raises(PermissionError), lease(cell, "a"):
        pass
    assert not is_held(lock)


@pytest.mark.slow
def test_states_and_the_partial_report_of_a_grid_that_is_not_finished(study: Path, framecast: Run) -> None:
    assert "no cell is scored yet" in one_line(framecast("report", "--partial", check=False))
    framecast("prepare", "generated_sins")
    framecast("train", LSTM)
    assert f"{LSTM}  trained" in framecast("status").stdout
    framecast("evaluate", LSTM)
    framecast("evaluate", "generated_sins/zeros")
    stopped = LSTM.replace("seed-1", "seed-2")
    assert framecast("train", stopped, "--time-budget", "0.001", check=False).returncode == 75
    told = framecast("status", "--all").stdout
    assert re.search(rf"{LSTM} +done", told)
    assert re.search(rf"{stopped} +unfinished +saved at step \d+", told)
    assert re.search(r"moving_mnist/zeros +never run", told)
    assert told.splitlines()[-1] == "11 cells at scale tiny: done 2, unfinished 1, never run 8"

    page = Path(framecast("report", "--partial").stdout.strip())
    assert page == Path("reports/partial/report.html")
    text = page.read_text(encoding="utf-8")
    assert "9 cells have no number yet" in text
    assert re.search(rf"{stopped}</th><td class=\"text\">unfinished: saved at step \d+", text)
    assert [path.name for path in Path("reports").iterdir()] == ["partial"]
    table = Path("reports/partial/scores.csv").read_text(encoding="utf-8")
    assert {line.split(",")[1] for line in table.splitlines()[1:]} == {"seq2seq_lstm", "zeros"}

    text = Path("params.yaml").read_text(encoding="utf-8").replace("hidden_size: 8", "hidden_size: 6")
    Path("params.yaml").write_text(text, encoding="utf-8")
    assert re.search(rf"{LSTM} +stale +changed: model.hidden_size 8 → 6", framecast("status").stdout)
    assert f"{stopped}  stale       training was stopped under another key" in framecast("status").stdout
    assert re.search(r"train +generated_sins/seq2seq_lstm/depth-1/mse +2 ", framecast("plan").stdout)


def test_a_list_of_partitions_fits_where_one_of_them_does(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [slurm.Partition(name, False, minutes, 64_000, 8, gres) for name, minutes, gres in PARTITIONS]
    monkeypatch.setattr(slurm, "partitions", lambda: found)
    jobs = [plan.Planned(CONVLSTM, "train", Request(32_000, 600, 4, 1, None, "unknown"))]

    def misfits(partition: str) -> list[str]:
        return list(plan._misfits(jobs, site.Site(partition=partition)))

    assert misfits("short,gpu") == []
    assert misfits("short") == [
        "600 minutes in partition short, whose limit is 60 (set walltime to that)",
        "a GPU in partition short, which has none (set gpus: 0 and device: cpu, or another partition)",
    ]
    assert misfits("gpu,nowhere") == ["partition 'nowhere' is not one of gpu, short"]
