"""framecast: one verb per step of the pipeline. The rules call these verbs; so can you."""

import errno
import gc
import io
import os
import re
import sys
import time
import warnings
from typing import TYPE_CHECKING, Annotated

import typer

from framecast.errors import NotFinished, UserError

if TYPE_CHECKING:
    from framecast.cluster.journal import Asked
    from framecast.study.grid import Grid

STARTED = time.monotonic()  # a time budget counts from here, imports included

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)

CellName = Annotated[str, typer.Argument(metavar="CELL", help="a cell's name, as `framecast grid` prints it")]
Key = Annotated[
    str, typer.Option(help="the key that the caller expects; refused when params.yaml or code has moved on")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
AskedFor = Annotated[
    str, typer.Option("--asked", metavar="MB,MINUTES,CPUS", help="what this job asked its cluster for")
]


@app.callback()
def start() -> None:
    """One verb per step of the pipeline, run from the root of the repository."""
    from pathlib import Path

    from framecast.study import checkout

    checkout.expect_own_source(Path.cwd())
    checkout.expect_root(Path.cwd())


@app.command()
def grid(
    cells_only: Annotated[bool, typer.Option("--names", help="only the names of the trained cells")] = False,
) -> None:
    """List the cells of params.yaml, each with the key under which it lies."""
    study = _grid()
    if cells_only:
        print("\n".join(cell.name for cell in study.cells))
        return
    width = max(len(cell.name) for cell in study.scored)
    for cell in study.scored:
        print(f"{cell.name:{width}}  {study.score_key(cell) if cell.is_baseline else study.run_key(cell)}")
    print(f"{study.count} cells at scale {study.params.scale}")


@app.command()
def status(
    everything: Annotated[bool, typer.Option("--all", help="also the cells that are done or were never run")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="show again and again until every cell is done")] = False,
    html: Annotated[
        bool, typer.Option("--html", help="as a page, reports/status.html, that a browser loads again by itself")
    ] = False,
) -> None:
    """What state each cell is in: running with what is left, failed with its cause and what mends it, stale and why."""
    from framecast.upkeep import status as states

    if html:
        from framecast.report import status_page

        (status_page.watch if watch else status_page.show)(_grid())
        return
    (states.watch if watch else states.show)(_grid(), everything=everything)


@app.command()
def plan(
    profile: Annotated[str, typer.Option(help="slurm: also hold it against the limits of the cluster")] = "",
) -> None:
    """What a run would ask for: jobs, hours and where that number comes from, memory, and what would not fit."""
    from framecast.cluster import site
    from framecast.upkeep import plan as planning

    if profile not in ("", "slurm"):
        raise UserError(f"--profile: found {profile!r}; allowed: slurm, or nothing for this machine")
    here = site.Site(device="cpu", gpus=0)
    planning.show(_grid(), site.load() if profile else here, on_slurm=bool(profile))


@app.command()
def efficiency() -> None:
    """What the jobs used of the CPUs, memory, time and GPUs that they asked for."""
    from framecast.upkeep import efficiency as measured

    measured.show(_grid())


@app.command()
def fetch(
    names: Annotated[
        list[str], typer.Argument(help="mnist, moving_mnist, kth, bair, human36m, stocks, stocks_daily, vgg16")
    ],
) -> None:
    """Fetch published files into data/raw, from their mirrors or from FRAMECAST_MIRROR."""
    from framecast.data.fetching import fetch as fetching
    from framecast.study.grid import RAW

    for name in names:
        fetching.fetch(name, RAW)


@app.command()
def prepare(dataset: Annotated[str, typer.Argument(metavar="DATASET")], key: Key = "") -> None:
    """Build the arrays of one dataset, whether a study uses it or not."""
    study = _grid()
    if dataset not in study.params.datasets:
        raise UserError(
            f"dataset {dataset}: params.yaml has none of this name; it has {', '.join(study.params.datasets)}"
        )
    from framecast import assemble
    from framecast.data.fetching import fetch as fetching
    from framecast.study.grid import RAW

    fetching.ensure(dataset, study.params.datasets[dataset], RAW)
    _expect(key, study.data_key(dataset), f"dataset {dataset}")
    assemble.prepare(study, dataset)


