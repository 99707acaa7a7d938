"""What moved between two commits: small repositories with made-up tables, and this one's own history."""

import csv
import hashlib
import io
import json
import math
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from scipy import stats
from typer.testing import CliRunner

from framecast.cli import app
from framecast.errors import UserError
from framecast.results import COMPARISONS, SCORES, Spread
from framecast.study.grid import Cell
from framecast.upkeep import diff, gate, history
from framecast.upkeep.diff import changes, show, sides
from tests import pages, records_fixture, warm
from tests.conftest import ROOT, run

PAGE = "docs/how-to-gate-a-pull-request.md"
LSTM = "seq2seq_lstm"
BASELINES = {"copy_last": 0.2, "zeros": 0.4, "least_squares": 0.01}
NOISE = 2.7764451 * 0.01 * math.sqrt(2 / 3)  #: of three seeds on each side whose sd is 0.01, from a table of t

Value = float | Iterable[float]


def spread_out(mean: float) -> tuple[float, float, float]:
    """Three seeds with this mean and a standard deviation of 0.01."""
    return mean - 0.01, mean, mean + 0.01


def rows(
    scores: dict[tuple[str, int], Value],
    *,
    metric: str = "mse_pix01",
    dataset: str = "generated_sins",
    baselines: dict[str, float] = BASELINES,
    version: str = "",
    **facts: Any,
) -> list[dict[str, Any]]:
    """Rows of ``scores.csv``: (model, depth) → the value of each seed; a key follows from name and version."""
    told = {"split": "test", "sequences": 16, "causal": "causal", "source": "generated", "scale": "tiny", **facts}
    found = []
    for (model, depth), values in scores.items():
        seeds = [values] if isinstance(values, float) else values
        found += [(Cell(dataset, model, depth, "mse", seed), value) for seed, value in enumerate(seeds, 1)]
    found += [(Cell(dataset, model), value) for model, value in baselines.items()]
    return [
        {
            **{name: getattr(cell, name) for name in ("dataset", "model", "depth", "loss", "seed")},
            **{"mode": "free-running", "metric": metric, "value": value},
            **told,
            "key": hashlib.sha256(f"{cell.name}{version}".encode()).hexdigest()[:8],
        }
        for cell, value in found
    ]


