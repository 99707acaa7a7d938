"""``framecast logs`` shows everything that was logged about a cell, and nothing of another one."""

import json
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake_executor_plugin_slurm.utils import get_job_wildcards

from framecast.cluster import journal
from framecast.cluster.journal import Attempt, Phase
from framecast.study import reading
from framecast.study.grid import BASELINE, CELL, Cell, Grid
from framecast.upkeep.logs import LAST_LINES, show

TRAINED = Cell("generated_sins", "seq2seq_lstm", 1, "mse", 1)
OTHER = Cell("generated_sins", "seq2seq_lstm", 1, "mse", 2)
UNTRAINED = Cell("generated_sins", "copy_last")


@pytest.fixture
def grid(study: Path) -> Grid:
    return Grid(reading.load())


@pytest.fixture
def shown(grid: Grid, capsys: pytest.CaptureFixture[str]) -> Callable[[Cell], str]:
    def call(cell: Cell) -> str:
        show(grid, cell)
        return capsys.readouterr().out

    return call


def write(path: str, text: str) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8", newline="\n")
    return path


def of_slurm(rule: str, cell: Cell, key: str) -> str:
    """Where the executor lets Slurm write, by its own function on the wildcards of the rule's output."""
    pattern = (BASELINE if cell.is_baseline else CELL) + "/{key}"
    wildcards = [str({**vars(cell), "key": key}[name]) for name in re.findall(r"{(\w+)}", pattern)]
    return f".snakemake/slurm_logs/rule_{rule}/{get_job_wildcards(SimpleNamespace(wildcards=wildcards))}"  # type: ignore[arg-type]


def record(phase: Phase, cell: Cell, key: str, *attempts: dict[str, object]) -> None:
    for number, facts in enumerate(attempts, start=1):
        made = asdict(Attempt(number, "a-machine", 1, None, time.time() - 9000, time.time() - 8900)) | facts
        write(str(journal.folder(phase, cell.name, key) / f"{number}.json"), json.dumps(made))


@pytest.mark.parametrize("cell", [TRAINED, UNTRAINED])
def test_nothing_logged_yet_is_one_clear_line(cell: Cell, grid: Grid, shown: Callable[[Cell], str]) -> None:
    told = shown(cell)
    assert told.count("\n") == 1
    assert told.startswith(f"{cell.name}: nothing was logged yet under ")
    assert f"evaluate key {grid.score_key(cell)}" in told
    write(f"logs/evaluate/{cell.name}/00000000.log", "older\n")
    told = shown(cell)
    assert "1 logs of other keys" in told
    assert "older" not in told


def test_every_log_of_the_cell_is_shown_in_order_and_none_of_another(grid: Grid, shown: Callable[[Cell], str]) -> None:
    key, score = grid.run_key(TRAINED), grid.score_key(TRAINED)
    train = of_slurm("train", TRAINED, key)
    array = f"writing logs/train/{TRAINED.name}/{key}.log"
    expected = [
        write(f"logs/train/{TRAINED.name}/{key}.log", "trained in peace\n"),
        write(f"{train}/9.log", "the first job\n"),
        write(f"{train}/10.log", "the second job\n"),
        write(".snakemake/slurm_logs/rule_train/11_3.log", f"of an array\n{array}\n"),
        write(f"logs/evaluate/{TRAINED.name}/{score}.log", "scored\n"),
        write(f"{of_slurm('evaluate', TRAINED, score)}/12.log", "scored by Slurm\n"),
    ]
    write(f"{of_slurm('train', OTHER, grid.run_key(OTHER))}/13.log", "of the other\n")
    write(".snakemake/slurm_logs/rule_train/11_4.log", f"of the other\nlogs/train/{OTHER.name}/x.log\n")
    told = shown(TRAINED)
    assert re.findall(r"^==> (\S+) \(\d lines\)$", told, re.MULTILINE) == expected
    for word in ("trained in peace", "the first job", "the second job", "of an array", "scored", "scored by Slurm"):
        assert f"\n{word}\n" in told
    assert "of the other" not in told
    assert "no attempt was recorded" in told


def test_logs_of_a_baseline(grid: Grid, shown: Callable[[Cell], str]) -> None:
    folder = of_slurm("evaluate_baseline", UNTRAINED, grid.score_key(UNTRAINED))
    path = write(f"{folder}/7.log", "a baseline\n")
    assert shown(UNTRAINED).startswith(f"==> {path} (1 lines)\na baseline\n")


def test_long_logs_are_cut_to_their_last_lines_and_cannot_steer_a_terminal(
    grid: Grid, shown: Callable[[Cell], str]
) -> None:
    lines = [f"line {number}" for number in range(LAST_LINES + 50)]
    text = "\n".join(
        [
            *lines,
            "step 1\rstep 2\rstep 3",
            "\x1b[2Jcleared\x07",
            "x" * 100_000,
            "\udcff".encode("utf-8", "replace").decode(),
        ]
    )
    path = write(f"logs/train/{TRAINED.name}/{grid.run_key(TRAINED)}.log", text)
    told = shown(TRAINED)
    assert told.startswith(f"==> {path} (the last {LAST_LINES} of {LAST_LINES + 54} lines)\nline 54\n")
    assert "\nstep 3\n" in told
    assert "step 2" not in told
    assert "\n[2Jcleared\n" in told
    assert max(map(len, told.splitlines())) < 3000


def test_attempts_are_a_table_with_their_endings(grid: Grid, shown: Callable[[Cell], str]) -> None:
    limits = {"asked_mb": 1000, "asked_minutes": 60}
    record(
        "train",
        TRAINED,
        grid.run_key(TRAINED),
        {"job": "41", "step": 3, "steps": 8, "peak_mb": 950.0, **limits},
        {"job": "42", "step": 5, "steps": 8, "outcome": "stopped", "reason": "time budget used", **limits},
        {"job": "43", "step": 8, "steps": 8, "peak_mb": 512.0, "outcome": "done", **limits},
    )
    record("evaluate", TRAINED, grid.score_key(TRAINED), {"outcome": "failed", "reason": "[bold]no data[/bold]"})
    _, first, second, third, scored = map(str.strip, shown(TRAINED).splitlines())
    assert re.match(r"train +1 +41 +a-machine +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +100 +3/8 +950 of 1000 +", first)
    assert first.endswith("out of memory: peak 950 MB of 1000 MB")
    assert second.endswith("stopped: time budget used")
    assert third.split()[-4:] == ["512", "of", "1000", "done"]
    assert re.match(r"evaluate +1 +- +a-machine .* - +0 of - +failed: \[bold\]no data\[/bold\]", scored)


def test_the_log_of_a_real_run_is_found(
    study: Path, framecast: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Snakemake's own path of the log, taken from the rule, is where the command looks."""
    rule = (Path(__file__).parents[2] / "workflow" / "rules" / "train.smk").read_text(encoding="utf-8")
    (pattern,) = re.findall(r'log:\s+f"(logs/train/\S+)"', rule)
    key = Grid(reading.load(study / "params.yaml")).run_key(TRAINED)
    path = pattern.replace("{CELL}", TRAINED.name).replace("{{key}}", key)
    write(str(study / path), "found\n")
    assert f"==> {path} (1 lines)\nfound\n" in framecast("logs", TRAINED.name).stdout
