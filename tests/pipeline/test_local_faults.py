"""What file systems and signals do to a grid: links into DVC's cache, outputs seen late, SIGTERM at any moment."""

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import STUCK_SECONDS, run
from tests.pipeline.conftest import CONVLSTM, LSTM, Clone, cell_files, probe_files

pytestmark = pytest.mark.slow

# --- links into the cache -----------------------------------------------------------------------------


def cache_of(clone: Clone) -> dict[str, tuple[str, int]]:
    """Every object in DVC's cache with its md5 and mode."""
    found = {}
    for path in (clone.folder / ".dvc" / "cache" / "files" / "md5").rglob("*"):
        if path.is_file():
            digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            found[path.parent.name + path.name] = digest, path.stat().st_mode
    return found


@pytest.mark.parametrize("kind", ["hardlink", "symlink"])
def test_what_is_made_again_never_goes_through_a_link_into_the_cache(pulled: Clone, kind: str) -> None:
    pulled("dvc", "config", "--local", "cache.type", kind)
    pulled("dvc", "checkout", "--relink")
    before = cache_of(pulled)
    assert all(name.removesuffix(".dir") == digest for name, (digest, _) in before.items())
    made = next((pulled.folder / "data" / "runs" / CONVLSTM).iterdir())
    linked = [path for path in (pulled.folder / "data").rglob("*.*") if path.is_file()]
    assert all(path.is_symlink() if kind == "symlink" else path.stat().st_nlink > 1 for path in linked)
    assert not any(path.stat().st_mode & stat.S_IWUSR for path in linked)

    seen = pulled.artefacts()
    (made / "history.csv").unlink()
    pulled("snakemake")
    assert pulled.made_since(seen) >= {f"runs/{CONVLSTM}"}
    assert not any(path.is_symlink() or path.stat().st_nlink > 1 for path in made.iterdir())

    for verb in (("prepare", "moving_mnist"), ("evaluate", CONVLSTM), ("tables",), ("report",)):
        pulled("framecast", *verb)
    written = [
        *pulled.folder.glob("data/processed/moving_mnist/*/*"),
        *pulled.folder.glob(f"data/scores/{CONVLSTM}/*/*"),
    ]
    written += [*pulled.folder.glob("reports/figures/*.svg"), pulled.folder / "reports" / "report.html"]
    assert len(written) > 8
    assert not any(path.is_symlink() or path.stat().st_nlink > 1 for path in written)
    assert cache_of(pulled) == before
    pulled.assert_quiet()


# --- outputs that arrive late ---------------------------------------------------------------------------

#: Read by every Python with this folder on its path. What a verb makes is taken out of sight as the verb ends, and put
#: back some seconds later by a process of its own, as a network file system may show it to another machine.
LATE = """
import atexit, os, pathlib, subprocess, sys

VERB, CELL = (sys.orig_argv + ["", "", ""])[2:4]


def tell(line):
    with open(os.environ["TOLD"], "a") as file:
        file.write(line + "\\n")


def late(made):
    there = [path for path in made if os.path.exists(path)]
    for path in there:
        os.rename(path, path + ".late")
    tell(f"{len(there)} files of {VERB} are late")
    back = 'sleep 3; for path; do mv "$path.late" "$path"; done'
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    subprocess.Popen(["bash", "-c", back, "bash", *there], start_new_session=True, **quiet)


if VERB in ("train", "evaluate") and sys.orig_argv[1].endswith("framecast"):
    made, real = [], pathlib.Path.replace

    def replace(self, target):
        if pathlib.Path(target).parts[:2] in (("data", "runs"), ("data", "scores")):
            made.append(os.path.abspath(target))
        return real(self, target)

    pathlib.Path.replace = replace
    tell(f"{VERB} {CELL}")
    atexit.register(late, made)
"""


def test_outputs_that_arrive_late_are_waited_for_and_not_made_twice(pulled: Clone, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(LATE)
    before, cell = pulled.artefacts(), LSTM.format(1)
    pulled.edit("params.yaml", ("hidden_size: 8", "hidden_size: 7"), ("depths: [1, 2]", "depths: [1]"))
    place = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{pulled.environment['PYTHONPATH']}", "TOLD": str(tmp_path / "told")}
    run("snakemake", "--latency-wait", "30", cwd=pulled.folder, **{**pulled.environment, **place})
    assert (tmp_path / "told").read_text().splitlines() == [
        f"train {cell}",
        "4 files of train are late",
        f"evaluate {cell}",
        "4 files of evaluate are late",
    ]
    assert pulled.made_since(before) == cell_files(cell) | probe_files(cell)
    assert pulled.planned() == set()
    assert not list(pulled.folder.rglob("*.late"))


# --- SIGTERM ------------------------------------------------------------------------------------------

#: Read by every Python with this folder on its path. A Snakemake is sent SIGTERM by itself, in its main thread, at the
#: moment that is asked for, and once more at each line of the handler that this runs. Where that hangs, it tells its
#: stack and is ended.
SIGTERM = """
import faulthandler, os, signal, sys, threading

MOMENT = os.environ.get("MOMENT", "")


def strike():
    with open(os.environ["TOLD"], "a") as file:
        file.write("SIGTERM\\n")
    os.kill(os.getpid(), signal.SIGTERM)


def again(frame, event, argument):
    if frame.f_code.co_name == "exit_gracefully":
        strike()
        return again


def struck():
    if not os.path.exists(os.environ["TOLD"]) and threading.current_thread() is threading.main_thread():
        sys.settrace(again)
        strike()
        sys.settrace(None)


if MOMENT and any(word.endswith("snakemake") for word in sys.orig_argv[1:3]):
    faulthandler.dump_traceback_later(float(os.environ["STUCK"]), exit=True)
    if MOMENT == "a job has ended":
        import snakemake.jobs

        ended = snakemake.jobs.Job.postprocess

        def postprocess(self, *arguments, **options):
            struck()
            return ended(self, *arguments, **options)

        snakemake.jobs.Job.postprocess = postprocess
    if MOMENT == "the scheduler is woken":
        notify = threading.Condition.notify

        def notifying(self, *arguments):
            if signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.SIG_IGN):
                struck()
            return notify(self, *arguments)

        threading.Condition.notify = notifying
"""

#: A driver, and a job's own Snakemake; both for a key that ``framecast prepare`` refuses.
DRIVER = "data/processed/generated_sins/00000000/manifest.json"
JOB = f"--mode remote --executor local --cores 1 --no-hooks --nolock {DRIVER}"


@pytest.mark.parametrize("moment", ["a job has ended", "the scheduler is woken"])
@pytest.mark.parametrize("arguments", [DRIVER, JOB], ids=["driver", "job"])
def test_sigterm_ends_a_driver_and_a_job_whatever_the_moment(
    fresh: Callable[[], Clone], tmp_path: Path, arguments: str, moment: str
) -> None:
    clone, told = fresh(), tmp_path / "told"
    (tmp_path / "sitecustomize.py").write_text(SIGTERM)
    place = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{clone.environment['PYTHONPATH']}", "TOLD": str(told)}
    asked = {**clone.environment, **place, "MOMENT": moment, "STUCK": str(STUCK_SECONDS)}
    done = run("snakemake", *arguments.split(), cwd=clone.folder, check=False, **asked)
    assert "Timeout" not in done.stderr, done.stderr
    assert done.returncode == 1
    assert "At least one job did not complete successfully" in done.stderr
    assert len(told.read_text().splitlines()) > 2, "the handler was interrupted, too"
