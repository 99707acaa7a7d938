"""What the report concludes from teacher-forced scores, and what it refuses to conclude."""

import dataclasses
import json

import numpy as np
import pytest

from framecast.figures.shared import choice, components, leak
from framecast.report import components as impact
from framecast.report import leak as told
from framecast.report import numbers
from framecast.results import System, records
from framecast.results.records import Facts, Record
from tests import records_fixture, results_fixture
from tests.conftest import ROOT
from tests.results_fixture import NEXT

TEACHER = "teacher-forced"
LEAKY, TWIN = (System(f"next_frame_{name}", "hybrid_code_seeded", 3) for name in ("leaky", "as_coded"))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return results_fixture.fabricate(tmp_path_factory.mktemp("results"), datasets=(NEXT, "moving_mnist"))


def sentences(results) -> str:
    part = told.part(results, NEXT)
    return " ".join(
        piece if isinstance(piece, str) else piece.text for sentence in part.sentences for piece in sentence
    )


def one_seed(results):
    cells = tuple(cell for cell in results.cells if cell.seed in (1, None))
    return dataclasses.replace(
        results, cells=cells, scores=results.scores[results.scores["seed"].isin([1]).fillna(True)]
    )


def test_the_primary_mode_is_what_a_score_without_a_mode_means(results):
    assert results.modes(NEXT) == ("free-running", TEACHER)
    assert results.lengths(NEXT) == (10, 10)
    assert results.lengths(NEXT, TEACHER) == (1, 19)
    assert results.spread(NEXT, TWIN, "psnr_frame") == results.spread(NEXT, TWIN, "psnr_frame", "free-running")
    assert results.spread(NEXT, TWIN, "psnr_frame") != results.spread(NEXT, TWIN, "psnr_frame", TEACHER)
    assert len(results.curve(NEXT, TWIN, "psnr_frame", TEACHER)) == 19


def test_a_window_of_steps_is_their_mean_within_each_seed(results):
    steps = results.scored(NEXT, TWIN)[1].steps.loc[TEACHER, "psnr_frame"]
    assert results.by_seed(NEXT, TWIN, "psnr_frame", TEACHER, [2, 3])[2] == pytest.approx((steps[2] + steps[3]) / 2)
    whole = results.window(NEXT, TWIN, "psnr_frame", TEACHER)
    assert whole.mean == pytest.approx(results.spread(NEXT, TWIN, "psnr_frame", TEACHER).mean)
    assert results.window(NEXT, TWIN, "no_such_metric", TEACHER) is None


def test_the_spans_are_those_that_tell_leaky_from_honest(results):
    spans = leak.spans(results, NEXT)
    assert [span.title for span in spans] == [
        "outputs 0..18",
        "outputs 0..17",
        "output 18 alone",
        "outputs 9..18",
        "10→10",
    ]
    assert [span.is_open for span in spans] == [True, True, False, True, False]
    assert spans[3].steps == tuple(range(10, 20))
    assert told.part(results, "moving_mnist") is None


def test_the_twin_differs_in_one_argument_and_nothing_else(results):
    assert leak.twin(results, NEXT, LEAKY) == (TWIN, "head")
    assert leak.twin(results, NEXT, System("next_frame_keras", "bce", 3)) is None


def test_the_fall_is_taken_from_the_cells_own_scores(results):
    finding = leak.findings(results, NEXT, "psnr_frame")[0]
    falls = []
    for cell in results.scored(NEXT, LEAKY):
        steps = cell.steps.loc[TEACHER, "psnr_frame"]
        falls.append(steps[range(1, 19)].mean() - steps[19])
    assert finding.leaky.system == LEAKY
    assert finding.leaky.fall.mean == pytest.approx(np.mean(falls))
    assert finding.leaky.fall.sd == pytest.approx(np.std(falls, ddof=1))
    assert finding.is_clear


def test_an_error_falls_when_it_grows(results):
    """Worse is worse, whichever way a metric improves."""
    for metric in ("mse_pix01", "psnr_frame", "ssim_gauss"):
        assert leak.findings(results, NEXT, metric)[0].leaky.fall.mean > 0


def test_what_was_measured_is_said_to_be_leakage(results):
    text = sentences(results)
    assert "a fall of" in text
    assert "the published 46.22 dB (psnr_frame) and 0.99 (ssim_gauss) of S. Kartal" in text
    assert "target leakage" in text
    assert "do not show" not in text


def test_what_was_not_measured_is_not_said(tmp_path):
    """Systems that the probe calls leaky, and whose scores say nothing of the kind."""
    text = sentences(results_fixture.fabricate(tmp_path, datasets=(NEXT,), leak=1.0))
    assert "do not show the leak in the scores, and by themselves do not explain the published 46.22 dB" in text
    assert "target leakage" not in text