@app.command()
def probe(
    dataset: Annotated[str, typer.Argument(metavar="DATASET")],
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    depth: Annotated[int, typer.Option(help="layers of the model")],
    key: Key = "",
) -> None:
    """Look whether a system forecasts from frames that it cannot know yet, and refuse it if it does."""
    study = _grid()
    found = next(
        (cell for cell in study.probes if (cell.dataset, cell.model, cell.depth) == (dataset, model, depth)), None
    )
    if found is None:
        probed = ", ".join(f"{cell.dataset} {cell.model} --depth {cell.depth}" for cell in study.probes)
        raise UserError(f"probe {dataset} {model} --depth {depth}: no study trains it; allowed: {probed}")
    _expect(key, study.probe_key(found), f"the probe of {dataset} {model} --depth {depth}")
    from framecast.evaluation import probe as probing

    print(probing.probe(study, found))


@app.command()
def train(
    cell: CellName,
    key: Key = "",
    device: Device = "auto",
    time_budget: Annotated[
        float,
        typer.Option(
            help="stop in time, with exit code 75, after this many seconds; in a Slurm job: before its end", min=0
        ),
    ] = 0,
    requeue: Annotated[bool, typer.Option("--requeue", help="in a Slurm job: then ask for the next slice")] = False,
    checkpoint_minutes: Annotated[float, typer.Option(help="minutes between checkpoints", min=0.001)] = 5,
) -> None:
    """Train one cell, or go on with it. Exit 75: not finished, run me again."""
    from framecast.training.stopping import Stop

    stop = Stop(time_budget or None, STARTED)
    stop.listen()
    study = _grid()
    found = study.find(cell)
    if found.is_baseline:
        raise UserError(f"cell {cell}: a baseline is not trained; run `framecast evaluate {cell}`")
    _expect(key, study.run_key(found), f"cell {cell}")
    from framecast.devices import choose
    from framecast.evaluation.probe import ensure
    from framecast.training.cell import train as train_cell
    from framecast.training.compilation import refuse_without_compiler

    wanted, (asked, left) = choose(device), _job_limits()
    refuse_without_compiler(found.model, study.params.recipe(found.model, found.dataset).compile, wanted.type)
    stop.budget = stop.budget or left
    try:
        if not train_cell(
            study,
            found,
            stop=stop,
            device=wanted,
            asked=asked,
            admit=lambda: ensure(study, found),
            patience=(left or 0.0) if requeue else 0.0,
            checkpoint_minutes=checkpoint_minutes,
        ):
            print(f"{cell}: already trained, {study.run_folder(found)}", file=sys.stderr)
    except NotFinished:
        if requeue and stop.budget_is_used_up:
            _ask_for_the_next_slice(cell)
        raise


@app.command()
def evaluate(cell: CellName, key: Key = "", device: Device = "auto") -> None:
    """Score one trained cell or baseline on its test split."""
    study = _grid()
    found = study.find(cell)
    _expect(key, study.score_key(found), f"cell {cell}")
    from framecast.cluster.journal import attempt
    from framecast.devices import choose
    from framecast.evaluation.evaluate import evaluate as evaluate_cell

    where = choose(device)
    with attempt("evaluate", found.name, study.score_key(found), str(where), _job_limits()[0]):
        evaluate_cell(study, found, device=where)


@app.command()
def tables(key: Key = "") -> None:
    """Gather all scores into reports/*.csv and reports/metrics.json."""
    study = _grid()
    _expect(key, study.tables_key, "tables")
    from framecast.evaluation.tables import write_tables

    write_tables(study)


@app.command()
def report(
    key: Key = "",
    partial: Annotated[
        bool, typer.Option("--partial", help="of the cells that are scored so far, into reports/partial")
    ] = False,
) -> None:
    """Draw the figures and write reports/report.html."""
    study = _grid()
    _expect(key, study.report_key, "report")
    from framecast.report.write import write_partial_report, write_report

    if partial:
        print(write_partial_report(study))
    else:
        write_report(study)


@app.command()
def record(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="a finished study of params.yaml")],
    dataset: Annotated[list[str], typer.Option(help="only this dataset of the study; can be given several times")] = [],  # noqa: B006
) -> None:
    """Record a finished study for git: its tables and what made them, in reports/records, and docs/results.md."""
    from framecast.report.results_page import write
    from framecast.upkeep import record as recording

    print(recording.record(_grid(), study, dataset))
    print(write())