def table(made: Iterable[dict[str, Any]], columns: Iterable[str] = SCORES) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(made)
    return text.getvalue()


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(study: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with the tiny study and no tables."""
    who = {f"GIT_{role}_{what}": f"{what}@test" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    alone = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CEILING_DIRECTORIES": str(study.parent)}
    for name, value in {**who, **alone, "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)
    git("init", "--quiet", "--initial-branch", "main")
    commit("The study")
    return study


def commit(message: str = "Tables") -> str:
    git("add", "-A")
    git("commit", "--quiet", "--allow-empty", "--message", message)
    return git("rev-parse", "HEAD")


def write(made: Iterable[dict[str, Any]], findings: Iterable[dict[str, Any]] = ()) -> None:
    """The two tables on disk, over what was there."""
    Path("reports").mkdir(exist_ok=True)
    Path("reports/scores.csv").write_text(table(made))
    found = list(findings)
    Path("reports/comparisons.csv").write_text(table(found, COMPARISONS) if found else "")


def moved(before: list[dict[str, Any]], after: list[dict[str, Any]], *metrics: str) -> dict[str, changes.Number]:
    """System → what became of its number, from two commits with these tables."""
    write(before)
    commit("Before")
    write(after)
    commit("After")
    return {str(number.system): number for number in diff.compare(("HEAD~1", "HEAD"), metrics).numbers}


# --- what became of a number ------------------------------------------------------------------------


def test_a_change_is_told_with_its_direction_and_whether_it_is_more_than_noise(repository: Path) -> None:
    just, little = NOISE * 1.01, NOISE * 0.99
    change = {1: just, 2: -just, 3: little, 4: -little, 5: 0.0}
    before = {(LSTM, depth): spread_out(0.2) for depth in range(1, 7)}
    after = {
        **{(LSTM, depth): spread_out(0.2 + by) for depth, by in change.items()},
        (LSTM, 7): spread_out(0.1),
    }
    found = moved(rows(before), rows(after))
    told = {name: found[f"{LSTM} depth-{name} mse"].verdict for name in range(1, 8)}
    assert told == {
        1: "worse",
        2: "better",
        3: "within noise",
        4: "within noise",
        5: "the same",
        6: "removed",
        7: "added",
    }
    worse = found[f"{LSTM} depth-1 mse"]
    assert worse.before
    assert (worse.before.mean, worse.before.sd, worse.before.seeds) == pytest.approx((0.2, 0.01, 3))
    assert worse.change == pytest.approx(just)
    assert worse.gain == pytest.approx(-just)
    assert worse.noise == pytest.approx(NOISE)
    assert found["copy_last"].verdict == "the same"


@pytest.mark.parametrize(
    ("metric", "was", "now", "verdict"),
    [
        ("psnr_frame", 20.0, 21.0, "better"),
        ("psnr_frame", 21.0, 20.0, "worse"),
        ("sharpness", 0.5, 0.7, "better"),  # is best at 1
        ("sharpness", 1.3, 1.1, "better"),
        ("sharpness", 0.9, 1.4, "worse"),
        ("sharpness", 0.9, 1.11, "within noise"),  # 0.21 higher, and only 0.01 further from 1
    ],
)
def test_each_metric_has_its_own_direction(repository: Path, metric: str, was: float, now: float, verdict: str) -> None:
    found = moved(
        *(rows({(LSTM, 1): spread_out(value)}, metric=metric, dataset="moving_mnist") for value in (was, now)), metric
    )
    assert found[f"{LSTM} depth-1 mse"].verdict == verdict


@pytest.mark.parametrize(("b", "a"), [(2, 2), (3, 3), (3, 5), (1, 3), (4, 1)])
def test_noise_is_the_interval_of_students_t(b: int, a: int) -> None:
    rng = np.random.default_rng(b * 10 + a)
    before, after = rng.normal(1, 0.1, b), rng.normal(1, 0.1, a)
    width = changes.noise(Spread.of(before), Spread.of(after))
    low, high = stats.ttest_ind(before, after).confidence_interval(0.95) if min(a, b) > 1 else _of_one(before, after)
    assert width == pytest.approx((high - low) / 2)


def _of_one(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """The textbook's prediction interval for one further value."""
    many = max(before, after, key=len)
    half = stats.t.ppf(0.975, len(many) - 1) * many.std(ddof=1) * math.sqrt(1 + 1 / len(many))
    return -half, half


def test_one_seed_on_each_side_says_so_and_claims_no_noise(repository: Path) -> None:
    found = moved(rows({(LSTM, 1): 0.2, (LSTM, 2): 0.2}), rows({(LSTM, 1): 0.9, (LSTM, 2): 0.1}))
    assert [found[f"{LSTM} depth-{depth} mse"].verdict for depth in (1, 2)] == ["worse (one seed)", "better (one seed)"]
    assert {number.noise for number in found.values()} == {None}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"sequences": 32}, "sequences 16 → 32"),
        ({"source": "official"}, "source generated → official"),
        ({"causal": "leaky"}, "causal causal → leaky"),
        ({"baselines": {**BASELINES, "copy_last": 0.21}}, "the baseline copy_last moved"),
        ({"baselines": {"least_squares": 0.01}, "scale": "paper"}, "scale tiny → paper, and no baseline to ask"),
    ],
)
def test_numbers_of_another_test_are_not_compared(repository: Path, changed: dict[str, Any], why: str) -> None:
    found = moved(rows({(LSTM, 1): spread_out(0.2)}), rows({(LSTM, 1): spread_out(0.9)}, **changed))
    number = found[f"{LSTM} depth-1 mse"]
    assert (number.verdict, number.why) == ("not comparable", (why,))


def test_what_leaves_the_test_as_it_is_is_compared(repository: Path) -> None:
    """A fitted baseline moves with its training split; another machine rounds otherwise; a scale is only a word."""
    other = {**BASELINES, "least_squares": 0.02, "zeros": 0.4 * (1 + 1e-9)}
    found = moved(
        rows({(LSTM, 1): spread_out(0.2)}), rows({(LSTM, 1): spread_out(0.9)}, baselines=other, scale="laptop")
    )
    assert {name: number.verdict for name, number in found.items()} == {
        f"{LSTM} depth-1 mse": "worse",
        "copy_last": "the same",
        "zeros": "moved",
        "least_squares": "moved",
    }


def test_a_metric_that_is_not_defined_any_more_is_told(repository: Path) -> None:
    found = moved(rows({(LSTM, 1): spread_out(0.2)}), rows({(LSTM, 1): (0.2, math.nan, 0.2)}))
    assert found[f"{LSTM} depth-1 mse"].verdict == "not defined"
    tree = json.loads(diff.written(diff.compare(("HEAD~1", "HEAD")), "json"))
    assert tree["numbers"][0]["after"] == {"mean": None, "sd": None, "seeds": 3}


