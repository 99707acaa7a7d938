"""Recorded runs: what is written of a study, what the report and docs/results.md make of it, and what is refused."""

import csv
import dataclasses
import json
import re
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
import yaml

from framecast import plain_yaml, published
from framecast.cluster import journal
from framecast.errors import UserError
from framecast.evaluation.tables import tabulate
from framecast.published.claims import load_claims
from framecast.report import literature, results_page, runs, tables
from framecast.report.render import _discrepancies, render
from framecast.results import System, records
from framecast.results.claims import Held, judge
from framecast.study import grid as keys
from framecast.study import reading
from framecast.study.grid import RECORD_FILES, RECORD_TABLES, RECORDS, Grid
from framecast.upkeep import record as recording
from tests import records_fixture, results_fixture
from tests.conftest import ROOT
from tests.report.test_report import STUDIES, Page, expected

STUDY = "sequence_depth"


# --- writing --------------------------------------------------------------------------------------


@pytest.fixture
def repository(study: Path, monkeypatch: pytest.MonkeyPatch) -> Grid:
    """The tiny study in a git repository whose source is the one that runs; nothing is scored."""
    who = {f"GIT_{role}_{what}": f"{what}@test" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    for name, value in {**who, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CEILING_DIRECTORIES": str(study.parent)}.items():
        monkeypatch.setenv(name, value)
    (study / "src").symlink_to(ROOT / "src")
    git("init", "--quiet")
    commit()
    return Grid(reading.load())


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


def commit() -> None:
    git("add", "src", "params.yaml")
    git("commit", "--quiet", "--message", "The study")


@pytest.fixture
def finished(repository: Grid) -> Grid:
    """Every cell of one study, and the baselines of its dataset, with scores; the other study never ran."""
    scores = [score(repository, cell) for cell in repository.scored if cell.dataset == "generated_sins"]
    assert scores
    return repository


def score(grid: Grid, cell: keys.Cell) -> Path:
    """A scored cell as ``evaluate`` leaves it, with an attempt for each of its phases."""
    import numpy as np
    from safetensors.numpy import save_file

    from framecast import artifacts

    folder, rng = grid.score_folder(cell), np.random.default_rng(list(cell.name.encode()))
    folder.mkdir(parents=True)
    errors = rng.uniform(0.01, 0.02, (16, 5))
    rows = ["mode,metric,step,value", f"free-running,mse_pix01,all,{errors.mean()!r}"]
    rows += [f"free-running,mse_pix01,{step},{value!r}" for step, value in enumerate(errors.mean(axis=0), 1)]
    (folder / "scores.csv").write_text("\n".join(rows).replace("np.float64(", "").replace(")", "") + "\n")
    save_file({"free-running/mse_pix01": errors}, folder / "sequences.safetensors")
    manifest = {
        "key": grid.score_key(cell),
        **{name: getattr(cell, name) for name in ("dataset", "model", "depth", "loss", "seed")},
        **{"split": "test", "sequences": 16, "causal": "causal", "source": "generated", "scale": grid.params.scale},
        **{"mode": "free-running", "modes": {"free-running": {"context": 5, "horizon": 5}}, "frames": "series"},
        **{"primary_metric": "mse_pix01", "origin": "made for a test", "replication": False},
        "parameters": grid.score_parameters(cell),
        "sha256": {name: artifacts.sha256_of(folder / name) for name in ("scores.csv", "sequences.safetensors")},
    }
    artifacts.write_json(folder / "score.json", manifest)
    with journal.attempt("evaluate", cell.name, grid.score_key(cell), "cpu", journal.Asked()):
        pass
    if not cell.is_baseline:
        artifacts.write_json(grid.run_folder(cell) / "run.json", {"versions": {"torch": "2.13.0"}})
        with journal.attempt("train", cell.name, grid.run_key(cell), "cpu", journal.Asked()):
            pass
    return folder


def test_a_study_is_recorded_alone_and_twice_alike(finished: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = recording.record(finished, STUDY)
    assert folder == RECORDS / "sequence_depth-tiny"
    assert sorted(path.name for path in folder.iterdir()) == sorted(RECORD_FILES)
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    git("add", "reports")
    git("commit", "--quiet", "--message", "The record")  # of no code, so the run's commit stays what it was
    assert recording.record(finished, STUDY) == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    monkeypatch.setattr(recording, "load_claims", lambda: (_ for _ in ()).throw(UserError("claims.yaml: damaged")))
    (folder / "scores.csv").write_text("of before\n")
    with pytest.raises(UserError, match="damaged"):
        recording.record(finished, STUDY)
    assert (folder / "scores.csv").read_text() == "of before\n"


def test_a_record_says_what_made_it_and_what_it_took(finished: Grid) -> None:
    record = records.load(recording.record(finished, STUDY))
    facts, cells = record.facts, {cell.name: cell for cell in finished.scored}
    for cell in record.results.cells:  # the recipe too: a published number may be due to it
        assert cell.score["parameters"] == finished.score_parameters(cells[cell.name])
    assert (facts.study, facts.scale, facts.seeds) == (STUDY, "tiny", (1, 2))
    assert facts.params == Path("params.yaml").read_text(encoding="utf-8")
    assert facts.commit.hash == git("rev-parse", "HEAD").strip()
    wanted = [cell for cell in finished.scored if cell.dataset == "generated_sins"]
    assert {name: (cell.run_key, cell.score_key) for name, cell in facts.cells.items()} == {
        cell.name: (None if cell.is_baseline else finished.run_key(cell), finished.score_key(cell)) for cell in wanted
    }
    assert facts.count == len(wanted) == 7
    assert datetime.fromisoformat(facts.commit.date).timestamp() == int(git("log", "-1", "--format=%ct"))
    assert (facts.training.attempts, facts.evaluation.attempts) == (4, 7)
    attempts = [one for cell in wanted[:4] for one in journal.attempts("train", cell.name, finished.run_key(cell))]
    assert facts.training.core_seconds == pytest.approx(sum(one.cpu_seconds for one in attempts), abs=0.1)
    assert len(facts.hardware) == 1
    assert facts.hardware[0].cores >= 1
    assert facts.hardware[0].memory_mb > 100
    assert facts.versions["torch"] == "2.13.0"


def test_a_record_keeps_another_recipe_of_a_dataset(record: Path) -> None:
    def score(dataset: str, epochs: int) -> dict[str, object]:
        parameters = {"model": {"kind": "simvp", "depth": 3}, "training": {"epochs": epochs}}
        return {"dataset": dataset, "replication": False, "parameters": parameters}

    made = recording._model([score("kth", 4), score("kth", 4), score("human36m", 2)])
    assert (made.training, made.training_on) == ({"epochs": 4}, {"human36m": {"epochs": 2}})
    facts = json.loads((record / "record.json").read_text(encoding="utf-8"))
    del facts["seal"]
    (dataset,), model = facts["datasets"], next(iter(facts["models"]))
    facts["models"][model] |= {"training": {"epochs": 4}, "training_on": {dataset: {"epochs": 2}}}
    (record / "record.json").write_text(json.dumps(facts), encoding="utf-8")
    found = [cell.score["parameters"]["training"] for cell in records.load(record).results.cells if cell.model == model]
    assert found
    assert all(recipe == {"epochs": 2} for recipe in found)


def test_the_tables_of_a_record_are_rows_of_the_study_s_tables(finished: Grid) -> None:
    """To the digit: they are made by the same functions."""
    for cell in finished.scored:
        if cell.dataset != "generated_sins":
            score(finished, cell)
    tabulate(finished, finished.scored, Path("reports"), RECORD_TABLES)
    folder = recording.record(finished, STUDY)
    for name in RECORD_TABLES:
        whole, own = ((place / name).read_text(encoding="utf-8").splitlines() for place in (Path("reports"), folder))
        dataset = whole[0].split(",").index("dataset")
        assert own == [whole[0], *(row for row in whole[1:] if next(csv.reader([row]))[dataset] == "generated_sins")]
        assert len(own) > 3


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            lambda: Path("params.yaml").write_text("# new\n" + Path("params.yaml").read_text()),
            "not committed: params.y",
        ),
        (lambda: Path("workflow").mkdir() or Path("workflow/new.smk").write_text(""), r"not committed: workflow/"),
        (lambda: shutil.rmtree(".git"), "git status: fatal: not a git repository"),
        (lambda: Path("src").unlink(), r"the framecast that runs is .*, and not this repository's src/framecast"),
        (
            lambda: [path.unlink() for path in sorted(Path("data/scores").glob("*/*/*/*/*/*/score.json"))],
            r"study sequence_depth: 4 of its 7 cells and baselines are not finished: generated_sins/.* and 1 more",
        ),
        (lambda: next(Path("data/scores").rglob("scores.csv")).write_text("altered"), "found sha256 .*, expected"),
    ],
)
def test_what_cannot_be_made_again_is_not_recorded(finished: Grid, spoil, told: str) -> None:
    spoil()
    with pytest.raises(UserError, match=told) as caught:
        recording.record(finished, STUDY)
    assert "\n" not in str(caught.value)
    assert not Path("reports").exists()


