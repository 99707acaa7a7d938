"""No YAML file of a person's is misread, and none keeps its reader busy for longer than its size warrants."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize import dumps_yaml

from framecast import plain_yaml, published
from framecast.cluster import site
from framecast.errors import UserError
from framecast.study import reading
from framecast.upkeep.verify.evidence import Evidence, Finding
from framecast.upkeep.verify.record import read_lock
from tests.conftest import ROOT, one_line, run

TINY = (ROOT / "tests" / "params.yaml").read_text(encoding="utf-8")


def read(text: str, folder: Path) -> Any:
    path = folder / "some.yaml"
    path.write_text(text, encoding="utf-8")
    return plain_yaml.read(path)


def refused(text: str, folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(text, folder)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{folder / 'some.yaml'}: ")
    assert "; allowed: " in str(caught.value)
    return str(caught.value)


def doubling(levels: int, each: int) -> str:
    """A list of lists of … of 1, each level written once: ``each ** (levels - 1)`` numbers."""
    lines = ["a0: &a0 [1]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * each)}]" for level in range(1, levels)]
    return "\n".join(lines) + "\n"


BASE_60 = ("7:30:00", "-3:20", "2:00.5")
OTHERS = ("017", "0o17", "00", "0x2A", "0b110", "4_096", "1_0.5", "6e", "2023-02-01")


@pytest.mark.parametrize("written", BASE_60 + OTHERS)
def test_what_only_some_readers_take_for_a_number_is_text(tmp_path: Path, written: str) -> None:
    assert read(f"value: {written}", tmp_path) == {"value": written}
    assert plain_yaml.number(written) == written


@pytest.mark.parametrize(
    ("written", "value"), [("12", 12), ("-7", -7), ("+3", 3), ("0", 0), ("2.50", 2.5), (".5", 0.5), ("3e-4", 3e-4)]
)
def test_what_every_reader_takes_for_a_number_is_one(tmp_path: Path, written: str, value: float) -> None:
    found = read(f"value: {written}", tmp_path)["value"]
    assert (found, type(found)) == (value, type(value)) == (plain_yaml.number(written), type(value))
    assert read(f"value: '{written}'", tmp_path) == {"value": written}


def test_the_shipped_files_are_read_as_any_reader_does() -> None:
    for path in (ROOT / "params.yaml", ROOT / "slurm" / "site.yaml", *published.files()):
        assert plain_yaml.read(path) == yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("text", [doubling(10, 8), doubling(18, 2), doubling(10, 8).replace("[1]", "{x: 1}")])
def test_a_small_file_that_stands_for_a_large_one_is_refused(tmp_path: Path, text: str) -> None:
    assert f"found more than {plain_yaml.LARGEST} values" in refused(text, tmp_path)


def test_merge_keys_count_for_what_they_bring(tmp_path: Path) -> None:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 8)}]}}" for level in range(1, 10)]
    assert "found more than" in refused("\n".join(lines), tmp_path)


@pytest.mark.parametrize("text", ["x: " + "[" * 99 + "]" * 99, doubling(60, 1)])
def test_a_file_of_too_many_levels_is_refused(tmp_path: Path, text: str) -> None:
    assert f"found more than {plain_yaml.DEEPEST} levels" in refused(text, tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x: &x [1, *x]", "line 1: found an anchor that holds itself"),
        ("x: &x {<<: *x}", "found an anchor that holds itself"),
        ("x: *nowhere", "found undefined alias 'nowhere'"),
        ("a: 1\nb: 2\na: 3", "line 3: found the key 'a' for the second time"),
        ("x: !!int 017", "found the type int"),
        ("x: !!bool maybe", "found the type bool"),
        ("x: !!timestamp now", "found the type timestamp"),
        ("x: !!set {a}", "found the type set"),
        ("x: !mine 1", "found the type !mine"),
        ("? [1]\n: 2", "found unhashable key"),
        ("--- 1\n--- 2", "found another document"),
    ],
)
def test_what_is_no_plain_value_is_refused(tmp_path: Path, text: str, told: str) -> None:
    assert told in refused(text, tmp_path)


def test_aliases_and_merge_keys_go_on_working(tmp_path: Path) -> None:
    text = """
        first: {inner: [&base {<<: &root {x: 0, y: 2}, x: 1}]}
        second: {<<: *base, z: 3}
        third: {<<: [*base, *root], y: *root}
        """
    assert read(text, tmp_path) == {
        "first": {"inner": [{"x": 1, "y": 2}]},
        "second": {"x": 1, "y": 2, "z": 3},
        "third": {"x": 1, "y": {"x": 0, "y": 2}},
    }
    assert len(read(doubling(11, 2), tmp_path)["a10"]) == 2  # 2 047 times [1] or a list of it, and many more below


# --- every file that is read --------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["0o17", "017", "1_0", "10:00"])
def test_no_file_takes_such_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(TINY.replace("epochs: 2", f"epochs: {written}"), encoding="utf-8")
    with pytest.raises(UserError, match=rf'training\.epochs: found "{written}"; allowed: a whole number'):
        reading.load(path)
    path.write_text(f"cpus: {written}\n", encoding="utf-8")
    monkeypatch.setenv("FRAMECAST_SITE", str(path))
    with pytest.raises(UserError, match=rf'cpus: found "{written}"; allowed: a whole number'):
        site.load()
    path.write_text("cpus: 2\n", encoding="utf-8")
    monkeypatch.setenv("FRAMECAST_CPUS", written)
    with pytest.raises(UserError, match=rf'environment: FRAMECAST_CPUS: found "{written}"; allowed: a whole number'):
        site.load()
    text = published.files()[0].read_text(encoding="utf-8")
    for key in ("horizon: 25", "printed: 5.964e-2", "context: 25"):
        assert key in text
        path.write_text(text.replace(key, f"{key.split()[0]} {written}", 1), encoding="utf-8")
        with pytest.raises(UserError, match=rf"file\.yaml: tables.*found '{written}'"):
            published.load(path)


def test_a_name_that_looks_like_such_a_number_is_taken_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site.yaml").write_text("account: 0123\npartition: 1_000\n", encoding="utf-8")
    monkeypatch.setenv("FRAMECAST_SITE", str(tmp_path / "site.yaml"))
    monkeypatch.setenv("FRAMECAST_CPU_PARTITION", "012")
    found = site.load()
    assert (found.account, found.partition, found.cpu_partition) == ("0123", "1_000", "012")


def test_no_file_unfolds_without_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(TINY + doubling(10, 8), encoding="utf-8")
    monkeypatch.setenv("FRAMECAST_SITE", str(path))
    for load in (lambda: reading.load(path), site.load, lambda: published.load(path)):
        with pytest.raises(UserError, match="found more than 100000 values"):
            load()
    evidence, finding = _recorded(doubling(10, 8), tmp_path, monkeypatch)
    assert ": expected a DVC lock file, found line " in finding
    assert "found more than 100000 values" in finding
    assert evidence.recorded == {}


def test_what_dvc_records_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash of digits alone, a hash that could be a number, and a size: DVC quotes what it would misread itself."""
    hashes = ["1" * 32, "0" * 32, "1234e5" + "0" * 26, "012345670123" + "5" * 20, "0b" + "1" * 30, "e" * 32]
    stage = {"cmd": "train", "outs": [{"path": f"{n}", "md5": md5, "size": 10**n} for n, md5 in enumerate(hashes)]}
    evidence, finding = _recorded(dumps_yaml({"schema": "2.0", "stages": {"all": stage}}), tmp_path, monkeypatch)
    assert finding == ""
    assert evidence.recorded == {Path(f"{n}"): md5 for n, md5 in enumerate(hashes)}


def _recorded(lock: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Evidence, str]:
    """What ``framecast verify`` takes from a ``dvc.lock``, and what it has against it."""
    monkeypatch.chdir(folder)
    Path("dvc.lock").write_text(lock, encoding="utf-8")
    evidence, findings = Evidence(), list[Finding]()
    read_lock(evidence, findings, folder / "cache")
    return evidence, "\n".join(map(str, findings))


@pytest.mark.slow
def test_snakemake_reads_params_only_after_they_were_checked(study: Path) -> None:
    """Its own reader follows every alias of a file; ours has refused it by then."""
    for name in ("Snakefile", "workflow", "profiles"):
        (study / name).symlink_to(ROOT / name)
    (study / "params.yaml").write_text(TINY + doubling(10, 8), encoding="utf-8")
    told = one_line(run("framecast", "grid", cwd=study, check=False))
    assert "found more than" in told
    planned = run("snakemake", "--dry-run", cwd=study, check=False)
    assert planned.returncode == 1
    assert (planned.stdout + planned.stderr).splitlines().count(told) == 1
    assert "Traceback" not in planned.stderr