def test_a_finding_that_changed_is_told(repository: Path) -> None:
    names = {"dataset": "generated_sins", "mode": "free-running", "metric": "mse_pix01", "sequences": 16}
    baselines = ("zeros", "copy_last", "context_mean")
    pairs = [(f"{LSTM} depth-1 mse", baseline) for baseline in baselines]
    for verdicts in (("no difference", "a better", "no difference"), ("a better", "a better", "b better")):
        write(
            rows({(LSTM, 1): 0.2}, baselines=dict.fromkeys(baselines, 0.3)),
            [
                {**names, "a": a, "b": b, "difference": difference, "low": -0.2, "high": 0.1, "verdict": verdict}
                for (a, b), verdict, difference in zip(pairs, verdicts, (-0.1, -0.1, math.nan), strict=True)
            ],
        )
        commit()
    found = diff.compare(("HEAD~1", "HEAD"))
    assert [one.pair[3:] for one in found.findings] == [pairs[0]]  # where nothing is defined nobody became better
    assert f"{LSTM} depth-1 mse against zeros: no difference → better" in diff.written(found, "text")


# --- why ----------------------------------------------------------------------------------------------


def test_what_changed_in_parameters_and_code_is_told_by_cell(repository: Path) -> None:
    source = Path("src/framecast/losses/mse.py")
    source.parent.mkdir(parents=True)
    source.write_text('"""A loss."""\nWEIGHT = 1\n')
    write(rows({(LSTM, 1): 0.2, (LSTM, 2): 0.2}))
    commit("Before")

    source.write_text('"""A comment makes no other number."""\nWEIGHT = 1  # really\n')
    write(rows({(LSTM, 1): 0.2, (LSTM, 2): 0.2}, version="other raw files"))
    commit("Words")
    assert {(cause.parameters, cause.code) for cause in diff.compare(("HEAD~1", "HEAD")).causes} == {((), ())}

    source.write_text('"""A loss."""\nWEIGHT = 2\n')
    params = Path("params.yaml").read_text()
    Path("params.yaml").write_text(params.replace("hidden_size: 8", "hidden_size: 6").replace("epochs: 2", "epochs: 3"))
    write(rows({(LSTM, 1): 0.2, (LSTM, 3): 0.2}, version="new"))
    commit("Both")
    found = {cause.cell.name: cause for cause in diff.compare(("HEAD~1", "HEAD")).causes}
    trained = found[f"generated_sins/{LSTM}/depth-1/mse/seed-1"]
    assert trained.parameters == ("model.hidden_size 8 → 6", "training.epochs 2 → 3")
    assert trained.code == ("losses/mse.py",)
    assert (found["generated_sins/zeros"].parameters, found["generated_sins/zeros"].code) == ((), ())
    states = {name.split("/")[2]: cause.state for name, cause in found.items() if LSTM in name}
    assert states == {"depth-1": "changed", "depth-2": "removed", "depth-3": "added"}
    assert found[f"generated_sins/{LSTM}/depth-3/mse/seed-1"].before is None


def test_parameters_that_todays_code_cannot_read_are_named_in_one_line(repository: Path) -> None:
    params = Path("params.yaml").read_text()
    Path("params.yaml").write_text(params.replace("kind: seq2seq_lstm", "kind: gone_since"))
    write(rows({(LSTM, 1): 0.2}))
    commit("Old")
    Path("params.yaml").write_text(params)
    write(rows({(LSTM, 1): 0.3}, version="new"))
    commit("New")
    found = diff.compare(("HEAD~1", "HEAD"))
    assert len(found.unknown) == 1
    assert re.search(r"HEAD~1: its parameters cannot be read by today's code.*gone_since", found.unknown[0])
    assert {cause.parameters for cause in found.causes} == {None}
    assert "parameters: not known" in diff.written(found, "text")
    assert found.metrics == ("mse_pix01",)  # the newer side says which one is the primary metric


def test_tables_are_told_of_with_the_parameters_that_they_were_committed_with(repository: Path) -> None:
    write(rows({(LSTM, 1): 0.2}))
    made = commit("Tables")
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("hidden_size: 8", "hidden_size: 6"))
    commit("Not run yet")
    write(rows({(LSTM, 1): 0.3}, version="new"))
    commit("Run")
    found = diff.compare(("HEAD~1", "HEAD"))
    assert found.before.tables is not None
    assert found.before.tables.hash == made
    assert {cause.parameters for cause in found.causes if cause.cell.depth} == {("model.hidden_size 8 → 6",)}
    assert f"(tables of {made[:9]}, " in diff.written(found, "text").splitlines()[0]


# --- sides --------------------------------------------------------------------------------------------


def test_without_names_head_stands_beside_the_working_tree(repository: Path) -> None:
    write(rows({(LSTM, 1): spread_out(0.2)}))
    commit()
    assert {number.verdict for number in diff.compare().numbers} == {"the same"}
    write(rows({(LSTM, 1): spread_out(0.9)}))
    found = diff.compare()
    assert (found.before.name, found.after.name, found.after.tables) == ("HEAD", "working tree", None)
    assert found.numbers == diff.compare(("HEAD",)).numbers
    assert found.numbers[0].verdict == "worse"


