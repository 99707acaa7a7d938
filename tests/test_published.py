"""What we quote, and what we let ourselves say about it."""

import dataclasses
import math

import pytest

from framecast import plain_yaml, published
from framecast.errors import UserError
from framecast.study import catalogue
from framecast.study.mistakes import as_tree
from framecast.study.reading import resolve
from tests.conftest import ROOT


def value(table: str, dataset: str, depth: int) -> published.Value:
    tables = {entry.number: entry for source in published.load_all() for entry in source.tables}
    found = tables[table].value(dataset, depth)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("table", "dataset", "depth", "printed", "corrected"),
    [
        ("Table 1", "generated_noise", 1, 5.964e-2, 6.264e-2),
        ("Table 1", "generated_sins", 3, 4.804e-4, 4.551e-4),
        ("Table 1", "stocks_by_ticker", 2, 5.431e-2, 5.431e-2),
        ("Table 2", "moving_mnist", 3, 1.275e-2, 3.020e-2),
        ("Table 2", "kth_coleman", 3, 1.163e-3, 1.163e-3),
    ],
)
def test_values_of_the_thesis(table, dataset, depth, printed, corrected):
    assert (value(table, dataset, depth).printed, value(table, dataset, depth).corrected) == (printed, corrected)


def test_printed_columns_of_table_2_are_the_corrected_ones_swapped():
    for depth in (1, 2, 3):
        moving_mnist, bair = value("Table 2", "moving_mnist", depth), value("Table 2", "bair", depth)
        assert (moving_mnist.printed, bair.printed) == (bair.corrected, moving_mnist.corrected)


@pytest.mark.parametrize("dataset", ["moving_mnist", "kth_coleman", "bair"])
def test_published_curves_average_to_the_corrected_value(dataset):
    """The mean over the horizon is the table's number, which is what identifies the swapped columns."""
    entry = value("Table 2", dataset, 1)
    assert list(entry.curve) == list(range(1, 11))
    assert sum(entry.curve.values()) / 10 == pytest.approx(entry.corrected, rel=1e-3)


@pytest.mark.parametrize(
    ("mean", "sd", "word"),
    [
        (1.00e-2, None, "reproduced"),
        (1.04e-2, None, "reproduced"),  # within 5 %
        (1.06e-2, None, "worse"),
        (0.90e-2, None, "better"),
        (1.06e-2, 0.04e-2, "reproduced"),  # within 2 sd
        (0.90e-2, 0.04e-2, "better"),
    ],
)
def test_verdict_on_published_data_and_scale(mean, sd, word):
    found = published.verdict(mean, sd, 1e-2)
    assert found == published.Verdict(word)


def test_verdict_knows_which_way_is_better():
    assert published.verdict(30.0, 0.1, 20.0, better="higher").word == "better"


def test_what_is_not_defined_is_neither_better_nor_worse():
    for better in ("lower", "higher"):
        found = published.verdict(math.nan, None, 20.0, better=better)
        assert found == published.Verdict("not comparable", ("not defined",))


@pytest.mark.parametrize(
    ("facts", "reasons"),
    [
        ({}, ()),
        ({"scale": "laptop"}, ("reduced scale",)),
        ({"scale": "laptop", "source": "bundled"}, ("reduced scale", "bundled data")),
        ({"source": "stand-in"}, ("stand-in data",)),
        ({"modes": {"free-running": {"context": 10, "horizon": 20}}}, ("10→10 steps published",)),
        ({"modes": {"teacher-forced": {"context": 10, "horizon": 10}}}, ("free-running published",)),
        ({"causal": "leaky"}, ("leaky",)),
        ({"loss": "bce"}, ("another loss",)),
        ({"model": {"handover": "as_described"}}, ("another network",)),
        ({"data": {"variant": "srivastava"}}, ("another protocol",)),
        ({"training": {"epochs": 11}}, ("another recipe",)),
    ],
)
def test_a_number_made_otherwise_is_not_compared_even_when_equal(facts, reasons):
    table = dataclasses.replace(published.load_all()[0].tables[1], recipe={"epochs": 10})
    lengths = {"free-running": {"context": 10, "horizon": 10}}
    made = {"scale": "paper", "source": "official", "modes": lengths, "causal": "causal", "loss": "mse"}
    score = {**made, **facts}
    model = {"layer_semantics": "as_coded", "handover": "as_coded", "head_kernel": "1x3x3", **facts.get("model", {})}
    score["dataset"] = "moving_mnist"
    score["parameters"] = {"model": model, "dataset": {"arguments": {"variant": "svg", **facts.get("data", {})}}}
    score["parameters"]["training"] = {"epochs": 10, "batch_size": 4, **facts.get("training", {})}
    assert published.obstacles(table, score) == reasons
    found = published.verdict(1e-2, 0.0, 1e-2, reasons=reasons)
    assert found == published.Verdict("not comparable" if reasons else "reproduced", reasons)


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("printed: 5.964e-2", "printed: none", "tables.0.values.0.printed"),
        ("printed: 5.964e-2", "printd: 5.964e-2", "tables.0.values.0.printed"),
        ("better: lower", "better: smaller", "tables.0.better"),
    ],
)
def test_a_slip_in_the_file_is_named(tmp_path, old, new, names):
    path = tmp_path / "coleman.yaml"
    path.write_text(published.files()[0].read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError, match=rf"coleman\.yaml: {names}") as caught:
        published.load(path)
    assert "\n" not in str(caught.value)


