"""What the rules ask, without Snakemake: the files of a job, its resources, and whose source and parameters run."""

import inspect
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from framecast.cluster.site import Site
from framecast.errors import UserError
from framecast.study import checkout, reading
from framecast.study.grid import Cell, Grid
from framecast.upkeep import engine
from framecast.upkeep.engine import Engine
from tests.conftest import ROOT

CLUSTER = Site(partition="gpu", cpu_partition="cpu", account="", gpus=2, gpu_type="a100", cpus=3, device="cuda")
LSTM = {"dataset": "generated_sins", "model": "seq2seq_lstm", "depth": "2", "loss": "mse", "seed": "1"}
COPY = {"dataset": "generated_sins", "model": "copy_last"}


def asked(*, cluster: Site = CLUSTER, remote: bool = False, nodes: int | None = None, here: bool = True) -> Engine:
    """The engine of the study here, for a Snakemake of this kind."""
    settings = SimpleNamespace(nodes=nodes)
    workflow = SimpleNamespace(remote_exec=remote, resource_settings=settings, local_exec=here)
    return Engine(Grid(reading.load()), cluster, workflow)


def make(*files: str) -> None:
    for file in files:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).touch()


# --- files --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("study")
def test_the_manifest_stands_for_an_artefact_and_what_is_missing_is_named_as_well() -> None:
    ask = asked()
    *others, manifest = files = ask.study.run_files(engine.named(LSTM))
    assert ask.need(files) == [manifest]
    make(manifest)
    assert ask.need(files) == [manifest, *others]
    first, *rest = others
    make(*rest)
    assert ask.need(files) == [manifest, first]
    make(first)
    assert ask.need(files) == [manifest]
    assert asked(remote=True).need(files) == files, "inside a job all of them must have become visible"


@pytest.mark.usefixtures("study")
def test_wildcards_name_a_cell_and_a_job_reads_what_it_was_made_of() -> None:
    ask = asked()
    cell, baseline = engine.named(LSTM), engine.named(COPY)
    assert cell == Cell("generated_sins", "seq2seq_lstm", 2, "mse", 1)
    assert baseline == Cell("generated_sins", "copy_last")
    study = ask.study
    made = study.data_files(cell.dataset), study.probe_files(cell), study.run_files(cell)
    data, probe, run = (files[-1] for files in made)
    assert ask.to_train(LSTM) == [data, probe]
    assert ask.to_evaluate(LSTM) == [data, run]
    assert ask.to_evaluate(COPY) == [data]
    make(*ask.study.run_files(cell))
    assert ask.to_train(LSTM) == [data], "a probe that is not there would have a trained cell trained again"


@pytest.mark.usefixtures("study")
def test_what_is_lost_is_named_where_nothing_else_would_ask_for_it() -> None:
    ask = asked()
    study = ask.study
    trained, scored = study.cells[:2]
    assert ask.lost({}) == ask.lost_trainings({}) == []
    make(*study.run_files(trained), *study.score_files(trained), *study.score_files(scored))
    assert ask.lost_trainings({}) == study.run_files(scored), "its scores are there, so no evaluation asks for it"
    assert ask.lost({}) == [], "the tables will be made, and ask for it"
    make(*study.table_files())
    for cell in study.scored[2:]:
        make(*study.score_files(cell), *([] if cell.is_baseline else study.run_files(cell)))
    assert ask.lost({}) == study.run_files(scored)
    make(*study.run_files(scored))
    assert ask.lost({}) == []
    (gone, *_) = study.score_files(trained)
    Path(gone).unlink()
    assert ask.lost({}) == [gone]


@pytest.mark.usefixtures("study")
def test_a_study_is_its_cells_their_scores_and_the_baselines_beside_them() -> None:
    ask = asked()
    study = ask.study
    cells = [cell for cell in study.cells if cell.dataset == "moving_mnist"]
    scored = [*cells, *(cell for cell in study.baselines if cell.dataset == "moving_mnist")]
    assert len(scored) == len(cells) + 2, "least squares is for series"
    assert ask.of("video_depth")({}) == [
        *(study.run_files(cell)[-1] for cell in cells),
        *(study.score_files(cell)[-1] for cell in scored),
    ]
    both = {*ask.of("video_depth")({}), *ask.of("sequence_depth")({})}
    assert both == {*ask.trained({}), *ask.scores({})}


@pytest.mark.usefixtures("study")
def test_what_is_asked_for_each_job_carries_its_signature_and_it_is_the_right_one() -> None:
    ask = asked(nodes=4)
    for function in (ask.to_train, ask.to_evaluate, ask.resources("train")["mem_mb"]):
        assert function.__signature__ is inspect.signature(function)
    assert list(inspect.signature(ask.to_train).parameters) == ["wildcards"]
    assert list(inspect.signature(ask.resources("train")["mem_mb"]).parameters) == ["wildcards", "attempt"]