def test_line_ends_on_disk_are_no_change(repository: Path) -> None:
    write(rows({(LSTM, 1): 0.2}))
    commit()
    path = Path("reports/scores.csv")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    found = diff.compare()
    assert found.after.tables is not None
    assert {number.verdict for number in found.numbers} == {"the same"}


def test_a_study_below_the_root_of_its_repository_is_read(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = repository / "inner folder"
    inner.mkdir()
    (inner / "params.yaml").write_text(Path("params.yaml").read_text())
    monkeypatch.chdir(inner)
    found = moved(rows({(LSTM, 1): 0.2}), rows({(LSTM, 1): 0.9}, version="new"))
    assert found[f"{LSTM} depth-1 mse"].verdict == "worse (one seed)"
    assert {cause.parameters for cause in diff.compare(("HEAD~1", "HEAD")).causes if cause.cell.depth} == {()}


@pytest.mark.parametrize("gone", [[], ["mode"], ["mode", "split", "sequences", "causal", "source", "scale"]])
def test_older_tables_with_other_columns_are_read(repository: Path, gone: list[str]) -> None:
    made = rows({(LSTM, 1): spread_out(0.2)})
    write(made)
    Path("reports/scores.csv").write_text(table(made, [name for name in reversed(SCORES) if name not in gone]))
    commit("Old")
    write(rows({(LSTM, 1): spread_out(0.9)}))
    commit("New")
    assert diff.compare(("HEAD~1", "HEAD")).numbers[0].verdict == "worse"


def test_a_study_and_metrics_are_chosen(repository: Path) -> None:
    made = [
        *rows({(LSTM, 1): 0.2}),
        *rows({("seq2seq_convlstm", 1): 0.2}, dataset="moving_mnist"),
        *rows({("seq2seq_convlstm", 1): 20.0}, dataset="moving_mnist", metric="psnr_frame", baselines={}),
    ]
    write(made)
    commit()
    assert {number.dataset for number in diff.compare(study="video_depth").numbers} == {"moving_mnist"}
    assert {number.metric for number in diff.compare().numbers} == {"mse_pix01"}
    assert {number.metric for number in diff.compare(metrics=("all",)).numbers} == {"mse_pix01", "psnr_frame"}


def test_records_are_compared_on_disk_and_as_git_keeps_them(repository: Path) -> None:
    root = repository / "reports" / "records"
    a, b = (records_fixture.fabricate(root, name, "generated_sins", "generated_noise") for name in ("a", "b"))
    one, other = (str(path.relative_to(repository)) for path in (a, b))
    assert {number.verdict for number in diff.compare((one, other)).numbers} == {"the same"}
    commit("Recorded")
    text = (a / "scores.csv").read_text()
    line = next(line for line in text.splitlines() if ",mse_pix01," in line and LSTM in line)
    fields = line.split(",")
    fields[7] = "0.9"
    (a / "scores.csv").write_text(text.replace(line, ",".join(fields)))
    with pytest.raises(UserError, match=r"scores\.csv: found sha256 \w+, expected \w+"):
        diff.compare((one,))
    records_fixture.fabricate(repository / "again", "a", "generated_sins")
    again = "again/a-paper"
    found = diff.compare((f"HEAD:{one}", again))
    assert {number.dataset for number in found.numbers if number.verdict == "removed"} == {"generated_noise"}
    assert any("does not know the commit of its code" in line for line in found.unknown)


# --- mistakes -----------------------------------------------------------------------------------------


def replaced(old: str, new: str) -> Any:
    def spoil() -> None:
        path = Path("reports/scores.csv")
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "named", "told"),
    [
        (lambda: None, ("nowhere",), "revision: found 'nowhere'; allowed: a commit"),
        (lambda: None, ("--output=x",), "revision: found '--output=x'"),
        (lambda: None, ("\x1b[31mred",), r"revision: found '\\x1b\[31mred'"),
        (lambda: None, ("HEAD^{tree}",), "revision: found"),
        (lambda: None, ("HEAD~1",), r"HEAD~1 \(\w{9}\): no reports/scores.csv at that commit"),
        (lambda: None, ("HEAD:reports/records/x",), "reports/records/x/record.json: no such file at"),
        (lambda: None, ("HEAD",) * 3, "found 3 commits or records"),
        (lambda: Path("reports/scores.csv").unlink(), (), "working tree: no reports/scores.csv; `git checkout"),
        (replaced("0.2", "zero"), (), "reports/scores.csv: line 2: value: found 'zero'; allowed: a number"),
        (replaced(LSTM, "\x1b[31mred"), (), r"line 2: model: found '\\x1b\[31mred'"),
        (replaced(LSTM, "a|b"), (), r"line 2: model: found 'a\|b'"),
        (replaced(LSTM, "<b>"), (), "line 2: model: found '<b>'"),
        (replaced(",1,mse,1,", ",1.5,mse,1,"), (), "line 2: depth: found '1.5'; allowed: a whole number"),
        (replaced(",1,mse,1,", ",1,mse,,"), (), "line 2: found some of depth, loss and seed"),
        (replaced("value", "val"), (), "column value is missing, found dataset, model"),
        (replaced(",test,", ","), (), "line 2: found another number of fields than columns"),
        (lambda: Path("reports/scores.csv").write_bytes(b"\xff\xfe\x00"), (), "not readable"),
        (lambda: Path("reports/scores.csv").write_text(""), (), "column dataset, .* is missing, found nothing"),
        (lambda: Path("reports/scores.csv").write_text(",".join(SCORES)), (), "found no score"),
        (lambda: write([*rows({(LSTM, 1): 0.2}), rows({(LSTM, 1): 0.3})[0]]), (), "for the second time"),
    ],
)
def test_a_mistake_is_one_line_that_no_terminal_obeys(repository: Path, spoil, named, told: str) -> None:
    write(rows({(LSTM, 1): 0.2}))
    commit()
    spoil()
    with pytest.raises(UserError, match=told) as caught:
        diff.compare(named)
    assert str(caught.value).isprintable()