@app.command()
def results() -> None:
    """Write docs/results.md from the recorded runs of reports/records."""
    from framecast.report.results_page import write

    print(write())


@app.command()
def claims(
    as_json: Annotated[bool, typer.Option("--json", help="for programs: every comparison of every claim")] = False,
    as_markdown: Annotated[bool, typer.Option("--md", help="a table in Markdown")] = False,
) -> None:
    """What the sources claim, and what is so by the finished cells and the recorded runs."""
    from framecast.report import claims as claimed
    from framecast.report.write import read_finished
    from framecast.results import records

    if as_json and as_markdown:
        raise UserError("claims: found --json and --md; allowed: one of them")
    finished = read_finished(_grid())
    if finished is None:
        print("framecast: claims: no finished tables of this params.yaml, so only records are asked", file=sys.stderr)
    told = claimed.told(finished, records.load_all())
    form = claimed.as_json if as_json else claimed.as_markdown if as_markdown else claimed.as_text
    print(form(told), end="")


@app.command()
def export(
    kind: Annotated[str, typer.Argument(metavar="csv|tensorboard|wandb-offline|latex", help="the format")],
    run: Annotated[
        list[str] | None, typer.Option(metavar="CELL", help="only this cell; repeatable; by default every scored one")
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE|FOLDER", help="by default in reports/partial")
    ] = "",
) -> None:
    """Write every score so far for other programs: a tidy table, event files, offline runs, or macros of a paper.

    csv: one number a row. tensorboard: an event file a cell, with curves, settings and a picture. wandb-offline: a
    run a cell, for `wandb sync`. latex: the mean and sd of every system by name. Nothing asks a network.
    """
    from pathlib import Path

    from framecast.report.export import export as write

    print(write(_grid(), kind, Path(output) if output else None, run or ()))


@app.command()
def notebook(
    cell: CellName,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE", help="by default notebook.ipynb in reports/partial/CELL"),
    ] = "",
) -> None:
    """Write a notebook that loads a cell's weights, forecasts test sequences and draws them."""
    study = _grid()
    from framecast.report.notebook import write

    print(write(study, study.find(cell), output))


@app.command()
def diff(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[REV] [REV]", help="commits or records; by default HEAD, the working tree"),
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", metavar="METRIC", help="instead of the primary one; all; repeatable")
    ] = None,
    study: Annotated[str, typer.Option(metavar="STUDY", help="only the cells of one study")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="for programs: see framecast.upkeep.diff.machine")] = False,
    as_markdown: Annotated[bool, typer.Option("--md", help="for a pull request")] = False,
    pictures: Annotated[
        str, typer.Option(metavar="FOLDER", help="with --md: draw what moved most into it, and link it")
    ] = "",
    everything: Annotated[bool, typer.Option("--all", help="also what is the same, and nothing cut short")] = False,
) -> None:
    """What moved between two commits, and whether by more than noise, from the tables that git keeps."""
    from pathlib import Path

    from framecast.upkeep import diff as moved

    if as_json and as_markdown:
        raise UserError("diff: found --json and --md; allowed: one of them")
    form: moved.Form = "json" if as_json else "markdown" if as_markdown else "text"
    folder = Path(pictures) if pictures else None
    found = moved.compare(names or (), metric or (), study)
    print(moved.written(found, form, everything=everything, pictures=folder), end="")


@app.command()
def gate(
    names: Annotated[list[str], typer.Argument(metavar="REV [REV]", help="a commit, and what is held against it")],
    max_regress: Annotated[
        list[str] | None,
        typer.Option("--max-regress", metavar="METRIC=AMOUNT", help="how much worse it may be, or N%; repeatable"),
    ] = None,
    study: Annotated[str, typer.Option(metavar="STUDY", help="only the cells of one study")] = "",
) -> None:
    """Exit 1 when a number got worse by more than is allowed and than noise, 2 when something is missing."""
    from framecast.upkeep import gate as gating

    raise typer.Exit(gating.gate(names, max_regress or (), study))