def test_a_leaky_score_is_set_against_a_replication_with_the_same_flaw_and_nothing_else():
    kartal = next(source for source in published.load_all() if source.id == "kartal")
    table = next(table for table in kartal.tables if table.leaky)
    model = dict(table.network)
    score = {
        "scale": "paper",
        "source": "official",
        "causal": "leaky",
        "loss": table.loss,
        "dataset": "moving_mnist_next",
    }
    score["modes"] = {"free-running": {"context": 10, "horizon": 10}, "teacher-forced": {"context": 1, "horizon": 19}}
    arguments = dict(table.data["moving_mnist_next"])
    score["parameters"] = {"model": model, "dataset": {"arguments": arguments}}
    assert published.obstacles(table, score) == ()
    assert published.obstacles(table, {**score, "causal": "causal"}) == ("the published system is leaky",)


def test_a_sample_value_is_quoted_and_never_compared():
    samples = [t for source in published.load_all() for t in source.tables if t.status == "not a measurement"]
    assert {table.values[0].printed for table in samples} == {25.0, 0.85}


def test_the_published_scores_of_the_next_frame_system():
    values = {
        (source.id, table.metric, table.status): (table.mode, table.leaky, table.values[0].printed)
        for source in published.load_all()
        if source.id != "coleman"
        for table in source.tables
    }
    assert values["kartal", "psnr_frame", "measured"] == ("teacher-forced", True, 46.22)
    assert values["kartal", "ssim_gauss", "measured"] == ("teacher-forced", True, 0.990)
    assert values["reshalfahsi", "psnr_frame", "measured"] == ("teacher-forced", False, 22.12)
    assert values["reshalfahsi", "ssim_gauss", "measured"] == ("teacher-forced", False, 0.881)
    assert values["reshalfahsi", "mae_pix01", "measured"] == ("teacher-forced", False, 0.021)


def test_a_number_that_was_selected_on_the_test_set_or_trained_anew_says_so():
    rows = {
        (table.number, table.model, table.metric): table
        for source in published.load_all()
        if source.id == "openstl"
        for table in source.tables
    }
    long, short = (rows[f"Moving MNIST, {epochs} epochs", "simvp", "mse_sum01_raw"] for epochs in (2000, 200))
    assert (short.values[0].printed, long.values[0].printed) == (26.69, 15.05)
    selected = "Its weights were selected on the test set, ours on a validation set."
    assert short.caveats == (selected,)
    assert long.caveats == (selected, "Trained anew by others: 24.5, 20.9.")
    assert published.load_all()[0].tables[0].caveats == ()


def at_paper_scale():
    return resolve({**plain_yaml.read(ROOT / "params.yaml"), "scale": "paper"})


@pytest.mark.parametrize("number", ["Table 1", "Table 2"])
def test_the_grid_holds_what_the_thesis_trained(number):
    """At published scale no row says that ours is another network or another protocol."""
    paper = at_paper_scale()
    (table,) = [table for table in published.load_all()[0].tables if table.number == number]
    model = paper.models[table.model].arguments
    assert {name: model[name] for name in table.network} == table.network
    held = [value for value in table.values if value.dataset in paper.datasets]
    assert len(held) == 9
    for value in held:
        arguments = paper.datasets[value.dataset].arguments
        protocol = table.data.get(value.dataset, {})
        assert {name: arguments[name] for name in protocol} == protocol
        assert (arguments["context"], arguments["horizon"]) == (table.context, table.horizon)
        wanted = (table.model, table.loss, value.depth)
        assert any(
            value.dataset in product.datasets and wanted in study.systems
            for study in paper.studies.values()
            for product in study.products
        )