def test_a_metric_or_study_that_is_not_there_is_named_with_its_neighbour(repository: Path) -> None:
    write(rows({(LSTM, 1): 0.2}))
    commit()
    with pytest.raises(UserError, match=r'metric: found "mse_pix1" \(did you mean mse_pix01\?\); allowed: mse_pix01'):
        diff.compare(metrics=("mse_pix1",))
    with pytest.raises(UserError, match=r"--study: found .* \(did you mean video_depth\?\)"):
        diff.compare(study="video_dept")


def test_outside_of_a_repository_it_says_so(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(study.parent))
    with pytest.raises(UserError, match="not a git repository"):
        diff.compare()


# --- how it is written --------------------------------------------------------------------------------


@pytest.fixture
def wide(repository: Path) -> diff.Diff:
    """Many systems of long names, of which five changed, and a commit whose message is hostile."""
    models = [f"next_frame_with_a_name_of_many_words_{number}" for number in range(9)]
    write(rows({(model, 1): spread_out(0.2) for model in models}))
    commit("Before @everyone <img src=x> `tick` \x1b[31mred | pipe")
    write(rows({(model, 1): spread_out(0.2 + 0.1 * (number < 5)) for number, model in enumerate(models)}, version="2"))
    commit("After")
    return diff.compare(("HEAD~1", "HEAD"))