def test_some_datasets_of_a_study_are_recorded_without_the_others(finished: Grid) -> None:
    tree = yaml.safe_load(Path("params.yaml").read_text("utf-8"))
    tree["datasets"]["generated_noise"] = tree["datasets"]["generated_sins"] | {"kind": "generated_noise"}
    tree["studies"][STUDY]["datasets"].append("generated_noise")
    grid = Grid(reading.resolve(tree))
    with pytest.raises(UserError, match=r"cells and baselines are not finished: generated_noise/"):
        recording.record(grid, STUDY)
    record = records.load(recording.record(grid, STUDY, ["generated_sins"]))
    assert record.facts.left_out == ("generated_noise",)
    assert set(record.facts.datasets) == {"generated_sins"}
    (run,) = runs.runs([record])
    assert run.cells.endswith("; without generated_noise")
    with pytest.raises(UserError, match="did you mean generated_sins"):
        recording.record(grid, STUDY, ["generated_sin"])


def test_an_unknown_study_is_named_with_its_neighbour(repository: Grid) -> None:
    with pytest.raises(UserError, match=r'study: found "sequence_dept" \(did you mean sequence_depth\?\)'):
        recording.record(repository, "sequence_dept")


def test_a_repository_without_a_commit_is_no_place_to_record_in(finished: Grid) -> None:
    shutil.rmtree(".git")
    git("init", "--quiet")
    Path(".git/info/exclude").write_text("*\n")
    with pytest.raises(UserError, match="record: "):
        recording.record(finished, STUDY)