@pytest.mark.parametrize("source", [source for source in published.load_all() if source.id in ("openstl", "simvp")])
def test_rows_on_moving_mnist_are_of_our_networks_and_recipes(source):
    """At published scale nothing but the training length of a row stands between it and the system of its name; but
    OpenSTL's MIM keeps its state from batch to batch, which no argument of ours makes it do.
    """
    paper = at_paper_scale()
    of_digits = [table for table in source.tables if table.values[0].dataset == "moving_mnist_srivastava"]
    ours = [table for table in of_digits if table.model]
    assert {table.model for table in ours} <= set(paper.models)
    for table in ours:
        model = paper.models[table.model].arguments
        assert {name for name, said in table.network.items() if model.get(name) != said} <= (
            {"state"} if table.model == "mim" else set()
        )
        for value in table.values:
            training = as_tree(paper.recipe(table.model, value.dataset))
            assert {name for name, said in table.recipe.items() if training[name] != said} <= {"epochs"}
            arguments = paper.datasets[value.dataset].arguments
            protocol = table.data[value.dataset]
            assert {name: arguments[name] for name in protocol} == protocol
            assert (arguments["context"], arguments["horizon"]) == (table.context, table.horizon)
            assert (table.model, table.loss, value.depth) in paper.studies["systems_moving_mnist"].systems


def score_of_ours(paper, table, model: str) -> dict:
    """What ``score.json`` would say of a system of ours on the data of a published row, at published scale."""
    dataset = paper.datasets[table.values[0].dataset].arguments
    lengths = {"context": dataset["context"], "horizon": dataset["horizon"]}
    parameters = {
        "model": paper.models[model].arguments,
        "dataset": {"arguments": dataset},
        "training": as_tree(paper.recipe(model, table.values[0].dataset)),
    }
    made = {"scale": "paper", "source": "official", "causal": "causal", "loss": table.loss}
    return {**made, "dataset": table.values[0].dataset, "modes": {table.mode: lengths}, "parameters": parameters}


def test_what_openstl_trained_otherwise_is_not_compared():
    """Its 2 000 epochs, its MIM, and its frames of KTH and Human3.6M; its other rows on Moving MNIST are."""
    paper, found = at_paper_scale(), {}
    source = next(source for source in published.load_all() if source.id == "openstl")
    for table in (table for table in source.tables if table.model):
        reasons = published.obstacles(table, score_of_ours(paper, table, table.model))
        found.setdefault((table.number, table.model), set()).update(reasons)
    compared = {about for about, reasons in found.items() if not reasons}
    of_200 = ("simvp", "simvp_incepu", "convlstm_s", "predrnn", "predrnn_v2", "predrnn_pp")
    assert compared == {("Moving MNIST, 200 epochs", model) for model in of_200}
    assert found["Moving MNIST, 200 epochs", "mim"] == {"another network"}
    assert found["Moving MNIST, 2000 epochs", "predrnn_pp"] == {"another recipe"}
    assert {"10→20 steps published", "another protocol"} <= found["KTH, 10 → 20, 128×128, 100 epochs", "predrnn"]
    of_human36m = found["Human3.6M, 4 → 4, 256×256, 50 epochs", "predrnn"]
    assert "another protocol" in of_human36m
    assert "another recipe" not in of_human36m  # ours is trained by it, in other frames


BENCHMARKS = {"openstl": (135, 15), "predformer": (21, 0), "video_benchmarks": (68, 5)}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_row_of_a_benchmark_is_there_under_ids_that_there_are(name):
    """So many scores, and so many that no metric of ours computes."""
    source = next(source for source in published.load_all() if source.id == name)
    tables = [table for benchmark in source.benchmarks for table in benchmark.tables]
    assert (len(tables), sum(len(table.uncomputed) for table in tables)) == BENCHMARKS[name]
    known = {metric: catalogue.metric_fact(metric, "better") for metric in catalogue.metrics()}
    assert all(known[table.metric] == table.better for table in tables)
    paper = at_paper_scale()
    assert {name for table in tables for name in (table.model, table.instead) if name} <= set(paper.models)
    assert {value.dataset for table in tables for value in table.values} <= set(paper.datasets)
    for benchmark in source.benchmarks:  # nothing is lost on the way, and no system stands there twice
        names = [row.system for row in benchmark.rows]
        assert len(set(names)) == len(names)
        assert not any("," in system for system in names)
        assert all(any(row.scores) for row in benchmark.rows)