@pytest.mark.parametrize("columns", [80, 120])
def test_no_line_is_wider_than_the_terminal(wide: diff.Diff, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = diff.written(wide, "text", everything=True)
    assert max(map(len, text.splitlines())) <= columns
    assert "\x1b" not in text
    for number in wide.numbers:
        assert str(number.system) in text
    assert text.splitlines()[-1].startswith("mse_pix01: 5 worse, 7 the same")


def test_a_pull_request_sees_three_numbers_and_unfolds_the_rest(wide: diff.Diff) -> None:
    page = diff.written(wide, "markdown")
    shown, folded = page.split("<details>", 1)
    assert all(side.commit and side.commit.short in shown for side in (wide.before, wide.after))
    assert shown.count("| worse |") == 3
    assert folded.count("| worse |") == 2
    assert page.count("<details>") == page.count("</details>")
    outside_of_code = re.sub(r"`[^`\n]*`", "", page)
    assert not re.search(r"@everyone|<img|\x1b", outside_of_code)
    cells = {row.count("|") for row in page.splitlines() if row.startswith("|")}
    assert len(cells) == 1


def test_the_worst_number_stands_first_in_a_pull_request(repository: Path) -> None:
    moved(
        rows({(LSTM, depth): spread_out(0.2) for depth in (1, 2, 3)}),
        rows({(LSTM, depth): spread_out(0.2 + change) for depth, change in ((1, -0.1), (2, 0.1), (3, 0.15))}),
    )
    page = diff.written(diff.compare(("HEAD~1", "HEAD")), "markdown")
    assert re.findall(r"depth-(\d) mse .* (better|worse) \|$", page, re.MULTILINE) == [
        ("3", "worse"),
        ("2", "worse"),
        ("1", "better"),
    ]


def test_what_moved_most_is_drawn_and_linked(wide: diff.Diff, tmp_path: Path) -> None:
    """A dot for each seed and a bar at the mean, on one axis; as many pictures as numbers stand in the open."""
    page = diff.written(wide, "markdown", pictures=tmp_path / "moved here")
    links = re.findall(r"^!\[([^]]+)\]\((\S+)\)$", page.split("<details>")[0], re.MULTILINE)
    assert len(links) == 3
    numbers = sorted((one for one in wide.numbers if one.verdict == "worse"), key=lambda one: -abs(one.change or 0))
    for alternative, link in links:
        root = ElementTree.fromstring(Path(unquote(link)).read_text(encoding="utf-8"))
        dots = [(float(one.get("cx", "")), one.get("fill")) for one in root.findall(".//{*}circle")]
        (number,) = (one for one in numbers if show.label(one) in alternative and one.dataset in alternative)
        assert number.before
        assert number.after
        assert len(dots) == number.before.seeds + number.after.seeds
        centres = [np.mean([at for at, ink in dots if ink == one]) for one in dict.fromkeys(ink for _, ink in dots)]
        assert (centres[1] > centres[0]) == (number.after.mean > number.before.mean)
        assert number.metric in alternative
    with pytest.raises(UserError, match="--pictures without --md"):
        diff.written(wide, "json", pictures=tmp_path)


def test_json_has_the_keys_that_are_documented(wide: diff.Diff) -> None:
    from framecast.upkeep.diff import machine

    tree = json.loads(diff.written(wide, "json"))
    documented = re.findall(r"^    (\w+) ", str(machine.__doc__), re.MULTILINE)
    assert documented == ["format", "before", "metrics", "numbers", "findings", "cells", "unknown"]
    assert set(tree) == {*documented, "after"}
    assert tree["format"] == 1
    assert tree["before"]["commit"] == git("rev-parse", "HEAD~1")
    number = tree["numbers"][0]
    for name in number:
        assert name in str(machine.__doc__)
    assert number["change"] == number["after"]["mean"] - number["before"]["mean"]
    assert number["verdict"] in changes.VERDICTS
    assert {cell["state"] for cell in tree["cells"]} == {"changed"}


# --- the gate -----------------------------------------------------------------------------------------


def gated(capsys: pytest.CaptureFixture[str], *amounts: str, named: tuple[str, ...] = ("HEAD~1", "HEAD")) -> Any:
    code = gate.gate(named, amounts)
    return code, capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("after", "amount", "code"),
    [
        (spread_out(0.2 + NOISE * 1.01), "0.01", 1),
        (spread_out(0.2 + NOISE * 0.99), "0.01", 0),  # within noise
        (spread_out(0.2 + NOISE * 1.01), "0.1", 0),  # allowed
        (spread_out(0.2 + NOISE * 1.01), "11%", 1),
        (spread_out(0.2 + NOISE * 1.01), "12%", 0),
        (spread_out(0.1), "0", 0),  # better
        (spread_out(0.2), "0", 0),  # the same
        ((0.2, math.nan, 0.2), "0.1", 1),
        (spread_out(0.2)[:2], "0.1", 2),  # a seed is gone
        ((), "0.1", 2),
    ],
)
def test_the_gate_fails_beyond_both_amount_and_noise(
    repository: Path, capsys: pytest.CaptureFixture[str], after: Iterable[float], amount: str, code: int
) -> None:
    moved(rows({(LSTM, 1): spread_out(0.2)}), rows({(LSTM, 1): after}))
    found, lines = gated(capsys, f"mse_pix01={amount}")
    assert found == code, lines
    assert len(lines) == 1 + (code > 0)
    assert lines[0].startswith(("gate: ", "worse: ", "missing: ")[code])
    assert lines[-1].startswith("gate: 1 number held against HEAD~1 (mse_pix01 by ")