def test_where_the_attempts_are_gone_the_record_says_so(finished: Grid, tmp_path: Path) -> None:
    shutil.rmtree("logs")
    (run,) = runs.runs([records.load(recording.record(finished, STUDY))])
    assert (run.hardware, run.core_time) == (runs.NOT_KNOWN, runs.NOT_KNOWN)


# --- reading --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of two studies at published settings and of one at a reduced scale."""
    root = tmp_path_factory.mktemp("recorded") / "records"
    records_fixture.fabricate(root, "sequence_depth", "generated_noise", "generated_sins", "stocks_by_ticker")
    records_fixture.fabricate(root, "video_depth", "moving_mnist")
    records_fixture.fabricate(root, "video_depth", "moving_mnist", scale="laptop", source="bundled")
    return root


@pytest.fixture(scope="module")
def recorded(root: Path) -> tuple[records.Record, ...]:
    return records.load_all(root)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory):
    datasets = tuple(dataset for dataset in results_fixture.ERRORS if dataset != results_fixture.NEXT)
    return results_fixture.fabricate(tmp_path_factory.mktemp("results"), datasets=datasets)


@pytest.fixture(scope="module")
def html(results, recorded) -> str:
    return render(results, {}, STUDIES, "laptop", records=recorded)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """One record, to be spoilt."""
    return records_fixture.fabricate(tmp_path / "records", "video_depth", "moving_mnist")


