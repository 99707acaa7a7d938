"""``framecast verify`` finds every byte and every edit that it promises to find, and calls nothing else damage."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from framecast import artifacts
from framecast.errors import UserError
from framecast.study import reading
from framecast.study.grid import RUN_FILES, Grid
from framecast.upkeep.dvc_config import cache_folder
from framecast.upkeep.pruning import prune
from framecast.upkeep.verify import verify
from tests.conftest import ROOT, one_line, run

pytestmark = pytest.mark.slow

CELL = "generated_sins/seq2seq_lstm/depth-1/mse/seed-1"
VIDEO = "moving_mnist/seq2seq_convlstm/depth-1/mse/seed-1"
UNFINISHED = "generated_sins/seq2seq_lstm/depth-2/mse/seed-1"
SMALLER = {
    "seeds: [1, 2]": "seeds: [1]",
    "depths: [1, 2]": "depths: [1]",
    "baselines: [copy_last, zeros, least_squares]": "baselines: [copy_last]",
}

MAKE = """
import sys
import torch
from framecast import cli
from framecast.study import reading
from framecast.study.grid import Cell, Grid
from framecast.training.checkpoint import Checkpoints

grid = Grid(reading.load())
for dataset in grid.datasets:
    cli.app(["prepare", dataset], standalone_mode=False)
for cell in grid.cells:
    cli.app(["train", cell.name], standalone_mode=False)
for cell in grid.scored:
    cli.app(["evaluate", cell.name], standalone_mode=False)
for verb in ("tables", "report"):
    cli.app([verb], standalone_mode=False)