def test_the_gate_knows_that_a_higher_psnr_is_better(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = {"metric": "psnr_frame", "dataset": "moving_mnist"}
    moved(
        *(rows({(LSTM, 1): spread_out(one), (LSTM, 2): spread_out(two)}, **video) for one, two in ((20, 20), (19, 21))),
        "psnr_frame",
    )
    code, lines = gated(capsys, "psnr_frame=0.2")
    assert code == 1
    assert len(lines) == 2
    assert re.fullmatch(r"worse: moving_mnist seq2seq_lstm depth-1 mse, .*: 20 → 19, worse by 1 .*", lines[0])


def test_with_one_seed_the_amount_alone_decides(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moved(rows({(LSTM, 1): 0.2}), rows({(LSTM, 1): 0.25}))
    code, lines = gated(capsys, "mse_pix01=0.01")
    assert code == 1
    assert "one seed, so that noise is not known" in lines[0]
    assert gated(capsys, "mse_pix01=0.06")[0] == 0


def test_what_is_not_comparable_is_missing_and_what_is_worse_counts_more(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = ({"dataset": "stocks"}, {"dataset": "generated_noise"})
    was, now = {(LSTM, 1): spread_out(0.2)}, {(LSTM, 1): spread_out(0.9)}
    moved([*rows(was, **one), *rows(was, **other)], [*rows(was, **one), *rows(now, **other, sequences=9)])
    assert gated(capsys, "mse_pix01=0.1")[0] == 2
    moved([*rows(was, **one), *rows(was, **other)], [*rows(now, **one), *rows(now, **other, sequences=9)])
    code, lines = gated(capsys, "mse_pix01=0.1")
    assert code == 1
    assert [line.split(":")[0] for line in lines] == ["worse", "missing", "gate"]


@pytest.mark.parametrize(
    ("named", "amounts", "told"),
    [
        (("nowhere",), ("mse_pix01=1",), "revision: found 'nowhere'"),
        (("HEAD",), (), "--max-regress: found nothing"),
        (("HEAD",), ("mse_pix01",), "--max-regress: found 'mse_pix01'; allowed: METRIC=AMOUNT"),
        (("HEAD",), ("mse_pix01=-1",), "--max-regress: found"),
        (("HEAD",), ("mse_pix01=1e999",), "--max-regress: found"),
        (("HEAD",), ("all=1",), "--max-regress: found"),
        (("HEAD",), ("mse_pix01=1", "mse_pix01=2"), "mse_pix01 twice"),
        (("HEAD",), ("psnr_frame=1",), 'metric: found "psnr_frame"'),
    ],
)
def test_a_mistake_at_the_gate_is_neither_held_nor_worse(repository: Path, named, amounts, told: str) -> None:
    write(rows({(LSTM, 1): 0.2}))
    commit()
    with pytest.raises(UserError, match=told) as caught:
        gate.gate(named, amounts)
    assert caught.value.exit_code == 2
    assert str(caught.value).isprintable()


# --- this repository's own history --------------------------------------------------------------------


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commits that changed the tables of this repository, the oldest first."""
    monkeypatch.chdir(ROOT)
    try:
        told = history.ask("log", "--reverse", "--format=%H", "--", "reports/scores.csv").decode().split()
    except UserError as error:
        pytest.skip(f"no history of this repository here: {error}")
    if len(told) < 4:
        pytest.skip("a clone without the history of the tables")
    return told


def test_every_table_that_was_ever_committed_is_read(own: list[str]) -> None:
    for commit in own:
        assert sides.at_commit(commit).rows
    found = diff.compare((own[0], own[1]))  # tables from before there were modes
    assert found.unknown == ()
    assert {number.verdict for number in found.numbers} - {"removed", "added"}
    for form in ("text", "markdown", "json"):
        assert diff.written(found, form)


def test_the_last_change_of_parameters_is_seen_in_the_numbers(own: list[str]) -> None:
    """At laptop scale two systems were once given more epochs at half the rate: these moved, and no other did."""
    after = next((one for one in own if one.startswith("7dd52be")), None)
    if after is None:
        pytest.skip("a history without that commit")
    found = diff.compare((f"{after}~1", after))
    assert {number.system.model for number in found.numbers if number.verdict != "the same"} == {
        "next_frame_as_coded",
        "next_frame_leaky",
    }
    assert {cause.parameters for cause in found.causes} == {
        ("training.epochs 3 → 5", "training.learning_rate 0.003 → 0.0015")
    }
    assert {cause.code for cause in found.causes} == {()}


# --- the page -----------------------------------------------------------------------------------------


def workflow() -> str:
    (found,) = [block.text for block in pages.blocks(PAGE) if block.language == "yaml"]
    return found


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A step of the workflow, as its runner calls it."""
    path = os.pathsep.join([str(warm.programs()), os.environ["PATH"]])
    command = ["bash", "-euo", "pipefail", "-c", line]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path, **environment}
    )


def test_every_verdict_stands_on_the_page() -> None:
    rows_of_page = " ".join(re.findall(r"^\| ([^|]+) \|", (ROOT / PAGE).read_text(encoding="utf-8"), re.MULTILINE))
    for verdict in changes.VERDICTS:
        assert verdict in rows_of_page


def test_the_workflow_of_the_page_runs_in_a_repository(repository: Path) -> None:
    """Its own commands, as a shell runs them there: the merge of a branch that made a number worse is refused."""
    steps = yaml.safe_load(workflow())["jobs"]["numbers"]["steps"]
    moving, gating = [step["run"] for step in steps if "framecast" in step.get("run", "")]
    seeds = {(LSTM, 1): spread_out(0.2)}
    psnr = {"dataset": "moving_mnist", "metric": "psnr_frame"}
    write([*rows(seeds), *rows({(LSTM, 1): spread_out(20)}, **psnr)])
    commit("Main")
    git("checkout", "--quiet", "-b", "change")
    write([*rows({(LSTM, 1): spread_out(0.3)}, version="2"), *rows({(LSTM, 1): spread_out(19.9)}, **psnr)])
    commit("A change")
    git("checkout", "--quiet", "main")
    git("commit", "--quiet", "--allow-empty", "--message", "Main went on")
    git("merge", "--quiet", "--no-ff", "--message", "Merge", "change")
    summary = repository / "summary.md"
    done = shell(moving, GITHUB_STEP_SUMMARY=str(summary))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert summary.read_text().startswith("### What moved: `HEAD^1` → `HEAD`")
    done = shell(gating)
    assert done.returncode == 1, done.stderr
    assert [line.split(",")[0] for line in done.stdout.splitlines()][:1] == [
        f"worse: generated_sins {LSTM} depth-1 mse"
    ]
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == ""


def test_every_command_of_the_page_says_what_moved(repository: Path) -> None:
    seeds = {(LSTM, 1): spread_out(0.2)}
    others = [("moving_mnist", "mse_pix01"), ("moving_mnist", "psnr_frame"), ("moving_mnist", "ssim_gauss")]
    tables = [row for dataset, metric in others for row in rows(seeds, dataset=dataset, metric=metric)]
    write([*rows(seeds), *tables])
    for scale in ("laptop", "paper"):
        records_fixture.fabricate(repository / "reports" / "records", "video_depth", "moving_mnist", scale=scale)
    commit("Main")
    write([*rows({(LSTM, 1): spread_out(0.201)}, version="2"), *tables])
    for line in pages.commands("docs/how-to-gate-a-pull-request.md"):
        done = CliRunner().invoke(app, shlex.split(line, comments=True)[1:])
        assert done.exit_code == 0, f"{line}: {done.output}"
        assert "mse_pix01" in done.stdout or "psnr_frame" in done.stdout, f"{line}: {done.output}"


def test_what_the_workflow_installs_is_enough(repository: Path) -> None:
    """Nothing else that pip would bring is imported, PyTorch least of all."""
    install = next(step["run"] for step in yaml.safe_load(workflow())["jobs"]["numbers"]["steps"] if "pip" in str(step))
    named = set(re.search(r"requirements\.lock (.*)", install)[1].split())
    write(rows({(LSTM, 1): spread_out(0.2)}))
    commit()
    write(rows({(LSTM, 1): spread_out(0.21)}))
    allowed = sorted(named | needed(named) | {"framecast"})
    program = (
        "import sys, importlib.metadata as known\n"
        "class Only:\n"
        "    def find_spec(self, name, *_):\n"
        "        found = {one.lower() for one in names.get(name.split('.')[0], ())}\n"
        f"        if found and not found & set({allowed}): raise ModuleNotFoundError(name)\n"
        "names = known.packages_distributions()\n"
        "sys.meta_path.insert(0, Only())\n"
        "from framecast import cli\n"
        "sys.argv = ['framecast', *sys.argv[1:]]\n"
        "cli.main()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    for arguments in (["diff", "--md"], ["gate", "HEAD", "--max-regress", "mse_pix01=1"]):
        command = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert (done.returncode, done.stderr) == (0, "")
    assert "torch" not in allowed


def needed(names: Iterable[str]) -> set[str]:
    """What these distributions need in turn, extras left out."""
    from importlib import metadata

    found: set[str] = set()
    waiting = list(names)
    while waiting:
        try:
            wanted = metadata.requires(waiting.pop()) or ()
        except metadata.PackageNotFoundError:
            continue
        new = {re.split(r"[^\w.-]", text)[0].lower() for text in wanted if "extra ==" not in text} - found
        found |= new
        waiting += new
    return found | {name.replace("-", "_") for name in found}


def test_the_verbs_end_with_their_codes(repository: Path) -> None:
    write(rows({(LSTM, 1): spread_out(0.2)}))
    commit("Before")
    write(rows({(LSTM, 1): spread_out(0.9)}))
    told = run("framecast", "diff", cwd=repository).stdout
    assert told.splitlines()[-1] == "mse_pix01: 1 worse, 3 the same"
    done = run("framecast", "gate", "HEAD", "--max-regress", "mse_pix01=5%", cwd=repository, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    done = run("framecast", "diff", "nowhere", cwd=repository, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    done = run("framecast", "gate", "nowhere", "--max-regress", "mse_pix01=5%", cwd=repository, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def test_sides_are_named_as_git_names_them(repository: Path) -> None:
    write(rows({(LSTM, 1): 0.2}))
    commit()
    git("tag", "v1")
    git("checkout", "--quiet", "-b", "a/branch")
    for name in ("v1", "a/branch", "main", "HEAD", "@", git("rev-parse", "HEAD"), git("rev-parse", "--short", "HEAD")):
        assert sides.side(name).commit.hash == git("rev-parse", "HEAD")