def test_a_reduced_page_shows_the_recorded_number_with_its_verdict(html: str, root: Path) -> None:
    """Each is the mean of the record's own table, and stands beside a page's number that is not comparable."""
    truth = expected(pd.read_csv(root / "video_depth-paper" / "scores.csv", dtype={"key": str}), "mean")
    told = [number for number in Page(html).numbers("recorded-mean") if number["data-record"] == "video_depth-paper"]
    for number in told:
        key = tuple(number[f"data-{name}"] for name in ("dataset", "model", "depth", "loss", "mode", "metric"))
        assert float(number["data-value"]) == pytest.approx(truth[key], rel=1e-12)
    assert {number["data-depth"] for number in told} == {"1", "2", "3", ""}


def test_the_verdict_on_a_recorded_number_is_the_one_on_published_settings(results, recorded) -> None:
    grid = tables.grid(results, STUDIES["video_depth"], recorded)
    for row, entry in ((row, row.entries[0]) for row in grid.rows if row.kind == "trained"):
        value = published.load_all()[0].tables[1].value("moving_mnist", int(row.label[-1]))
        spread = recorded[-1].results.spread(
            "moving_mnist", System("seq2seq_convlstm", "mse", value.depth), "mse_pix01"
        )
        assert entry.verdict.word == "not comparable"
        assert entry.recorded.verdict == published.verdict(spread.mean, spread.sd, value.corrected)
        assert entry.recorded.record == "video_depth-paper"
    series = tables.grid(results, STUDIES["sequence_depth"], recorded)
    reasons = [
        [entry.recorded.verdict.reasons for entry in row.entries] for row in series.rows if row.kind == "trained"
    ]
    assert reasons == [[(), (), ()]] * 3  # the published network under three names; drawn by rule, or its own prices


def test_the_tables_of_srvp_stand_beside_the_recorded_scores_whatever_the_scale_of_the_page(results) -> None:
    """Ours are the means of the record's own table; a system that was not run names the one to look at instead."""
    kept = records.load(ROOT / "reports" / "records" / "systems_moving_mnist-laptop")
    truth = kept.results.scores.groupby(["model", "metric"])["value"].mean()
    table = next(one for one in literature.printed_tables(results, [kept]) if one.number == "Moving MNIST, 10 → 10")
    assert [metric.id for metric in table.metrics] == ["mse_pix255u8", "psnr_srvp", "ssim_srvp"]
    rows = {row.label: row for row in table.rows}
    for name, model in {"SRVP": "srvp", "ConvGRU": "convgru", "ConvLSTM": "convlstm_s", "ST-LSTM": "predrnn"}.items():
        assert rows[name].system.split()[0] == model
        assert rows[name].record == kept.name
        assert {"reduced scale", "another depth"} <= set(rows[name].obstacle.reasons)
        for metric, entry in zip(table.metrics, rows[name].entries, strict=True):
            if entry is not None:
                assert float(entry.ours.mean.data["value"]) == pytest.approx(truth[model, metric.id], rel=1e-12)
    assert "another recipe" in rows["ConvLSTM"].obstacle.reasons
    assert not rows["MIMO-VP"].system
    of_30 = next(one for one in literature.printed_tables(results, [kept]) if one.number == "Moving MNIST, 10 → 30")
    assert not of_30.has_ours