def test_the_longest_trainings_come_first_and_all_of_them_after_what_they_wait_for() -> None:
    workflow = SimpleNamespace(remote_exec=False, resource_settings=SimpleNamespace(nodes=None), local_exec=True)
    demo = Engine(Grid(reading.load(ROOT / "params.yaml")), CLUSTER, workflow)
    first, *between, last = sorted(
        {(one.dataset, one.model) for one in demo.study.cells},
        key=lambda pair: -demo.precedence(dict(zip(("dataset", "model"), pair, strict=True))),
    )
    assert (first, last[1]) == (("moving_mnist", "seq2seq_convlstm"), "seq2seq_lstm")
    assert between.index(("moving_mnist_next", "next_frame")) < between.index(("moving_mnist", "simvp"))
    assert all(0 < demo.precedence(vars(one)) < 1 for one in demo.study.cells)


# --- resources ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("study")
def test_a_job_on_this_machine_asks_for_one_gpu_and_nothing_else() -> None:
    assert asked().resources("train") == {"gpu": 1}
    assert asked(cluster=Site(gpus=0)).resources("evaluate") == {"gpu": 1}
    assert asked().resources("evaluate", gpu=False) == {}


@pytest.mark.usefixtures("study")
def test_a_job_on_a_cluster_asks_in_the_words_of_the_site_and_numbers_of_its_cell() -> None:
    words = {"gpu": 2, "gpu_model": "a100", "cpus_per_task": 3, "slurm_partition": "gpu"}
    resources = asked(nodes=4, here=False).resources("train")
    numbers = {name: resources.pop(name)(LSTM, attempt=1) for name in ("mem_mb", "runtime")}
    assert resources == words
    assert 0 < numbers["mem_mb"] <= CLUSTER.memory_mb
    assert 0 < numbers["runtime"] <= CLUSTER.walltime
    planned = asked(nodes=4).resources("train")
    assert planned["mem_mb"](LSTM, attempt=1) == 0, "a plan does not work it out"
    assert asked(remote=True).resources("train") == words, "in the job itself nobody counts"
    baseline = asked(nodes=4).resources("evaluate", gpu=False)
    assert baseline.keys() == {"mem_mb", "runtime", "slurm_partition"}
    assert baseline["slurm_partition"] == "cpu"
    elsewhere = CLUSTER.model_copy(update={"cpu_partition": "", "gpus": 0})
    assert asked(cluster=elsewhere, nodes=4).resources("evaluate", gpu=False)["slurm_partition"] == "gpu"
    assert "gpu" not in asked(cluster=elsewhere, nodes=4).resources("train")


def test_threads_are_a_number_until_two_models_differ(study: Path) -> None:
    threads = asked().threads
    assert threads == asked().study.params.recipe("seq2seq_lstm", "generated_sins").threads
    text = (study / "params.yaml").read_text(encoding="utf-8")
    assert text.count("hidden_channels: 4}") == 1
    more = f"hidden_channels: 4, training: {{threads: {threads + 1}}}}}"
    (study / "params.yaml").write_text(text.replace("hidden_channels: 4}", more), encoding="utf-8")
    of_cell = asked().threads
    assert of_cell(SimpleNamespace(dataset="moving_mnist", model="seq2seq_convlstm")) == threads + 1
    assert of_cell(SimpleNamespace(dataset="generated_sins", model="seq2seq_lstm")) == threads


@pytest.mark.usefixtures("study")
def test_a_verb_is_told_of_the_device_only_inside_a_job() -> None:
    assert asked().options("--requeue") == ""
    assert asked(remote=True).options("--requeue") == " --device cuda --requeue"
    assert asked(remote=True).options() == " --device cuda"


# --- whose source, whose parameters -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"config": {"seeds": [2]}}, "--config: found seeds"),
        ({"configfiles": [Path("/other.yaml")]}, "--configfile: found /other.yaml"),
    ],
)
def test_values_that_only_snakemake_would_know_of_are_refused(given: dict[str, object], told: str) -> None:
    settings = SimpleNamespace(**{"config": {}, "configfiles": [], **given})
    with pytest.raises(UserError, match=f"^{told}; allowed: none; jobs and DVC read params.yaml"):
        engine.refuse_another_study(SimpleNamespace(basedir=ROOT, config_settings=settings))


def test_a_checkout_runs_its_own_source_or_none(tmp_path: Path) -> None:
    own, other, alone = tmp_path / "own", tmp_path / "other", tmp_path / "alone"
    for folder in (own / "src", other / "src/framecast", other / "docs", alone):
        folder.mkdir(parents=True)
    (own / "src/framecast").symlink_to(checkout.RUNNING)
    shutil.copy(checkout.RUNNING / "cli.py", other / "src/framecast")
    checkout.expect_own_source(own, own / "src", alone)
    for place in (other, other / "docs", other / "src/framecast"):
        with pytest.raises(
            UserError, match=f"^{other}: found another copy's source, {checkout.RUNNING}; allowed: its own"
        ):
            checkout.expect_own_source(own, place)
    for place in (other, alone):
        checkout.expect_root(place)
    with pytest.raises(UserError, match=f"run framecast from the root of the repository, {other}$"):
        checkout.expect_root(other / "docs")
    (other / "docs/params.yaml").touch()
    checkout.expect_root(other / "docs")