@pytest.mark.parametrize(
    ("source", "number", "system", "metric", "printed"),
    [
        ("openstl", "Moving MNIST, 200 epochs", "ConvLSTM-S", "mse_sum01_raw", 29.80),
        ("openstl", "Moving MNIST, 200 epochs", "ConvLSTM-L", "psnr_frame", 22.44),
        ("openstl", "Moving MNIST, 2000 epochs", "PredRNN", "mse_sum01_raw", 26.43),
        ("openstl", "Moving MNIST, 2000 epochs", "PredRNN++", "mse_sum01_raw", 14.07),
        ("openstl", "Moving MNIST, 2000 epochs", "MIM", "mae_sum01_raw", 52.31),
        ("openstl", "Moving MNIST, 2000 epochs", "PredRNN-V2", "ssim_f2", 0.9624),
        ("openstl", "Moving MNIST, 2000 epochs", "TAU", "mse_sum01_raw", 15.69),
        ("openstl", "Moving MNIST, 2000 epochs", "SimVP with VAN", "mse_sum01_raw", 16.21),
        ("openstl", "Moving MNIST, 200 epochs", "E3D-LSTM", "ssim_f2", 0.9320),
        ("openstl", "KTH, 10 → 20, 128×128, 100 epochs", "DMVFN", "mse_sum01_raw", 59.61),
        ("openstl", "Human3.6M, 4 → 4, 256×256, 50 epochs", "SimVP with gSTA", "mse_sum01_raw", 108.4),
        ("predformer", "Moving MNIST, 2000 epochs", "PredFormer with 8 layers", "mse_sum01_raw", 11.7),
        ("predformer", "Moving MNIST, 2000 epochs", "SwinLSTM-D", "ssim_f2", 0.962),
        ("video_benchmarks", "Moving MNIST, 10 → 10", "ConvLSTM", "mse_sum01", 103.3),
        ("video_benchmarks", "Moving MNIST, 10 → 10", "PredRNN", "mse_sum01", 56.8),
        ("video_benchmarks", "Moving MNIST, 10 → 10", "Causal LSTM (PredRNN++)", "mse_sum01", 46.5),
        ("video_benchmarks", "Moving MNIST, 10 → 10", "MIM*", "mse_sum01", 44.2),
        ("video_benchmarks", "KTH, 10 → 40, 128×128", "PredRNN", "psnr_frame_u8", 24.16),
        ("video_benchmarks", "Human3.6M, 4 → 4, 128×128", "MIM", "mae_sum01", 1782.8),
        ("video_benchmarks", "BAIR, 2 → 28, 64×64", "FAR-B", "psnr_frame", 19.40),
    ],
)
def test_rows_of_the_benchmarks(source, number, system, metric, printed):
    (found,) = [
        table
        for one in published.load_all()
        if one.id == source
        for table in one.tables
        if (table.number, table.title.split(",")[0], table.metric) == (number, system, metric)
    ]
    assert (found.values[0].printed, found.values[0].corrected) == (printed, printed)


def test_what_a_row_has_only_once_stands_with_its_first_score():
    source = next(source for source in published.load_all() if source.id == "openstl")
    rows = [table for table in source.tables if (table.number, table.title) == ("Moving MNIST, 2000 epochs", "TAU")]
    assert [table.values[0].reruns for table in rows] == [(31.1,), (), ()]
    assert "Trained anew by others: 31.1." in rows[0].caveats
    arms = next(source for source in published.load_all() if source.id == "video_benchmarks").tables[-2:]
    assert [table.uncomputed for table in arms] == [{"LPIPS": 0.049, "FVD": 144.3}, {}]


def test_a_row_with_too_few_scores_is_named(tmp_path):
    path = tmp_path / "predformer.yaml"
    text = (published.FOLDER / path.name).read_text(encoding="utf-8")
    path.write_text(text.replace("[12.4, 44.6, 0.973]", "[12.4, 44.6]", 1), encoding="utf-8")
    with pytest.raises(
        UserError, match=r"predformer\.yaml: .*6 layers: found 2 scores for 3 metrics; write one for each"
    ):
        published.load(path)