def test_a_recorded_ablation_is_told_with_its_paired_intervals() -> None:
    kept = records.load(ROOT / "reports" / "records" / "systems_moving_mnist-laptop")
    (part,) = runs.runs([kept])[0].parts
    rows = {row.systems: row for table in part.impact for _, group in table.groups for row in group}
    pairs = kept.results.compared(part.dataset, "mse_pix01").set_index(["a", "b"])
    for without in ("sa", "rfa", "crossatt"):
        before, after = "srvp depth-2 bce_srvp", f"srvp_without_{without} depth-2 bce_srvp"
        told, stored = rows[before, after].impacts[0], pairs.loc[before, after]  # after minus before, and a minus b
        assert float(told.difference.data["value"]) == -stored["difference"]
        assert [float(end.data["value"]) for end in (told.low, told.high)] == [-stored["high"], -stored["low"]]
        assert told.low.data["record"] == kept.name
    assert part.curves.horizon == 10


def test_each_change_of_a_recorded_run_has_a_name_of_its_own() -> None:
    """One that was made at several depths says at which."""
    kept = records.load(ROOT / "reports" / "records" / "sequence_depth-laptop")
    for part in runs.runs([kept])[0].parts:
        for table in part.impact:
            named = [(row.before, row.after) for _, rows in table.groups for row in rows]
            assert len(set(named)) == len(named) == 3


def test_a_published_row_shows_published_settings_first_and_then_this_page(results) -> None:
    kept = records.load(ROOT / "reports" / "records" / "systems_moving_mnist-laptop")
    cells = tuple(dataclasses.replace(cell, facts={**cell.facts, "scale": "paper"}) for cell in kept.results.cells)
    paper = dataclasses.replace(kept, folder=Path("a-paper"), results=dataclasses.replace(kept.results, cells=cells))
    scores = kept.results.scores
    bare = dataclasses.replace(kept.results, scores=scores[scores["metric"] == "mse_pix01"])

    def shown(page, record: records.Record) -> str:
        tables = literature.printed_tables(page, [record])
        table = next(one for one in tables if one.number == "Moving MNIST, 10 → 10")
        return next(row.record for row in table.rows if row.label == "SRVP")

    assert shown(kept.results, paper) == "a-paper"
    assert shown(kept.results, kept) == ""
    assert shown(bare, kept) == kept.name  # this page has the system, and none of the metrics of the row


def test_ours_beside_tables_1_and_2_is_the_pages_or_else_that_of_a_record(results) -> None:
    """Of the latest record, by name; not where one at published settings stands there anyhow."""
    kept = [
        records.load(ROOT / RECORDS / f"{name}")
        for name in ("sequence_depth-laptop", "sequence_depth-paper", "video_depth-laptop")
    ]
    empty = dataclasses.replace(results, cells=(), scores=results.scores[:0])
    lines = {(line.dataset, line.depth): line for whole in literature.whole_tables(empty, kept) for line in whole.lines}
    assert {dataset for (dataset, _), line in lines.items() if line.recorded} == {"generated_noise", "generated_sins"}
    found = {about: line.record for about, line in lines.items() if line.record}
    assert found == {
        **{("stocks_by_ticker", depth): "sequence_depth-laptop" for depth in (1, 2, 3)},
        **{
            (video, depth): "video_depth-laptop"
            for video in ("moving_mnist", "kth_coleman", "bair")
            for depth in (1, 2, 3)
        },
    }
    (record,) = (one for one in kept if one.name == "video_depth-laptop")
    scores = record.results.scores
    for depth in (1, 2, 3):
        mine = scores[(scores["model"] == "seq2seq_convlstm") & (scores["depth"] == depth)]
        mean = mine[(mine["dataset"] == "moving_mnist") & (mine["metric"] == "mse_pix01")]["value"].mean()
        line = lines["moving_mnist", depth]
        assert float(line.ours.mean.data["value"]) == pytest.approx(mean, rel=1e-12)
        assert (line.ours.mean.data["record"], line.ours.anchor) == (record.name, "")
        assert "reduced scale" in line.verdict.reasons
    of_page = [line for whole in literature.whole_tables(results, kept) for line in whole.lines]
    assert {line.record for line in of_page if line.dataset == "moving_mnist" and line.ours} == {""}


