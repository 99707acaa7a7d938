"""``framecast doctor`` tells each check in one line, whatever is broken, and fails exactly when there is a problem."""

import errno
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from framecast.errors import UserError
from framecast.upkeep.doctor import doctor
from framecast.upkeep.doctor.surroundings import COMMANDS, Partition
from framecast.upkeep.links import refuse_wrong_links
from tests.conftest import ROOT, one_line

#: what a controller may answer: PARTITION|AVAILABLE|LIMIT|MEMORY|CPUS|GRES
SINFO = [
    "main*|up|1-00:00:00|16000+|8|(null)",
    "gpu|up|4:00:00|64000|16|gpu:a100:2(S:0)",
    "gpu|up|4:00:00|96000|16|gpu:h100:4",
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the tiny study, on a machine without Slurm."""
    (tmp_path / "study").mkdir()
    text = (ROOT / "tests" / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "study" / "params.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "bin").mkdir()
    for name in ("which", "sh", "bash", "sleep"):  # Snakemake asks for some on being imported
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in [*filter(lambda name: name.startswith(("FRAMECAST_", "SLURM_")), os.environ)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path / "study")
    return tmp_path / "study"


@pytest.fixture
def examined(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[], dict[str, list[str]]]:
    """Level → what was told; the verb failed exactly when there are problems, and counted them right."""

    def call() -> dict[str, list[str]]:
        failure = ""
        try:
            doctor()
        except UserError as error:
            failure = str(error)
        told: dict[str, list[str]] = {"ok": [], "warning": [], "problem": []}
        for line in capsys.readouterr().out.splitlines():
            level, about = line.split(maxsplit=1)
            told[level].append(about)
        counted = re.match(r"doctor: found (\d+) problem", failure)
        assert len(told["problem"]) == (int(counted[1]) if counted else 0)
        return told

    return call


@pytest.fixture
def slurm(folder: Path) -> Callable[[str], None]:
    """Put stand-ins for Slurm's commands on the path; ``sinfo`` is the given shell script."""

    def install(sinfo: str) -> None:
        for name in COMMANDS:
            path = folder.parent / "bin" / name
            path.write_text(f"#!/bin/sh\n{sinfo if name == 'sinfo' else 'exit 1'}\n", encoding="utf-8")
            path.chmod(0o755)

    return install


def answer(*rows: str) -> str:
    return "\n".join(f"echo '{row}'" for row in rows)


def site(text: str) -> None:
    Path("slurm").mkdir(exist_ok=True)
    Path("slurm/site.yaml").write_text(text, encoding="utf-8")


Examined = Callable[[], dict[str, list[str]]]
Install = Callable[[str], None]


def test_a_healthy_place_has_no_problem(folder: Path, examined: Examined) -> None:
    told = examined()
    assert told["problem"] == []
    assert "params.yaml: valid: 11 cells at scale tiny" in told["ok"]
    assert "dataset moving_mnist: needs no raw files" in told["ok"]
    assert any(line.startswith("Slurm: not on a cluster") for line in told["ok"])
    assert {"torch", "snakemake", "dvc", "snakemake-executor-plugin-slurm"} <= {
        line.split(":")[0] for line in told["ok"]
    }


def test_another_version_than_the_locked_one_is_a_warning(folder: Path, examined: Examined) -> None:
    Path("requirements.lock").write_text("# made\ntorch==0.0.1\n", encoding="utf-8")
    (line,) = [line for line in examined()["warning"] if line.startswith("torch: ")]
    assert "requirements.lock has 0.0.1" in line


def test_a_broken_installation_is_a_problem(folder: Path, examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framecast.upkeep.doctor.environment.PROGRAMS", {"dvc": "no_such_module"})
    (line,) = examined()["problem"]
    assert line.startswith("dvc: cannot be imported (ModuleNotFoundError: ")


def test_broken_params_are_one_problem_and_everything_else_is_still_told(folder: Path, examined: Examined) -> None:
    whole = examined()
    Path("params.yaml").write_text("seeds: [", encoding="utf-8")
    broken = examined()
    (line,) = broken["problem"]
    assert "params.yaml: line 1:" in line
    assert {one for one in whole["ok"] if not one.startswith(("params", "dataset"))} <= set(broken["ok"])
    Path("params.yaml").unlink()
    assert "params.yaml: not found" in examined()["problem"][0]


def test_raw_files_that_are_missing_or_cut_short_are_told_with_how_to_fetch_them(
    folder: Path, examined: Examined, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Path("params.yaml").read_text(encoding="utf-8").replace("source: bundled", "source: official")
    Path("params.yaml").write_text(text, encoding="utf-8")
    (line,) = examined()["problem"]
    assert line.startswith("dataset moving_mnist: data/raw/mnist/")
    assert line.endswith("is not here (4 missing, 11.6 MB); run `framecast fetch mnist`")
    cut = Path("data/raw/mnist/t10k-images-idx3-ubyte.gz")
    cut.parent.mkdir(parents=True)
    cut.write_bytes(b"short")
    told, _ = examined()["problem"]
    assert f"{cut}: expected 1648877 bytes, found 5; delete it" in told
    cut.unlink()
    monkeypatch.setenv("FRAMECAST_MIRROR", str(folder))
    assert examined()["problem"] == []
    monkeypatch.setenv("FRAMECAST_MIRROR", "/no/such/folder")
    assert examined()["problem"] == [
        "FRAMECAST_MIRROR: found '/no/such/folder'; allowed: a folder that is there, or its file:// address"
    ]


def instead(arguments: str) -> None:
    """Another dataset in the place of Moving MNIST."""
    lines = Path("params.yaml").read_text(encoding="utf-8").splitlines()
    other = f"  moving_mnist: {{{arguments}}}"
    text = "\n".join(other if line.startswith("  moving_mnist: {") else line for line in lines)
    Path("params.yaml").write_text(text, encoding="utf-8")


def test_a_list_of_own_files_stands_for_the_published_ones(folder: Path, examined: Examined) -> None:
    instead("kind: kth, context: 3, horizon: 2, frame_size: 16")
    (line,) = examined()["problem"]
    assert "data/raw/kth/00sequences.txt is not here (7 missing, some 1.15 GB)" in line
    assert "run `framecast fetch kth`" in line
    for name in ("00sequences.txt", "SHA256SUMS"):
        (folder / "data/raw/kth" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "data/raw/kth" / name).write_text(f"{'0' * 64}  00sequences.txt\n", encoding="utf-8")
    assert "dataset moving_mnist: 1 raw files of kth, 82 bytes" in examined()["ok"]


def test_a_folder_of_some_trajectories_is_not_the_whole_of_bair(folder: Path, examined: Examined) -> None:
    """The names tell, as they tell ``prepare``."""
    instead("kind: bair, context: 3, horizon: 2")
    (line,) = examined()["problem"]
    assert "bair_robot_pushing_dataset_v0.tar is not here (1 missing, 32.3 GB); run `framecast fetch bair`" in line
    names = ("train/traj_0_to_255", "train/traj_256_to_511", "test/traj_0_to_255")
    for at, name in enumerate(names):
        path = folder / f"data/raw/bair/softmotion30_44k/{name}.tfrecords"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1000))
        (line,) = examined()["problem"]
        assert (
            "test: expected files" if at < 2 else "train: expected 43264 trajectories, found 512 in 2 files"
        ) in line
    for said in ("complete: false", "train_files: 2"):
        instead(f"kind: bair, context: 3, horizon: 2, {said}")
        assert "dataset moving_mnist: 3 raw files of bair, unpacked, 3 kB" in examined()["ok"]


def test_frames_that_may_not_be_passed_on_and_a_remote(folder: Path, examined: Examined) -> None:
    """Everything that shows a frame of Human3.6M counts, unless dvc.yaml keeps it here."""
    instead("kind: human36m, context: 3, horizon: 2, frame_size: 16")
    (line,) = examined()["problem"]
    assert "SHA256SUMS is not here (1 missing); run `framecast fetch human36m`" in line
    image = Path("data/raw/human36m/S1/S1_Walking.54138969_000001.jpg")
    image.parent.mkdir(parents=True)
    image.write_bytes(bytes(1234))
    (image.parents[1] / "SHA256SUMS").write_text(f"{'0' * 64}  S1/{image.name}\n", encoding="utf-8")
    assert "dataset moving_mnist: 1 raw files of human36m, 1.23 kB" in examined()["ok"]
    Path(".dvc").mkdir()
    pipeline = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    Path("dvc.yaml").write_text(pipeline, encoding="utf-8")

    def warned() -> list[str]:
        return [line for line in examined()["warning"] if "may not be passed on" in line]

    assert warned() == []
    Path(".dvc/config").write_text("[core]\n    remote = store\n['remote \"store\"']\n    url = ../store\n")
    (line,) = warned()
    assert "sends data/processed, data/runs, data/scores, reports/figures, reports/report.html to store; if" in line
    Path("dvc.yaml").write_text(pipeline.replace("data/runs: {", "data/runs: {push: false, "), encoding="utf-8")
    (line,) = warned()
    assert "sends data/processed, data/scores, reports/figures, reports/report.html to store; if" in line
    Path("dvc.yaml").write_text(pipeline.replace(": {persist", ": {push: false, persist"), encoding="utf-8")
    assert warned() == []
    Path("dvc.yaml").write_text(pipeline, encoding="utf-8")
    instead("kind: human36m, context: 3, horizon: 2, frame_size: 16, source: stand-in")
    assert warned() == []


@pytest.mark.parametrize(
    ("remote", "level", "said"),
    [
        ("", "warning", "none is set"),
        ("url = ../store", "ok", "store in store"),
        ("url = /no/such/disk/store", "problem", "which is not there"),
        ("url = ssh://me:secret@host/place", "ok", "store at ssh://host/place, not contacted"),
        ("port = 1", "problem", "has no address"),
    ],
)
def test_the_remote_of_dvc(remote: str, level: str, said: str, folder: Path, examined: Examined) -> None:
    Path(".dvc").mkdir()
    section = f"[core]\n    remote = store\n['remote \"store\"']\n    {remote}\n" if remote else ""
    Path(".dvc/config").write_text(section, encoding="utf-8")
    (line,) = [line for line in examined()[level] if line.startswith("DVC remote: ")]
    assert said in line
    assert "secret" not in line


def test_a_file_in_the_place_of_a_folder_and_little_space(
    folder: Path, examined: Examined, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("data").touch()
    monkeypatch.setattr("framecast.upkeep.doctor.disk.FREE_GB", 1e9)
    told = examined()
    assert [line.split(":")[0] for line in told["problem"]] == ["data/"]
    assert any(line.startswith("disk: ") for line in told["warning"])


def test_folders_that_cannot_be_written(folder: Path, examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    access = os.access
    monkeypatch.setattr("os.access", lambda path, mode: mode == os.R_OK and access(path, mode))  # root may write all
    told = examined()
    assert [line.split(":")[0] for line in told["problem"]] == ["data/", "logs/", "reports/"]


def test_a_wish_to_compile_without_a_compiler(
    folder: Path, examined: Examined, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told by the doctor, and by training in one line before it begins; no programs are here."""
    from framecast.training.compilation import refuse_without_compiler

    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    assert not any(line.startswith("compile") for lines in examined().values() for line in lines)
    text = Path("params.yaml").read_text(encoding="utf-8").replace("log_every: 2", "log_every: 2, compile: default")
    Path("params.yaml").write_text(text, encoding="utf-8")
    (line,) = examined()["problem"]
    assert line.startswith("compile of seq2seq_lstm, seq2seq_convlstm: found no compiler, wanted g")
    for device, variable in (("cpu", "CXX"), ("cuda", "CC")):
        refuse_without_compiler("a", "off", device)
        with pytest.raises(UserError, match=rf"params\.yaml: compile: default for a: found no compiler.*{variable}"):
            refuse_without_compiler("a", "default", device)
        monkeypatch.setenv(variable, "no-such-compiler -O2")
        with pytest.raises(UserError, match=f"found {variable}='no-such-compiler -O2', which is no program here"):
            refuse_without_compiler("a", "default", device)
        monkeypatch.setenv(variable, "sh")
        refuse_without_compiler("a", "default", device)
    assert examined()["problem"] == []


def test_a_link_above_what_dvc_records_is_told_with_the_links_that_work(folder: Path, examined: Examined) -> None:
    scratch = folder.parent / "scratch"
    scratch.mkdir()
    Path("data").symlink_to(scratch)
    assert examined()["problem"] == []  # without DVC nobody minds
    Path(".dvc").mkdir()
    (line,) = examined()["problem"]
    assert line.startswith(f"data/: found a link to {scratch}, below which DVC records nothing; ")
    with pytest.raises(UserError, match=f"data: found a link to {scratch}"):
        refuse_wrong_links()
    subprocess.run(line[line.index("rm data") :], shell=True, check=True, env={"PATH": os.defpath})
    refuse_wrong_links()
    assert Path("data/checkpoints").resolve() == scratch / "checkpoints"
    assert Path("data/runs").is_dir()
    assert examined()["problem"] == []


def test_a_group_is_told_of_a_umask_that_keeps_it_out(folder: Path, examined: Examined) -> None:
    before = os.umask(0o022)
    try:
        assert not any(line.startswith("sharing") for line in examined()["warning"])
        folder.chmod(0o2775)
        assert any(line.startswith("sharing: this folder is a group's") for line in examined()["warning"])
        os.umask(0o002)
        assert not any(line.startswith("sharing") for line in examined()["warning"])
    finally:
        os.umask(before)


def test_what_stands_in_for_locks_is_told(folder: Path, examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"locks: {folder}: the kernel's" in examined()["ok"]

    def refused(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", refused)
    assert any("its file system has none; trainings announce themselves" in line for line in examined()["ok"])
    Path(".dvc").mkdir()
    (line,) = examined()["problem"]
    assert line.endswith("; `dvc config --local core.hardlink_lock true`")
    Path(".dvc/config").write_text("[core]\n    hardlink_lock = true\n", encoding="utf-8")
    assert examined()["problem"] == []


# --- leftovers --------------------------------------------------------------------------------------


def test_locks_of_the_dead_are_told_and_those_of_the_living_are_ok(folder: Path, examined: Examined) -> None:
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    Path(".dvc/tmp").mkdir(parents=True)
    lock = Path(".dvc/tmp/rwlock")
    lock.write_text(json.dumps({"write": {"a": {"pid": gone.pid, "cmd": "dvc repro"}}, "read": {"b": []}}))
    Path(".snakemake/locks").mkdir(parents=True)
    Path(".snakemake/locks/0.output.lock").touch()
    told = examined()
    (snakemake,) = told["problem"]
    assert "no Snakemake runs in this folder" in snakemake
    assert "`framecast resume`" in snakemake
    assert any(f"held by process {gone.pid}, which is dead" in line for line in told["warning"])

    pretended = folder.parent / "bin" / "snakemake"
    pretended.write_text("#!/bin/sh\nread line\n", encoding="utf-8")
    pretended.chmod(0o755)
    driver = subprocess.Popen([pretended], stdin=subprocess.PIPE)
    try:
        lock.write_text(json.dumps({"read": {"a": [{"pid": driver.pid, "cmd": "dvc repro"}]}}))
        told = examined()
        assert told["problem"] == []
        assert f"Snakemake: process {driver.pid} runs here and holds the lock" in told["ok"]
        assert f"DVC: process {driver.pid} runs here and holds .dvc/tmp/rwlock" in told["ok"]
    finally:
        driver.communicate(b"\n")
    lock.write_text("{", encoding="utf-8")
    assert any("rwlock cannot be read" in line for line in examined()["problem"])


# --- Slurm ------------------------------------------------------------------------------------------


def test_partitions_are_told_with_their_limits(folder: Path, examined: Examined, slurm: Install) -> None:
    slurm(answer(*SINFO, "old|down|infinite|1000|1|(null)"))
    told = examined()
    gpu = "up, limit 4:00:00, nodes up to 96000 MB and 16 CPUs, GPUs per node: gpu:a100:2, gpu:h100:4"
    assert f"partition gpu: {gpu}" in told["ok"]
    assert any(line.startswith("partition main: default, up, limit 1-00:00:00, ") for line in told["ok"])
    assert any(line.startswith("partition old: down, ") for line in told["warning"])


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [("infinite", None), ("n/a", None), ("30:00", 30), ("4:00:00", 240), ("1-00:00:00", 1440), ("2-03:04:05", 3064)],
)
def test_time_limits_are_read_as_slurm_writes_them(limit: str, minutes: int | None) -> None:
    assert Partition("a", True, True, limit, 1, 1, ()).minutes == minutes


@pytest.mark.parametrize(
    ("sinfo", "said"), [("exec sleep 60", "said nothing for"), ("echo 'sinfo: error: no way' >&2; exit 1", "no way")]
)
def test_a_controller_that_does_not_answer_is_asked_once(
    sinfo: str, said: str, folder: Path, examined: Examined, slurm: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framecast.upkeep.doctor.surroundings.PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr("framecast.upkeep.doctor.cluster.CONFIGURATION", folder / "slurm.conf")
    slurm(f"echo >> asked\n{sinfo}")
    site("partition: gpu")
    (line,) = [line for line in examined()["warning"] if line.startswith("Slurm controller: ")]
    assert said in line
    assert Path("asked").read_text() == "\n"
    (folder / "slurm.conf").touch()
    assert any(line.startswith("Slurm controller: ") for line in examined()["problem"])


def test_commands_that_are_missing(folder: Path, examined: Examined, slurm: Install) -> None:
    slurm(answer(*SINFO))
    (folder.parent / "bin" / "sbatch").unlink()
    assert any(line.startswith("Slurm: commands missing: sbatch; ") for line in examined()["problem"])


@pytest.mark.parametrize(
    ("text", "level", "said"),
    [
        ("partition: gpu\nwalltime: 240", "ok", "valid: partition gpu"),
        ("partition: nosuch", "problem", "partition: found 'nosuch'; allowed: main, gpu"),
        ("partition: main", "problem", "gpus: 1, and partition main has none"),
        ("", "problem", "gpus: 1, and partition main has none"),
        ("partition: gpu\ngpu_type: v100", "problem", "gpu_type: v100, and partition gpu has gpu:a100:2, gpu:h100:4"),
        ("partition: gpu\nmemory_mb: 200000", "warning", "set memory_mb: 96000"),
        ("partition: gpu\nwalltime: 600", "warning", "set walltime: 240"),
        ("partition: gpu\ncpus: 99", "problem", "cpus: 99, and nodes of partition gpu have 16"),
        ("partition: 'gpu; rm -rf /'", "problem", "partition"),
        ("partition: gpu\nextra: --hold --gres=gpu:2", "problem", "found --gres=gpu:2, which the Slurm plugin refuses"),
        ("partition: gpu\nextra: --hold --qos=overnight", "ok", "valid: partition gpu"),
    ],
)
def test_the_site_file_against_the_cluster(
    text: str, level: str, said: str, folder: Path, examined: Examined, slurm: Install
) -> None:
    slurm(answer(*SINFO))
    site(text)
    told = examined()
    assert any(said in line and "site.yaml" in line for line in told[level]), told
    if level != "problem":
        assert told["problem"] == []


# --- the command ------------------------------------------------------------------------------------


def test_the_command_fails_in_one_line_even_where_nothing_is_right(
    tmp_path: Path, framecast: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """A folder in which every file that is read is rubbish: no traceback, and every check has its line."""
    for name in ("params.yaml", "requirements.lock", ".dvc/config", ".dvc/tmp/rwlock", "slurm/site.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\x00\xff[[[: \n- }")
    (tmp_path / "data").write_text("not a folder")
    done = framecast("doctor", check=False, cold=True, FRAMECAST_MIRROR="/no/such/folder")
    assert done.returncode == 1
    assert re.fullmatch(r"framecast: doctor: found \d+ problems; .*", one_line(done))
    assert all(re.match(r"(ok      |warning |problem ) ", line) for line in done.stdout.splitlines()), done.stdout
    for name in ("params.yaml", "FRAMECAST_MIRROR", "data/", ".dvc/config", "rwlock", "site.yaml"):
        assert re.search(rf"^problem .*{re.escape(name)}", done.stdout, re.MULTILINE), done.stdout