def test_one_seed_concludes_nothing(results):
    text = sentences(one_seed(results))
    assert "With one seed" in text
    assert "target leakage" not in text


def test_without_a_leaky_system_all_is_honest(results):
    honest = tuple(cell for cell in results.cells if not results_fixture.is_leaky(cell.model))
    part = told.part(dataclasses.replace(results, cells=honest), NEXT)
    assert "caught no system" in part.sentences[0][0]
    assert not part.mechanism
    assert not any(open_ for table in part.tables for row in table.rows for open_ in row.is_open)


def test_every_number_of_the_table_is_the_mean_over_its_steps(results):
    part = told.part(results, NEXT)
    assert [table.metric.id for table in part.tables] == list(leak.METRICS)
    for table in part.tables:
        for row in table.rows:
            for span, score in zip(part.spans, row.scores, strict=True):
                data = score.mean.data
                system = System(data["model"], data["loss"] or None, int(data["depth"]) if data["depth"] else None)
                truth = results.window(NEXT, system, table.metric.id, span.mode, span.steps)
                assert float(data["value"]) == pytest.approx(truth.mean, rel=1e-9)


def test_a_leaky_row_is_badged_and_only_its_seen_spans_are_shaded(results):
    rows = {row.label: row for row in told.part(results, NEXT).tables[0].rows}
    assert next(iter(rows)) == "next_frame_leaky hybrid_code_seeded"
    for label, row in rows.items():
        leaky = "leaky" in label or "keras" in label
        assert row.marks == (("leaky", "replication") if leaky else ())
        assert row.is_open == ((True, True, False, True, False) if leaky else (False,) * 5)


def test_published_scores_of_another_mode_stand_beside_ours(results):
    beside = told.beside(results, NEXT)
    rows = {(row.table.number, row.table.metric, row.label): row for row in beside}
    ours = rows["final slides, slide 11", "psnr_frame", "next_frame_leaky hybrid_code_seeded"]
    assert ours.value.text == "46.22"
    assert "leaky" not in ours.verdict.reasons  # both are
    assert "reduced scale" in ours.verdict.reasons
    twin = rows["final slides, slide 11", "psnr_frame", "next_frame_as_coded hybrid_code_seeded"]
    assert "the published system is leaky" in twin.verdict.reasons
    sample = next(row for row in beside if row.table.status != "measured")
    assert sample.verdict.reasons[0] == "not a measurement"
    assert told.beside(results, "moving_mnist") == []


# --- components -----------------------------------------------------------------------------------


def named(results) -> dict[tuple[str, str], components.Change]:
    return {(change.group, change.name): change for change in components.changes(results, NEXT)}


def test_changes_are_found_in_what_was_trained(results):
    changes = named(results)
    by_group = {group: [name for where, name in changes if where == group] for group in components.GROUPS}
    assert len(by_group[components.ONE_TERM]) == 9  # a term more, each way through three terms
    assert set(by_group[components.ONE_ARGUMENT]) == {
        "spatial_attention: last → none",
        "peephole: per_channel → none",
        "head: causal → leaky",
    }
    assert "next_frame → next_frame_keras" in by_group[components.WHOLE_MODEL]
    against = {"bce", "hybrid_code_seeded"}
    for change in changes.values():
        if change.group == components.WHOLE_LOSS:
            assert {change.before.loss, change.after.loss} & against


def test_an_effect_is_after_minus_before_whichever_way_the_table_has_it(results):
    means = {system: results.spread(NEXT, system, "mse_pix01").mean for system in results.systems(NEXT)}
    for change in components.changes(results, NEXT):
        effect = components.effect(results, NEXT, change, "mse_pix01", "free-running")
        assert effect.difference == pytest.approx(means[change.after] - means[change.before])
        assert effect.low <= effect.difference <= effect.high
        expected = "worse" if effect.difference > 0 else "better"
        assert effect.verdict == ("no difference" if effect.low <= 0 <= effect.high else expected)


def test_by_a_metric_that_is_not_defined_nobody_is_better(results):
    """The table of comparisons names a winner for it all the same; its tables say that there is no number."""
    its = (results.scores["model"] == LEAKY.model) & (results.scores["metric"] == "ssim_gauss")
    pairs = (results.comparisons["metric"] == "ssim_gauss") & results.comparisons[["a", "b"]].eq(str(LEAKY)).any(axis=1)
    comparisons = results.comparisons.assign(verdict=results.comparisons["verdict"].mask(pairs, "b better"))
    for name in ("difference", "low", "high"):
        comparisons[name] = comparisons[name].mask(pairs)
    scores = results.scores.assign(value=results.scores["value"].mask(its))
    made = dataclasses.replace(results, scores=scores, comparisons=comparisons)
    for table in impact.impact(made, NEXT):
        place = [column.metric.id for column in table.columns].index("ssim_gauss")
        for row in (row for _, rows in table.groups for row in rows):
            assert (row.impacts[place] is None) == (str(LEAKY) in row.systems)
            assert row.impacts[0] is not None
    for power in (0, None):
        score = numbers.score(made, NEXT, LEAKY, "ssim_gauss", power, TEACHER)
        assert (score.mean.text, score.sd) == ("n/a", None)