def test_the_page_of_a_demo_tells_the_findings_about_what_a_record_has_studied(results) -> None:
    """No cell of SRVP is in the demo, but its tables are quoted and its recorded run stands there."""
    demo = reading.resolve({**plain_yaml.read(ROOT / "params.yaml"), "scale": "demo"}).studies
    assert not any("srvp" in study.every("models") for study in demo.values())
    kept = records.load(ROOT / RECORDS / "systems_moving_mnist-laptop")
    told = {entry.finding for author, entry in _discrepancies(results, demo, [kept]) if author.startswith("Y. Kim")}
    assert told == set(range(12, 18))
    assert not {entry.finding for author, entry in _discrepancies(results, demo, ()) if author.startswith("Y. Kim")}


def test_a_table_of_systems_says_once_what_keeps_all_of_its_rows_apart(results) -> None:
    kept = records.load(ROOT / RECORDS / "systems_moving_mnist-laptop")
    shown = {(one.source.id, one.number): one for one in literature.printed_tables(results, [kept])}
    classic, recurrent = (
        shown["video_benchmarks", "Moving MNIST, 10 → 10"],
        shown["openstl", "Moving MNIST, 200 epochs"],
    )
    assert {"reduced scale", "another recipe", "another depth"} <= set(classic.common)
    rows = {row.label: row for row in recurrent.rows}
    assert rows["PredRNN++"].system == "predrnn_pp depth-2 mse"
    assert (rows["TAU"].model, rows["TAU"].system) == ("", "")
    assert float(rows["TAU"].entries[0].printed.data["value"]) == 24.60
    walkers = shown["openstl", "KTH, 10 → 20, 128×128, 100 epochs"]
    assert walkers.uncomputed == ("LPIPS",)
    told = {row.label: row.uncomputed[0] and row.uncomputed[0].text for row in walkers.rows}
    assert (told["DMVFN"], told["PredRNN"], told["SimVP with MogaNet"]) == ("0.12842", "0.21892", None)
    far = {row.label: (row.model, row.system) for row in shown["video_benchmarks", "KTH, 10 → 40, 128×128"].rows}
    assert (far["PredRNN"], far["E3D-LSTM"]) == (("predrnn", ""), ("", ""))
    groups = {group.source.id: group for group in literature.by_source(list(shown.values()))}
    assert (len(groups["openstl"].tables), groups["openstl"].with_ours) == (4, 2)


def test_a_row_is_called_as_the_source_calls_its_system_and_a_caveat_says_whose_it_is(results) -> None:
    shown = {(one.source.id, one.number): one for one in literature.printed_tables(results)}
    for about in (("kartal", "final slides, slide 11"), ("reshalfahsi", "Quantitative Result")):
        (row,) = shown[about].rows
        assert "next-frame ConvLSTM" in row.label
        assert all(row.entries)
    notes = shown["srvp", "Moving MNIST, 10 → 10"].notes
    assert notes[0].startswith("Protocol: trained on digits")  # of all rows
    assert notes[2].startswith("ConvLSTM, ST-LSTM, Causal LSTM, MIM, ConvGRU, MIMO-VP, SimVP: Made by the authors")
    assert notes[3:] == ("SRVP: Its weights were selected on the test set, ours on a validation set.",)
    assert "SimVP with gSTA: Trained anew by others: 24.5, 20.9." in shown["openstl", "Moving MNIST, 2000 epochs"].notes


def test_a_page_without_records_is_as_it_was(results) -> None:
    page = render(results, {}, {"sequence_depth": STUDIES["sequence_depth"]}, "laptop")
    assert "Recorded" not in page
    assert not any(column.recorded for column in tables.grid(results, STUDIES["video_depth"]).columns)