def srvp():
    """The published values of SRVP by table, title's system and metric."""
    source = next(source for source in published.load_all() if source.id == "srvp")
    return {(table.number, table.title.split(",")[0], table.metric): table for table in source.tables}


def test_srvp_prints_a_hundred_numbers():
    """Two of them twice: error and SSIM of the full system stand in the ablation too."""
    tables = srvp()
    values = [value for table in tables.values() for value in table.values]
    printed = [len(value.curve) if value.dataset == "human36m" else 1 for value in values]
    assert (len(tables), sum(printed)) == (74, 98)
    assert {table.metric for table in tables.values()} == {"mse_pix255u8", "psnr_srvp", "ssim_srvp"}
    assert all(value.printed == value.corrected for value in values)


def test_the_scores_per_horizon_of_srvp_average_to_what_is_printed():
    """Its PSNR follows from its error with a whole peak, the range of the forecasts, which pale with the horizon."""
    rows = {
        metric: srvp()["Moving MNIST, 10 → 10", "SRVP", metric].values[0]
        for metric in ("mse_pix255u8", "psnr_srvp", "ssim_srvp")
    }
    for metric, places in (("mse_pix255u8", 5e-3), ("psnr_srvp", 5e-3), ("ssim_srvp", 5e-5)):
        assert list(rows[metric].curve) == list(range(1, 11))
        assert sum(rows[metric].curve.values()) / 10 == pytest.approx(rows[metric].printed, abs=places)
    peaks = [
        (error * 10 ** (psnr / 10)) ** 0.5
        for error, psnr in zip(rows["mse_pix255u8"].curve.values(), rows["psnr_srvp"].curve.values(), strict=True)
    ]
    assert peaks == pytest.approx([255, 255, 254, 254, 254, 253, 253, 252, 252, 251], abs=0.16)  # ± 0.005 dB
    for table in srvp().values():
        for value in table.values:
            if value.dataset == "human36m":
                assert sum(value.curve.values()) / len(value.curve) == pytest.approx(value.printed, abs=1e-9)
                assert len(value.curve) == table.horizon == 4


def test_a_title_says_the_squared_error_of_srvp_as_others_print_it():
    told = [(table, table.values[0].printed) for table in srvp().values() if table.metric == "mse_pix255u8"]
    assert len(told) == 27
    for table, error in told:
        assert f"({error / 65025 * 64 * 64:.2f} summed over a frame)" in table.title


def test_rows_of_srvp_are_of_our_networks_and_recipes():
    paper = at_paper_scale()
    ours = [table for table in srvp().values() if table.model in paper.models]
    assert {table.model for table in ours} == {
        "srvp",
        "srvp_without_sa",
        "srvp_without_rfa",
        "srvp_without_crossatt",
        "convgru",
        "simvp",
        "convlstm_s_srvp_recipe",
        "predrnn_srvp_recipe",
        "predrnn_pp_srvp_recipe",
        "mim_srvp_recipe",
    }
    studies = paper.studies.values()
    grid = {(dataset, *system) for study in studies for dataset in study.every("datasets") for system in study.systems}
    for table in ours:
        model = paper.models[table.model].arguments
        assert {name: model[name] for name in table.network} == table.network
        for value in table.values:
            training = as_tree(paper.recipe(table.model, value.dataset))
            assert {name: training[name] for name in table.recipe} == table.recipe
            assert (value.dataset, table.model, table.loss, value.depth) in grid
            for name, setting in table.data.get(value.dataset, {}).items():
                assert paper.datasets[value.dataset].arguments[name] == setting


def test_srvp_is_only_judged_on_what_it_says_that_it_measured():
    """At published scale nothing else keeps our systems of its rows apart: ten frames of Moving MNIST are compared."""
    paper = at_paper_scale()
    for table in (table for table in srvp().values() if table.model in paper.models):
        dataset = table.values[0].dataset
        made = {"scale": "paper", "source": "official", "causal": "causal", "loss": table.loss, "dataset": dataset}
        modes = {"free-running": {"context": table.context, "horizon": table.horizon}}
        parameters = {
            "model": paper.models[table.model].arguments,
            "dataset": {"arguments": paper.datasets[dataset].arguments},
            "training": as_tree(paper.recipe(table.model, dataset)),
        }
        found = published.obstacles(table, {**made, "modes": modes, "parameters": parameters})
        assert found == (() if dataset == "moving_mnist_srivastava" else ("protocol not published",)), table.title