@app.command()
def reproduce(
    cell: CellName,
    against: Annotated[
        str, typer.Option(metavar="REV", help="the commit or record that has its numbers; by default the tables here")
    ] = "",
    folder: Annotated[
        str, typer.Option(metavar="FOLDER", help="where it is made, and stays; by default a temporary one")
    ] = "",
    device: Device = "auto",
) -> None:
    """Make one cell anew in a folder of its own: exit 0 when it gives the recorded bits, 1 with how far off it is."""
    from pathlib import Path

    study = _grid()
    found = study.find(cell)
    from framecast.devices import choose
    from framecast.upkeep.reproduce import reproduce as make_anew

    place = Path(folder) if folder else None
    raise typer.Exit(make_anew(study, found, against=against, device=choose(device), folder=place))


@app.command()
def figure(
    name: Annotated[str, typer.Argument(metavar="NAME", help="a file of src/framecast/figures")],
    run: Annotated[str, typer.Option(metavar="CELL", help="the trained and scored cell that is drawn")],
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE", help="the SVG or PNG to write; by default in reports/partial"),
    ] = "",
) -> None:
    """Draw one figure of one cell; of its activations, also a clip that plays over the time steps."""
    study = _grid()
    from framecast.report.single import draw

    for path in draw(study, study.find(run), name, output):
        print(path)


@app.command()
def predict(
    clip: Annotated[
        str, typer.Argument(metavar="CLIP", help="mp4, avi, mov, mkv, webm, gif, npy, npz, csv, or a folder of images")
    ],
    run: Annotated[str, typer.Option(metavar="CELL", help="a trained cell; without its seed: each of its seeds")],
    horizon: Annotated[int | None, typer.Option(help="steps to forecast; by default as many as in training")] = None,
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="FILE", help="the clip to write; its .npz, .json and compare.html beside"
        ),
    ] = "",
    everything: Annotated[
        bool, typer.Option("--all", help="every trained system of the dataset, side by side")
    ] = False,
    seeds: Annotated[
        bool, typer.Option("--seeds", help="every trained seed of the cell, and how far they differ")
    ] = False,
    start: Annotated[int, typer.Option(help="the frame, from 1, that is observed first")] = 1,
    last: Annotated[
        bool, typer.Option("--last", help="observe the clip's last frames, and forecast what follows")
    ] = False,
    fps: Annotated[float | None, typer.Option(help="frames a second that the clip is resampled to")] = None,
    fit: Annotated[str, typer.Option(help="stretch, pad or crop to the system's frames")] = "stretch",
    axes: Annotated[str, typer.Option(help="the order of an array's axes, as in HWT or TCHW")] = "",
    column: Annotated[str, typer.Option(help="the column of a table that holds the series")] = "",
) -> None:
    """Forecast the future of a clip of your own with a trained cell, on the CPU."""
    from pathlib import Path

    study = _grid()
    from framecast.predict.clip import Wanted
    from framecast.predict.future import predict as forecast

    wanted = Wanted(fps, fit, start, last, axes, column)
    lines, made = forecast(
        study, Path(clip), run, wanted, horizon=horizon, every_seed=seeds, everything=everything, output=output
    )
    print("\n".join(lines), file=sys.stderr)
    for path in made:
        print(path)


@app.command()
def prune(phase: Annotated[str, typer.Argument(metavar="data|train|evaluate")]) -> None:
    """Remove artefacts of cells that params.yaml no longer has, and keep whatever could not be made again."""
    from framecast.upkeep import pruning

    pruning.prune(_grid(), phase)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def resume(
    context: typer.Context,
    wait: Annotated[bool, typer.Option("--wait", help="wait for jobs that are still alive, then go on")] = False,
) -> None:
    """Go on after the driver was killed: check that nothing lives, clear what it left, and run its command again.

    Another command can be given: framecast resume snakemake --profile slurm
    """
    from framecast.upkeep import driver

    driver.resume(context.args, wait=wait)


@app.command()
def verify() -> None:
    """Hash every artefact in the workspace and in DVC's cache again, and name what is not what it was."""
    from framecast.upkeep.verify import verify as verify_all

    verify_all(_grid())


@app.command()
def doctor() -> None:
    """Look at everything that a run needs: each line is ok, or says what to do."""
    from framecast.upkeep.doctor import doctor as examine

    examine()


@app.command()
def logs(cell: CellName) -> None:
    """Everything that was logged about one cell, and how its attempts ended."""
    study = _grid()
    from framecast.upkeep.logs import show

    show(study, study.find(cell))