def test_a_reduced_record_is_listed_and_set_against_nothing(html: str, root: Path) -> None:
    (laptop,) = (record for record in records.load_all(root) if record.name == "video_depth-laptop")
    assert runs.answers([laptop]) == []
    assert "video_depth-laptop" in html


def test_the_newest_record_of_a_system_is_shown(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "video_depth-paper", tmp_path / "records" / "video_depth-paper")
    newer = {"commit": {**records_fixture.COMMIT, "date": "2026-11-21T00:00:00+00:00"}}
    records_fixture.fabricate(tmp_path / "records", "a_study", "moving_mnist", **newer)
    assert {answer.recorded.record for answer in runs.answers(records.load_all(tmp_path / "records"))} == {
        "a_study-paper"
    }


def test_the_section_tells_what_made_each_run(html: str, recorded) -> None:
    text = re.sub(r"\s+", " ", Page(html).text)
    for record in recorded:
        assert record.name in text
        assert record.facts.commit.hash in text
    assert "A Processor 9000, 2 cores, 8 GB" in text
    assert "27 trained, 12 baselines" in text
    links = {a["href"] for tag, a in Page(html).tags if tag == "a" and not a["href"].startswith("#")}
    assert links == {f"records/{record.name}/" for record in recorded}


def test_links_of_a_page_with_records_lead_somewhere(html: str) -> None:
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for _, a in page.tags if a.get("href", "").startswith("#")} <= set(ids)


def test_a_key_that_looks_like_a_number_stays_text(root: Path) -> None:
    for cell in records.load(root / "video_depth-paper").results.cells:
        assert isinstance(cell.score["key"], str)


# --- what is damaged, and what git may do to a file ----------------------------------------------


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("scores.csv", "seq2seq", "seq3seq", r"scores\.csv: found sha256 \w+, expected \w+; `git checkout -- .*`"),
        ("record.json", '"seed', '"sed', r"record\.json: its content was edited"),
        ("record.json", "{", "<<<<<<< HEAD\n{", r"record\.json: expected JSON, found "),
    ],
)
def test_a_damaged_record_is_one_line(record: Path, name: str, old: str, new: str, told: str) -> None:
    path = record / name
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError, match=told) as caught:
        records.load(record)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"commit": {"hash": "abc"}}, r"record\.json: commit\.date: found nothing"),
        ({"seconds": 1.0}, r'record\.json: seconds: found "seconds"'),
        ({"models": {}}, r"record\.json: models: found nothing about "),
    ],
)
def test_a_record_with_other_keys_is_one_line(tmp_path: Path, change, told: str) -> None:
    folder = records_fixture.fabricate(tmp_path / "records", "video_depth", "moving_mnist", **change)
    with pytest.raises(UserError, match=told):
        records.load(folder)


def test_a_record_that_lacks_a_file_or_a_column_is_one_line(record: Path) -> None:
    (record / "horizon.csv").unlink()
    with pytest.raises(UserError, match=r"horizon\.csv: found sha256 no file, expected"):
        records.load(record)
    (record / "horizon.csv").write_text("dataset,model\n", encoding="utf-8")
    told = json.loads((record / "record.json").read_text(encoding="utf-8"))
    told["sha256"]["horizon.csv"] = records.artifacts.sha256_of(record / "horizon.csv")
    del told["seal"]
    (record / "record.json").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(
        UserError, match=r"horizon\.csv: column depth, .* is missing, found dataset, model; `git checkout"
    ):
        records.load(record)
    (record / "record.json").unlink()
    with pytest.raises(UserError, match=r"record\.json: no such file, so .* is not a record"):
        records.load(record)


