"""The report tells what the tables say, to the last digit, and needs nothing but itself."""

import dataclasses
import json
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from jinja2 import DictLoader

from framecast import published
from framecast.figures import base
from framecast.report import leak, literature, numbers, tables
from framecast.report.render import render
from framecast.study import catalogue
from framecast.study.params import Addition, Study
from tests import results_fixture

STUDIES = {
    "sequence_depth": Study(
        title="Does depth help on series?",
        datasets=("generated_noise", "generated_sins", "stocks_by_ticker"),
        models=("seq2seq_lstm_as_coded",),
        depths=(1, 2, 3),
        losses=("mse",),
    ),
    "video_depth": Study(datasets=("moving_mnist",), models=("seq2seq_convlstm",), depths=(1, 2, 3), losses=("mse",)),
    "three_teachers": Study(
        datasets=(results_fixture.NEXT,),
        models=("next_frame",),
        depths=(3,),
        losses=tuple(loss for loss in results_fixture.LOSSES if loss != "mse"),
        also=(
            Addition(
                models=("next_frame_no_attention", "next_frame_no_peephole", "next_frame_as_coded", "next_frame_leaky"),
                losses=("hybrid_code_seeded",),
            ),
            Addition(models=("next_frame_keras",), losses=("bce",)),
        ),
    ),
}


class Unchecked(Study):
    """A study whose names nobody has looked at."""

    @property
    def products(self):
        return (self,)