def _grid() -> "Grid":
    from framecast.study import reading
    from framecast.study.grid import Grid

    return Grid(reading.load())


def _expect(given: str, key: str, what: str) -> None:
    if given and given != key:
        raise UserError(
            f"{what}: asked for key {given}, but params.yaml, the code or raw files now give {key}; run again"
        )


def _job_limits() -> "tuple[Asked, float | None]":
    """What the Slurm job around us was given, and its time budget since we started; nothing outside of one."""
    from framecast.cluster.journal import Asked

    if "SLURM_JOB_ID" not in os.environ:
        return Asked(), None
    from framecast.cluster import site, slurm

    given = slurm.limits()
    if given is None:
        return Asked(), None
    left = given.seconds_left
    budget = None if left is None else time.monotonic() - STARTED + left - site.load().margin
    return Asked(given.mb, given.minutes, given.cpus), budget


def _ask_for_the_next_slice(cell: str) -> None:
    """One job trains the whole cell, slice by slice; where Slurm refuses, the engine's retry goes on."""
    from framecast.cluster import slurm

    print(f"framecast: {cell}: its time is used up; asking Slurm for the next slice", file=sys.stderr, flush=True)
    if refusal := slurm.requeue():
        print(f"framecast: {cell}: Slurm will not requeue this job: {refusal}", file=sys.stderr)


# What the operating system can refuse, said in words.
_REFUSALS = {
    errno.ENOSPC: "the disk is full; free some space and run again, nothing is lost",
    errno.EDQUOT: "the disk quota is used up; free some space and run again, nothing is lost",
    errno.EROFS: "the file system is read-only; make it writable or move the repository",
    errno.EACCES: "permission denied; make it writable for this user",
}

# In the words of torch, for CPU and GPU, and of NumPy; also of sizes that are past counting.
_OUT_OF_MEMORY = re.compile(
    r"can't allocate memory|out of memory|size calculation overflowed|array is too big|maximum allowed (size|dim)",
    re.IGNORECASE,
)


def main() -> None:
    """Run a verb; every expected failure is one line on standard error."""
    _forget_surroundings()
    try:
        app(standalone_mode=True)
    except (UserError, NotFinished) as error:
        _leave(str(error), error.exit_code)
    except OSError as error:
        if error.errno is None:  # not the system's word, so a fault of ours
            raise
        where = os.fsdecode(error.filename) if error.filename else _here()
        _leave(f"{where}: {_REFUSALS.get(error.errno, (error.strerror or '').lower())}", 1)
    except (MemoryError, RuntimeError, ValueError) as error:
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            _leave(f"{_in_short(error)}; write compile: off in params.yaml, or mend what it names", 1)
        if not (isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error))):
            raise
        told = " ".join(str(error).split())
        _leave(f"out of memory{': ' if told else ''}{told}; ask params.yaml for less", 1)
    finally:
        # What torch's modules hold is freed by the end of the process: to search it for cycles first takes half as long
        # as importing it did, and a study starts hundreds of processes.
        gc.freeze()


def _here() -> str:
    """The working folder in words, which may have been removed under somebody's feet."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "the working folder, which was removed"


def _forget_surroundings() -> None:
    """What a notebook, a desktop or a site has set for other programs, and that libraries would obey here.

    A backend that is not installed fails the import of matplotlib, warnings that are errors fail anybody's, and a
    terminal of few letters fails whatever prints one more. Figures forget a matplotlibrc in ``figures.base.style``.
    """
    os.environ.pop("MPLBACKEND", None)
    if os.environ.pop("PYTHONWARNINGS", ""):
        warnings.resetwarnings()
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)  # as Python does where nothing is set
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error has it


def _in_short(error: Exception) -> str:
    """What torch says of a compilation that failed, without the source that it tried to compile."""
    told = next((line for line in str(error).splitlines() if line.strip()), "no word")
    return f"compile: {type(error).__name__}: {' '.join(told.split())[:300]}"


def _leave(message: str, code: int) -> None:
    # In one piece also where PYTHONUNBUFFERED is set: jobs that end at once would write into each other's lines.
    sys.stderr.write(f"framecast: {message}\n")
    sys.exit(code)