def test_the_table_of_impact_has_both_modes_and_marks_the_leaky_head(results):
    found = impact.impact(results, NEXT)
    assert [table.mode for table in found] == ["free-running", TEACHER]
    rows = [row for _, group in found[0].groups for row in group]
    assert {row.marks for row in rows if "head" in row.what} == {("leaky", "replication")}
    assert impact.impact(results, "moving_mnist") == []


def test_another_system_is_no_component():
    """SimVP beside a Seq2Seq ConvLSTM; the ablations of SRVP are of one kind."""
    recorded = ROOT / "reports" / "records"
    assert impact.impact(records.load(recorded / "video_depth-laptop").results, "bair") == []
    (table,) = impact.impact(records.load(recorded / "systems_moving_mnist-laptop").results, "moving_mnist_srivastava")
    told = str([row for _, rows in table.groups for row in rows])
    assert "srvp_without_rfa" in told
    assert "convgru" not in told


# --- which systems are shown ----------------------------------------------------------------------


def test_few_systems_are_all_shown_and_of_many_one_of_each_model(results):
    assert choice.featured(results, "moving_mnist") == results.systems("moving_mnist")
    few = choice.featured(results, NEXT)
    assert [system.model for system in few] == ["next_frame", *sorted({s.model for s in few} - {"next_frame"})]
    assert len({system.model for system in few}) == len(few) == len(results_fixture.DESIGNS)
    assert few[0].loss == "hybrid_code_seeded"


def test_of_too_many_models_the_best_are_shown_beside_the_reference(results):
    best = "next_frame_no_peephole"
    rows = (results.scores["model"] == best) & (results.scores["metric"] == "mse_pix01")
    made = dataclasses.replace(results, scores=results.scores.assign(value=results.scores["value"].mask(rows, 1e-9)))
    assert [system.model for system in choice.featured(made, NEXT, 2)] == ["next_frame", best]
    undefined = results.scores.assign(value=results.scores["value"].mask(rows, np.nan))
    made = dataclasses.replace(results, scores=undefined)
    models = [system.model for system in choice.featured(made, NEXT, len(results_fixture.DESIGNS) - 1)]
    assert best not in models
    assert models == sorted(models)


def test_panels_hold_every_system_and_never_more_than_there_are_colours(results):
    panels = choice.panels(results, NEXT)
    assert {system for panel in panels for system in panel.systems} == set(results.systems(NEXT))
    assert [panel.title for panel in choice.panels(results, "moving_mnist")] == [""]


def test_scores_of_a_mode_that_nobody_scored_are_a_hole(results):
    assert numbers.score(results, "moving_mnist", System("zeros"), "mse_pix01", mode=TEACHER) is None


def test_a_manifest_without_a_leak_says_nothing_of_one(results):
    score = json.loads((results.scored(NEXT, TWIN)[0].score_folder / "score.json").read_text())
    assert score["first_leak"] is None
    assert not results.is_leaky(NEXT, TWIN)
    assert results.is_leaky(NEXT, LEAKY)
    assert results.is_replication(NEXT, LEAKY)


def test_a_recorded_number_stands_once_beside_the_published_one(results, tmp_path):
    """That of the very system: its leak and its twin's are ours, at the scale of the page."""
    renamed = results.scores["loss"].where(results.scores["model"] != "next_frame_leaky", "hybrid_slides")
    cells = tuple(
        dataclasses.replace(cell, loss="hybrid_slides") if cell.model == "next_frame_leaky" else cell
        for cell in results.cells
    )
    made = dataclasses.replace(results, cells=cells, scores=results.scores.assign(loss=renamed, scale="paper"))
    facts = Facts.model_validate_json(json.dumps(records_fixture.facts(results, "study", "paper") | {"sha256": {}}))
    record = Record(tmp_path / "study-paper", facts, made)
    rows = [row for row in told.beside(results, NEXT, [record]) if row.source.id == "kartal"]
    shown = {(row.table.metric, row.label): row.recorded for row in rows if row.recorded}
    assert {metric for metric, _ in shown} == {"psnr_frame", "ssim_gauss"}
    assert all("leaky" in label for _, label in shown)
    ours = results.values(NEXT, System("next_frame_leaky", "hybrid_code_seeded", 3), "psnr_frame", TEACHER).mean()
    psnr = next(found for (metric, _), found in shown.items() if metric == "psnr_frame")
    assert float(psnr.score.mean.data["value"]) == ours
    assert "another network" in psnr.verdict.reasons
    assert not any(row.recorded for row in told.beside(results, NEXT))