cell = Cell("generated_sins", "seq2seq_lstm", 2, "mse", 1)
for step in (1, 2):
    Checkpoints(grid.checkpoint_folder(cell), grid.run_key(cell)).save(step, {"weight": torch.zeros(99) + step}, {})
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study made by the real verbs, with a checkpoint, and recorded by the real DVC. Look, do not touch."""
    folder = tmp_path_factory.mktemp("made") / "study"
    folder.mkdir()
    text = (ROOT / "tests" / "params.yaml").read_text(encoding="utf-8")
    for old, new in SMALLER.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    shutil.copy(ROOT / "dvc.yaml", folder)
    shutil.copytree(ROOT / "workflow", folder / "workflow", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "src" / "framecast").mkdir(parents=True)  # what the stages watch, and no checkout: ours is what runs
    shutil.copy(ROOT / "src" / "framecast" / "__init__.py", folder / "src" / "framecast")
    (folder / "reports" / "records").mkdir(parents=True)
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text("[core]\n    analytics = false\n    no_scm = true\n", encoding="utf-8")
    run("python", "-c", MAKE, cwd=folder)
    dvc(folder, "commit", "--force")
    return folder


def dvc(folder: Path, *arguments: str) -> str:
    return run("dvc", *arguments, cwd=folder, DVC_SITE_CACHE_DIR=str(folder.parent / "dvc-site")).stdout


@pytest.fixture
def study(tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the made study as working directory."""
    folder = shutil.copytree(made, tmp_path / "study")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def findings(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """Run the verb: its lines without the last; it failed exactly when one of them is no note."""

    def call() -> list[str]:
        failure = ""
        try:
            verify(Grid(reading.load()))
        except UserError as error:
            failure = str(error)
        *lines, last = capsys.readouterr().out.splitlines()
        assert bool(failure) == any(not line.startswith("note: ") for line in lines), (failure, lines)
        assert re.fullmatch(r"\d+ files, [\d.]+ [kMG]?B hashed \(.*\): (none|\d+) damaged.*", last)
        return lines

    return call


def one(pattern: str) -> Path:
    """The first file of a pattern, as the command line names it."""
    return sorted(Path().glob(pattern))[0]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def flip(path: Path) -> None:
    """Change one bit of one byte and nothing else that the file system tells."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def cached(path: Path) -> Path:
    """DVC's copy of a file."""
    digest = md5(path)
    return Path(".dvc/cache/files/md5", digest[:2], digest[2:])


def edit(manifest: Path, *, sealed: bool = False, **changes: object) -> None:
    """Change top-level values of a manifest, as an editor would, or with a new seal over them."""
    told = json.loads(manifest.read_text(encoding="utf-8"))
    assert changes.keys() <= told.keys()
    told |= changes
    if sealed:
        del told["seal"]
        artifacts.write_json(manifest, told)
    else:
        manifest.write_text(json.dumps(told, sort_keys=True, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def forget_dvc() -> None:
    shutil.rmtree(".dvc")
    Path("dvc.lock").unlink()


# --- nothing is wrong -------------------------------------------------------------------------------


def test_an_untouched_study_is_whole_whatever_its_times_and_nothing_is_written(
    study: Path, findings: Callable[[], list[str]]
) -> None:
    for path in study.rglob("*"):
        os.utime(path, (2e9, 2e9))
    before = state_of(study)
    assert findings() == []
    assert state_of(study) == before


def state_of(folder: Path) -> dict[Path, tuple[int, int, int, bytes]]:
    """Everything that a write would change."""
    facts = {path: path.stat() for path in folder.rglob("*")}
    return {
        path: (found.st_ino, found.st_mtime_ns, found.st_mode, path.read_bytes() if path.is_file() else b"")
        for path, found in facts.items()
    }


def test_every_artefact_is_hashed(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verify(Grid(reading.load()))
    roots = ("data", "reports", ".dvc/cache/files")
    paths = [path for root in roots for path in Path(root).rglob("*") if path.is_file()]
    assert capsys.readouterr().out.startswith(f"{len(paths)} files, ")


def test_nothing_there_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, findings: Callable[[], list[str]]
) -> None:
    shutil.copy(ROOT / "tests" / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert findings() == []


def test_a_fresh_clone_and_a_study_of_other_parameters_are_whole(
    study: Path, findings: Callable[[], list[str]]
) -> None:
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("epochs: 2", "epochs: 3"))
    assert findings() == []
    shutil.rmtree(".dvc/cache")
    shutil.rmtree("data")
    shutil.rmtree("reports/figures")
    Path("reports/report.html").unlink()
    unlisted, missing = findings()
    assert unlisted.startswith("note: data/processed, data/runs, data/scores, reports/figures: ")
    assert missing.startswith("note: 1 files of dvc.lock are not here (reports/report.html …): ")


# --- one byte ---------------------------------------------------------------------------------------

FLIPPED = {
    "a model": (f"data/runs/{CELL}/*/model.safetensors", f"cell {CELL}"),
    "a history": (f"data/runs/{CELL}/*/history.csv", f"cell {CELL}"),
    "a processed array": ("data/processed/moving_mnist/*/arrays.safetensors", "dataset moving_mnist"),
    "a clip": (f"data/scores/{VIDEO}/*/clips.safetensors", f"cell {VIDEO}"),
    "scores of a baseline": ("data/scores/moving_mnist/copy_last/*/scores.csv", "cell moving_mnist/copy_last"),
    "a table": ("reports/scores.csv", "tables"),
    "a figure": ("reports/figures/*.svg", "report"),
    "the report": ("reports/report.html", "report"),
}


@pytest.mark.parametrize("with_dvc", [True, False])
@pytest.mark.parametrize("what", FLIPPED)
def test_one_byte_of_an_artefact(what: str, with_dvc: bool, study: Path, findings: Callable[[], list[str]]) -> None:
    pattern, about = FLIPPED[what]
    path = one(pattern)
    expected = sha256(path)
    flip(path)
    if not with_dvc:
        forget_dvc()
    (line,) = findings()
    assert line.startswith(f"{path} ({about}): expected sha256 {expected}, found sha256 {sha256(path)}; delete ")


def test_a_file_that_is_gone(study: Path, findings: Callable[[], list[str]]) -> None:
    path = one(f"data/runs/{CELL}/*/model.safetensors")
    expected = sha256(path)
    path.unlink()
    (line,) = findings()
    assert line.startswith(f"{path} (cell {CELL}): expected sha256 {expected}, found no file; ")


def test_one_byte_of_a_checkpoint(study: Path, findings: Callable[[], list[str]]) -> None:
    path = one(f"data/checkpoints/{UNFINISHED}/*/step-000000002-*")
    expected = sha256(path)[:16]
    flip(path)
    (line,) = findings()
    found = sha256(path)[:16]
    assert line.startswith(f"{path} (cell {UNFINISHED}): expected sha256 {expected}…, found sha256 {found}…; delete it")


def test_one_byte_of_an_object_in_the_cache(study: Path, findings: Callable[[], list[str]]) -> None:
    path = one(f"data/runs/{CELL}/*/model.safetensors")
    copy, expected = cached(path), md5(path)
    flip(copy)
    (line,) = findings()
    assert line.startswith(
        f"{copy} (DVC's copy of {path}, cell {CELL}): expected md5 {expected}, found md5 {md5(copy)}; "
    )


def test_one_byte_of_a_list_in_the_cache(study: Path, findings: Callable[[], list[str]]) -> None:
    path = one(".dvc/cache/files/md5/*/*.dir")
    flip(path)
    finding, note = sorted(findings())
    expected = path.parent.name + path.name
    assert f"{path} (DVC's copy of " in finding
    assert f": expected md5 {expected}, found md5 {md5(path)}.dir; " in finding
    assert note.startswith("note: ")


# --- where DVC keeps its cache ----------------------------------------------------------------------


@pytest.mark.parametrize("level", ["system", "global", "repo", "local"])
def test_the_cache_is_the_one_that_dvc_itself_would_use(
    level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named at any level of its configuration, and by each level against those before it."""
    monkeypatch.chdir(tmp_path)
    folders = {"repo": Path(".dvc"), "local": Path(".dvc")}
    for name in ("system", "global"):
        folders[name] = tmp_path / name
        monkeypatch.setenv(f"DVC_{name.upper()}_CONFIG_DIR", str(folders[name]))
    Path(".dvc").mkdir()
    assert cache_folder() == Path(".dvc/cache")
    for before in ("system", "global", "repo", "local"):
        folders[before].mkdir(exist_ok=True)
        file = folders[before] / ("config.local" if before == "local" else "config")
        file.write_text(f"[cache]\n    dir = /shared/{before}\n", encoding="utf-8")
        if before == level:
            break
    assert cache_folder() == Path(f"/shared/{level}")
    file.write_text("[cache]\n    dir = ../kept\n", encoding="utf-8")  # relative to the file that says so
    assert cache_folder() == Path(os.path.relpath((folders[level] / "../kept").resolve(), tmp_path))
    file.write_text("[cache\n", encoding="utf-8")
    with pytest.raises(UserError, match=rf"{file}.* cannot be read"):
        cache_folder()


@pytest.fixture
def shared(study: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of the study, moved to where the user's own configuration of DVC wants it."""
    folder = study.parent / "shared"
    shutil.move(".dvc/cache", folder)
    (study.parent / "user").mkdir()
    (study.parent / "user" / "config").write_text(f"[cache]\n    dir = {folder}\n", encoding="utf-8")
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(study.parent / "user"))
    return folder


def test_a_cache_that_projects_share_is_judged_by_what_the_lock_file_names(
    shared: Path, findings: Callable[[], list[str]]
) -> None:
    foreign = shared / "files" / "md5" / "00" / ("0" * 30)
    foreign.parent.mkdir(exist_ok=True)  # an object of ours may begin so, too
    foreign.write_text("another project's, and perhaps half-written")
    assert findings() == []
    path = one(f"data/runs/{CELL}/*/model.safetensors")
    expected = md5(path)
    copy = shared / "files" / "md5" / expected[:2] / expected[2:]
    flip(copy)
    (line,) = findings()
    assert line.startswith(f"{copy} (DVC's copy of {path}, cell {CELL}): expected md5 {expected}, ")


def test_what_is_pruned_is_deleted_when_that_cache_has_it_and_kept_otherwise(shared: Path) -> None:
    text = Path("params.yaml").read_text().replace("train: 64", "train: 32").replace("train: 8", "train: 4")
    Path("params.yaml").write_text(text)
    whole, lost = (one(f"data/processed/{name}/*") for name in ("generated_sins", "moving_mnist"))
    digest = md5(lost / "arrays.safetensors")
    (shared / "files" / "md5" / digest[:2] / digest[2:]).unlink()
    prune(Grid(reading.load()), "data")
    assert not whole.exists()
    assert not lost.exists()
    kept = Path("data/attic", *lost.parts[1:])
    assert [path.name for path in Path("data/attic").rglob("*.safetensors")] == ["arrays.safetensors"]
    assert md5(kept / "arrays.safetensors") == digest


# --- the cures --------------------------------------------------------------------------------------


def test_the_cure_of_a_damaged_artefact_brings_back_what_was_recorded(
    study: Path, findings: Callable[[], list[str]]
) -> None:
    path = one(f"data/runs/{CELL}/*/model.safetensors")
    expected = sha256(path)
    flip(path)
    (line,) = findings()
    assert f"delete it, then `dvc checkout {path}` brings back what dvc.lock records" in line
    path.unlink()
    dvc(study, "checkout", str(path))
    assert sha256(path) == expected
    assert findings() == []


def test_the_cure_of_a_damaged_object_is_a_command(study: Path, findings: Callable[[], list[str]]) -> None:
    flip(cached(one(f"data/runs/{CELL}/*/model.safetensors")))
    (line,) = findings()
    (command,) = re.findall("`(rm .*)`", line)
    subprocess.run(command, shell=True, check=True)
    assert findings() == []
    assert "up to date" in dvc(study, "status")


# --- manifests --------------------------------------------------------------------------------------

#: an edit → (manifest, changed values, what is said of it); found without DVC, since key, path and params.yaml tell
TOLD = {
    "a parameter of a run": (
        f"data/runs/{CELL}/*/run.json",
        lambda told: {"parameters": told["parameters"] | {"training": told["parameters"]["training"] | {"epochs": 9}}},
        "expected parameters.training.epochs = 2, found 9;",
    ),
    "a fingerprint of a run": (
        f"data/runs/{CELL}/*/run.json",
        lambda told: {"fingerprints": told["fingerprints"] | {"code": "0" * 64}},
        f'found "{"0" * 64}";',
    ),
    "the seed of a run": (f"data/runs/{CELL}/*/run.json", lambda told: {"seed": 7}, "expected seed = 1, found 7;"),
    "the key of a score": (f"data/scores/{VIDEO}/*/score.json", lambda told: {"key": "0" * 8}, 'found "00000000";'),
    "the run of a score": (f"data/scores/{VIDEO}/*/score.json", lambda told: {"run_key": None}, "found null;"),
    "the kind of a dataset": (
        "data/processed/moving_mnist/*/manifest.json",
        lambda told: {"parameters": told["parameters"] | {"kind": "stocks"}},
        'expected parameters.kind = "moving_mnist", found "stocks";',
    ),
    "a list cut short": (
        f"data/runs/{CELL}/*/run.json",
        lambda told: {"sha256": {name: it for name, it in told["sha256"].items() if name != "model.safetensors"}},
        "expected the sha256 of model.safetensors, found none;",
    ),
    "the key of the tables": ("data/scores/tables-*.json", lambda told: {"key": "0" * 8}, 'found "00000000";'),
}


@pytest.mark.parametrize("with_dvc", [True, False])
@pytest.mark.parametrize("what", TOLD)
def test_an_edited_manifest(what: str, with_dvc: bool, study: Path, findings: Callable[[], list[str]]) -> None:
    pattern, change, said = TOLD[what]
    manifest = one(pattern)
    edit(manifest, **change(json.loads(manifest.read_text(encoding="utf-8"))))
    if not with_dvc:
        forget_dvc()
    (line,) = findings()
    assert line.startswith(f"{manifest} (")
    assert said in line


def test_a_run_of_earlier_parameters_must_still_give_its_key(study: Path, findings: Callable[[], list[str]]) -> None:
    forget_dvc()
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("epochs: 2", "epochs: 3"))
    assert findings() == []
    manifest = one(f"data/runs/{CELL}/*/run.json")
    told = json.loads(manifest.read_text(encoding="utf-8"))
    edit(manifest, parameters=told["parameters"] | {"loss": {"mse": {"weight": 0.5}}})
    (line,) = findings()
    assert line.startswith(
        f"{manifest} (cell {CELL}): expected parameters and fingerprints that give key {told['key']}, "
    )


@pytest.mark.parametrize("text", ["", "{", "[]", '{"sha256": 1}', "\x00\xff"])
def test_a_manifest_that_is_none(text: str, study: Path, findings: Callable[[], list[str]]) -> None:
    manifest = one(f"data/runs/{CELL}/*/run.json")
    manifest.write_text(text, encoding="latin-1")
    (line,) = findings()
    assert line.startswith(f"{manifest} (cell {CELL}): expected a manifest, found ")


def test_an_edit_of_what_neither_key_nor_path_knows_breaks_the_seal(
    study: Path, findings: Callable[[], list[str]]
) -> None:
    manifest = one(f"data/runs/{CELL}/*/run.json")
    told = json.loads(manifest.read_text(encoding="utf-8"))
    steps = told["steps"]
    edit(manifest, steps=steps + 1)
    (line,) = findings()
    assert line.startswith(f"{manifest} (cell {CELL}): expected steps = {steps}, found {steps + 1}; delete it, then ")
    forget_dvc()
    (line,) = findings()
    assert line.startswith(f"{manifest} (cell {CELL}): expected content of sha256 {told['seal']}, found sha256 ")


def test_an_edit_under_a_new_seal_is_found_through_the_copy_in_the_cache_alone(
    study: Path, findings: Callable[[], list[str]]
) -> None:
    manifest = one(f"data/runs/{CELL}/*/run.json")
    steps = json.loads(manifest.read_text(encoding="utf-8"))["steps"]
    copy = cached(manifest)
    edit(manifest, sealed=True, steps=steps + 1)
    (line,) = findings()
    assert line.startswith(f"{manifest} (cell {CELL}): expected steps = {steps}, found {steps + 1}; delete it, then ")
    copy.unlink()
    (line,) = findings()
    assert line.startswith(f"note: {manifest} (cell {CELL}): dvc.lock records md5 {copy.parent.name}{copy.name}, found")
    forget_dvc()
    assert findings() == []


def test_a_sha256_edited_alone_is_found_and_blamed_on_the_manifest_where_dvc_knows_the_file(
    study: Path, findings: Callable[[], list[str]]
) -> None:
    manifest, model = one(f"data/runs/{CELL}/*/run.json"), one(f"data/runs/{CELL}/*/model.safetensors")
    listed = json.loads(manifest.read_text(encoding="utf-8"))["sha256"]
    edit(manifest, sha256=listed | {"model.safetensors": "0" * 64})
    (line,) = findings()
    assert line.startswith(f"{manifest} (cell {CELL}): expected sha256.model.safetensors = {sha256(model)} ")
    forget_dvc()
    (line,) = findings()
    assert line.startswith(f"{model} (cell {CELL}): expected sha256 {'0' * 64}, found sha256 {sha256(model)}; delete ")


def test_a_file_changed_with_its_sha256_and_seal_is_a_note_with_dvc_and_silent_without(
    study: Path, findings: Callable[[], list[str]]
) -> None:
    manifest, model = one(f"data/runs/{CELL}/*/run.json"), one(f"data/runs/{CELL}/*/model.safetensors")
    recorded = md5(model)
    flip(model)
    listed = {name: sha256(manifest.with_name(name)) for name in RUN_FILES[:-1]}
    edit(manifest, sealed=True, sha256=listed)
    (line,) = findings()
    assert line.startswith(f"note: {model} (cell {CELL}): dvc.lock records md5 {recorded}, found md5 {md5(model)}, ")
    forget_dvc()
    assert findings() == []


def test_the_same_files_made_by_other_versions_are_no_damage(study: Path, findings: Callable[[], list[str]]) -> None:
    edit(one(f"data/runs/{CELL}/*/run.json"), sealed=True, versions={"python": "3.99"}, device="another")
    (line,) = findings()
    assert line.startswith("note: ")


def test_a_lock_that_cannot_be_read_is_a_finding(study: Path, findings: Callable[[], list[str]]) -> None:
    Path("dvc.lock").write_text("<<<<<<< ours\n", encoding="utf-8")
    assert any(line.startswith("dvc.lock (DVC's record): expected a DVC lock file, found ") for line in findings())


# --- the command ------------------------------------------------------------------------------------


def test_the_command_ends_with_one_line_and_exit_code_1(study: Path) -> None:
    assert run("framecast", "verify", cwd=study).stderr == ""
    flip(one(f"data/runs/{CELL}/*/model.safetensors"))
    done = run("framecast", "verify", cwd=study, check=False, cold=True)
    assert done.returncode == 1
    assert "found 1 damaged" in one_line(done)