class Page(HTMLParser):
    """Every tag with its attributes, and the text outside style and script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"style", "script"} & set(self._open):
            self.text += data

    def numbers(self, statistic: str) -> list[dict[str, str]]:
        return [attributes for _, attributes in self.tags if attributes.get("data-statistic") == statistic]


def drawn(results: base.Results, folder: Path) -> dict[tuple[str, str], Path]:
    """Two figures are enough to see that figures arrive."""
    files = {}
    for about in [("error_vs_horizon", "stocks_by_ticker"), ("filmstrip", "moving_mnist")]:
        files[about] = folder / f"{'-'.join(about)}.svg"
        files[about].write_bytes(base.svg(*about[:1], results, about[1]))
    return files


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def results(folder):
    return results_fixture.fabricate(folder)


@pytest.fixture(scope="module")
def html(results, folder):
    return render(results, drawn(results, folder), STUDIES, "laptop")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def expected(scores: pd.DataFrame, statistic: str) -> dict[tuple[str, ...], float]:
    keys = ["dataset", "model", "depth", "loss", "mode", "metric"]
    values = scores.astype({"depth": "Int64"}).groupby(keys, dropna=False)["value"].agg(statistic).dropna()
    return {tuple("" if pd.isna(part) else str(part) for part in key): value for key, value in values.items()}


@pytest.mark.parametrize(("statistic", "aggregate"), [("mean", "mean"), ("sd", "std")])
def test_every_number_is_the_one_in_the_score_table(page, folder, statistic, aggregate):
    truth = expected(pd.read_csv(folder / "scores.csv", dtype={"key": str}), aggregate)
    told = [number for number in page.numbers(statistic) if number["data-steps"] == "all"]
    seen = set()
    for number in told:
        key = tuple(number[f"data-{name}"] for name in ("dataset", "model", "depth", "loss", "mode", "metric"))
        assert float(number["data-value"]) == pytest.approx(truth[key], rel=1e-12)
        seen.add(key)
    assert seen == set(truth)


def test_what_is_read_is_the_number_rounded():
    assert numbers.significant(0.0621349, power=-2) == "6.213"
    assert numbers.significant(-0.00079774, power=-3) == "−0.7977"
    assert numbers.scientific(5.7e-7) == "5.700 × 10⁻⁷"


def test_comparisons_are_the_ones_in_the_table(page, folder):
    """Each number has its row; where depth alone is asked for, each row of the leading metric has its number."""
    keys = ["dataset", "mode", "metric", "a", "b"]
    truth = pd.read_csv(folder / "comparisons.csv").set_index(keys)
    for statistic in ("difference", "low", "high"):
        rows = truth[statistic].to_dict()
        told = {tuple(n[f"data-{key}"] for key in keys): float(n["data-value"]) for n in page.numbers(statistic)}
        assert all(value == rows[key] for key, value in told.items())
        wanted = {key for key in rows if key[0] != results_fixture.NEXT and key[2] == "mse_pix01"}
        assert {key for key in told if key[0] != results_fixture.NEXT} == wanted


def test_both_readings_of_a_published_value_stand_beside_ours(page):
    told = {
        (n["data-dataset"], n["data-depth"], n["data-statistic"]): float(n["data-value"])
        for n in page.numbers("printed") + page.numbers("corrected")
    }
    for table in published.load_all()[0].tables:
        for value in table.values:  # whether we have run it or not
            assert told[value.dataset, str(value.depth), "printed"] == value.printed
            assert told[value.dataset, str(value.depth), "corrected"] == value.corrected
    of_table_2 = [n for n in page.numbers("corrected") if n["data-model"] == "seq2seq_convlstm"]
    assert len(of_table_2) == 9 + 3  # in full, and moving_mnist in the table of its study


def test_each_published_figure_leads_to_ours_where_it_is_drawn(page, results):
    """Figures 4 to 16 and the appendices, each once; only two of ours are drawn in this page."""
    rows = literature.answered(results, {("filmstrip", "moving_mnist"), ("error_vs_horizon", "bair")})
    thesis = {row.entry.number: row for row in rows if row.source.id == "coleman"}
    assert {f"Figure {number}" for number in range(4, 17)} < set(thesis)
    assert {number for number in thesis if number.startswith("appendix")} == {
        f"appendix 9.{part} (Figures {first}–{first + 2})"
        for part, first in zip(("1.1", "1.2", "1.3", "2.1", "2.2", "2.3"), range(19, 35, 3), strict=True)
    }
    assert thesis["Figure 10"].places == {"moving_mnist": "", "kth_coleman": "", "bair": "error_vs_horizon-bair"}
    assert thesis["Figure 13"].entry.figure == "forecasts_while_training"
    links = Counter(a["href"] for tag, a in page.tags if tag == "a" and "-" in a.get("href", ""))
    assert links["#filmstrip-moving_mnist"] == 3  # Figures 11 and 12, appendix 9.2.1
    assert links["#error_vs_horizon-stocks_by_ticker"] == 1
    assert {row.entry.figure for row in rows} <= set(catalogue.names("figures"))


def test_at_reduced_scale_nothing_is_compared(page, results):
    assert "reduced scale" in page.text
    verdicts = Counter(attributes.get("class", "") for _, attributes in page.tags)
    explained = 1
    beside, in_full = len(leak.beside(results, results_fixture.NEXT)), 12
    assert verdicts["verdict verdict-not-comparable"] == 12 + beside + in_full + explained
    assert verdicts["verdict verdict-reproduced"] == verdicts["verdict verdict-worse"] == explained


def test_at_published_scale_generated_data_is_compared_and_bundled_is_not(tmp_path):
    grid = tables.grid(results_fixture.fabricate(tmp_path, scale="paper"), STUDIES["sequence_depth"])
    verdicts = {
        column.dataset: {row.entries[index].verdict.word for row in grid.rows if row.kind == "trained"}
        for index, column in enumerate(grid.columns)
    }
    assert verdicts["generated_sins"] == {"worse"}  # of three depths, for which the source trained one network
    assert verdicts["stocks_by_ticker"] == {"not comparable"}


def test_the_best_reachable_score_is_zero_on_sines_and_least_squares_on_noise(results):
    grid = tables.grid(results, STUDIES["sequence_depth"])
    floor = dict(zip([column.dataset for column in grid.columns], grid.rows[-1].entries, strict=True))
    assert floor["generated_sins"].score.mean.text == "0"
    assert floor["generated_noise"].score.mean.data["model"] == "least_squares"
    assert floor["stocks_by_ticker"].score is None


def test_the_page_opens_offline(html, page):
    """Nothing is fetched: sources are data, links stay in the page, and the policy forbids the rest."""
    for tag, attributes in page.tags:
        for name in ("src", "href", "poster", "srcset", "action", "data"):
            if name in attributes:
                assert attributes[name].startswith(("data:", "#")), (tag, name, attributes[name][:80])
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_links_lead_somewhere(page):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for _, a in page.tags if a.get("href", "").startswith("#")} <= set(ids)


def test_images_have_a_text_and_controls_a_name(page):
    assert all(len(attributes["alt"]) > 20 for tag, attributes in page.tags if tag == "img")
    assert all(attributes["aria-label"] for tag, attributes in page.tags if tag == "input")
    headings = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert headings[0] == 1
    assert all(below - above <= 1 for above, below in pairwise(headings))


def test_same_results_same_bytes(results, folder, html):
    assert render(results, drawn(results, folder), STUDIES, "laptop") == html


def test_line_ends_of_the_templates_change_no_byte(results, folder, html, monkeypatch):
    """The page lets its script run by a hash of it, of which a browser takes carriage returns away before it looks."""
    texts = {
        path.name: path.read_text(encoding="utf-8") for path in (catalogue.PACKAGE / "report" / "templates").iterdir()
    }
    loader = DictLoader({name: text.replace("\n", "\r\n") for name, text in texts.items()})
    monkeypatch.setattr("framecast.report.render.PackageLoader", lambda _: loader)
    assert render(results, drawn(results, folder), STUDIES, "laptop") == html


def test_a_hostile_name_is_text(tmp_path):
    """Names come from params.yaml: whatever they hold, they run nothing and break nothing."""
    results = results_fixture.fabricate(tmp_path, datasets=("stocks_by_ticker",))
    name = "<script>alert(1)</script>\"'--"
    cells = tuple(dataclasses.replace(cell, model=name) if cell.loss else cell for cell in results.cells)
    scores = results.scores.assign(model=results.scores["model"].replace("seq2seq_lstm_as_coded", name))
    lists = {"datasets": ("stocks_by_ticker",), "models": (name,), "depths": (1, 2, 3), "losses": ("mse",)}
    study = Unchecked.model_construct(title=name, **lists)
    hostile = dataclasses.replace(results, cells=cells, scores=scores)
    page = Page(render(hostile, {}, {"<b>study": study}, "laptop"))
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not any(tag == "b" and "study" in attributes for tag, attributes in page.tags)
    assert name in page.text


def test_a_grid_that_is_half_done_shows_holes(folder, results):
    cells = [
        cell for cell in results.cells if cell.dataset != "generated_sins" and (cell.loss is None or cell.depth == 2)
    ]
    partial = results_fixture.load(folder, [dataclasses.replace(cell) for cell in cells])
    rows = partial.scores["depth"].isna() | (partial.scores["depth"] == 2)
    page = Page(render(dataclasses.replace(partial, scores=partial.scores[rows]), {}, STUDIES, "laptop"))
    assert page.text.count("not run") == 2 * 3 + 12 + 1  # two depths of three datasets; a study; a dataset


def test_nothing_run_at_all_is_still_a_page(folder):
    page = Page(render(results_fixture.load(folder, []), {}, STUDIES, "laptop"))
    assert page.text.count("not run") == 5 + 1


def test_provenance_names_every_cell_and_key(results, page):
    for cell in results.cells:
        score = json.loads((cell.score_folder / "score.json").read_text())
        assert cell.name in page.text
        assert score["key"] in page.text


def test_each_film_carries_its_own_frames(results, page):
    """Once each, with a row for the truth and one for every system that has kept the sequence."""
    films = [a for _, a in page.tags if "film" in a.get("class", "").split() and "next" not in a["aria-label"]]
    kept = Counter(
        sequence for cell in results.scored("moving_mnist") if cell.loss and cell.seed == 1 for sequence in cell.kept
    )
    assert {int(film["data-scene"]): int(film["style"].split("--rows: ")[1].split(";")[0]) for film in films} == {
        sequence: 1 + count for sequence, count in kept.items()
    }
    assert len({film["style"] for film in films}) == len(films) == len(kept)
    assert all("--columns: 20;" in film["style"] for film in films)


def test_a_demo_says_in_its_first_lines_that_it_is_not_to_be_cited(results):
    head = Page(render(results, {}, {}, "demo")).text.split("Does it forecast, and does it matter how?")[-2]
    assert "A demo, not a result:" in head
    assert "Do not cite it." in head
    assert "Do not cite it." not in Page(render(results, {}, {}, "laptop")).text


def test_units_and_directions_come_from_the_metrics_themselves():
    assert catalogue.metric_fact("mse_pix01", "better") == "lower"
    assert catalogue.metric_fact("psnr_frame", "better") == "higher"
    assert all(catalogue.metric_fact(metric, "unit") for metric in catalogue.metrics())


def test_the_leak_is_told_in_one_table_with_badges(page, results):
    assert "What is leaky, what is honest, and by how much" in page.text
    assert "target leakage" in page.text
    shaded = [attributes for tag, attributes in page.tags if tag == "td" and attributes.get("class") == "seen"]
    assert len(shaded) == 2 * 3 * len(leak.part(results, results_fixture.NEXT).tables)
    assert page.text.count("What is leaky") == 1  # a dataset without a teacher has no such table


def test_effects_are_the_comparisons_of_the_table(page, folder):
    """After minus before, whichever way round the table has the pair."""
    truth = pd.read_csv(folder / "comparisons.csv").set_index(["dataset", "mode", "metric", "a", "b"])["difference"]
    told = page.numbers("effect-difference")
    assert told
    for number in told:
        about = tuple(number[f"data-{key}"] for key in ("dataset", "mode", "metric"))
        pair = number["data-before"], number["data-after"]
        sign, key = (-1, (*about, *pair)) if (*about, *pair) in truth.index else (1, (*about, *pair[::-1]))
        assert float(number["data-value"]) == sign * truth[key]