def test_a_record_decides_claims_by_what_it_kept_of_them(finished: Grid, tmp_path: Path) -> None:
    """Each interval is that of the scores of every sequence; an altered file is refused, and none is fine."""
    folder = records_fixture.fabricate(tmp_path / "records", "video_depth", "moving_mnist", scale="laptop")
    kept = records.load(folder)
    rising = kept.measured[kept.measured["kind"] == "step"].set_index("metric")
    assert (rising.loc["mse_pix01", ["count", "a"]]).tolist() == [9, "seq2seq_convlstm depth-3 mse"]
    assert rising["low"].lt(rising["estimate"]).all()
    assert rising["high"].gt(rising["estimate"]).all()
    one = next(claim for claim in load_claims() if claim.id == "C9")
    told = judge(one, Held(kept.results, kept.name, kept.measured))
    assert {outcome.word for outcome in told.outcomes} <= {"as claimed", "the other way", "no difference"}
    facts = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    del facts["sha256"]["claims.csv"], facts["seal"]
    (folder / "record.json").write_text(json.dumps(facts), encoding="utf-8")
    assert records.load(folder).measured.empty
    own = recording.record(finished, STUDY)
    (own / "claims.csv").write_text("altered\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"claims\.csv: found sha256 "):
        records.load(own)


def test_other_line_ends_are_the_same_record(record: Path, monkeypatch: pytest.MonkeyPatch, study: Path) -> None:
    """To the reader and to the report's key; other content is another key."""
    shutil.copytree(record, RECORDS / record.name)
    before = Grid(reading.load()).report_key
    for name in RECORD_FILES:
        path = RECORDS / record.name / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert records.load(RECORDS / record.name).results.scores.equals(records.load(record).results.scores)
    assert Grid(reading.load()).report_key == before
    (RECORDS / record.name).rename(RECORDS / "another-paper")
    assert Grid(reading.load()).report_key != before
    shutil.rmtree(RECORDS)
    assert Grid(reading.load()).report_key != before


def test_dvc_sees_a_new_record_as_snakemake_does() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert str(RECORDS) in stages["report"]["deps"]
    assert (ROOT / RECORDS / "README.md").is_file()  # a dependency that is not there is an error


# --- docs/results.md ------------------------------------------------------------------------------


def test_the_results_page_is_what_the_command_writes() -> None:
    made = results_page.page(records.load_all(ROOT / RECORDS))
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == made, "run `framecast results`"


def test_links_of_the_results_page_lead_somewhere(root: Path, recorded) -> None:
    links = set(re.findall(r"\]\(([^)]+)\)", results_page.page(recorded)))
    assert {f"../reports/records/{record.name}" for record in recorded} <= links
    for link in links - {f"../reports/records/{record.name}" for record in recorded}:
        assert (ROOT / "docs" / link).exists(), link


def test_the_results_page_tells_the_numbers_of_the_records(recorded, root: Path) -> None:
    page = results_page.page(recorded)
    rows = [[cell.strip() for cell in line.strip("|\n ").split(" | ")] for line in page.splitlines() if line[:1] == "|"]
    assert {len(row) for row in rows} == {2, 4, 5, 8}
    scores = pd.read_csv(root / "video_depth-paper" / "scores.csv")
    scores = scores[(scores["metric"] == "mse_pix01") & (scores["depth"] == 2)]["value"]
    assert ["seq2seq_convlstm depth-2 mse", f"{scores.mean():.5f} ± {scores.std():.5f}"] in rows
    answered = next(row for row in rows if row[1] == "moving_mnist" and "depth-2" in row[2])
    assert answered[4:6] == ["2.876", f"{100 * scores.mean():.3f} ± {100 * scores.std():.3f}"]
    tables = [table for source in published.load_all() for table in source.tables if table.status == "measured"]
    assert f"12 of {sum(len(table.values) for table in tables)} published values have a recorded number." in page


def test_the_page_of_no_record_says_so() -> None:
    assert results_page.NOTHING in results_page.page(())
