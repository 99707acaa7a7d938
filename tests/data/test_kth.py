"""KTH: windows and draws against literal ones, the stand-in through the real reader, every kind of damaged file."""

import hashlib
import tracemalloc
import zipfile
from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from framecast.data import kth
from framecast.data.base import SPLITS
from framecast.data.fetching.fetch import ensure
from framecast.data.formats import kth_archives
from framecast.data.formats.kth_archives import Recordings, opened
from framecast.data.formats.kth_sequences import ACTIONS, NAME, Clip, ClipName, Segment, read_segments
from framecast.data.formats.sha256sums import read_sums, write_sums
from framecast.data.formats.video import frame_count, resized
from framecast.data.generated.human_figures import PARTS, Figure, write_stand_in
from framecast.data.kth import DENSE, KTH, PUBLISHED_WINDOWS, legacy_draws, windows
from framecast.data.shared.streams import StreamedPrepared
from framecast.errors import UserError
from framecast.study.params import Entry
from tests.conftest import ROOT

SHARED = ROOT / ".." / "shared" / "data"
needs_published = pytest.mark.skipif(not (SHARED / "kth").is_dir(), reason="needs published KTH files, absent here")
CPU = torch.device("cpu")

#: Three persons in two actions of one scenario; 36 frames are more than a running person is in view.
SMALL = {
    "train_persons": [1],
    "validation_persons": [2],
    "test_persons": [3],
    "actions": ["boxing", "running"],
    "scenarios": [1],
    "frame_size": 32,
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``data/raw`` with the stand-in for these three in ``kth``."""
    raw = tmp_path_factory.mktemp("raw")
    write_stand_in(raw / "kth", [Clip(action, person, 1) for action in SMALL["actions"] for person in (1, 2, 3)], 0)
    return raw


@pytest.fixture
def changed(small: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    for path in (small / "kth").rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(small)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    return tmp_path


def arrays_of(dataset: KTH, raw: Path = Path("no raw files are read")) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in everything(dataset.prepare(raw)).items()}


def everything(prepared: StreamedPrepared) -> dict[str, np.ndarray]:
    return {**prepared.arrays, **{name: stream.array() for name, stream in prepared.streams.items()}}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def listed_anew(raw: Path) -> None:
    """Sums of what lies there now."""
    files = [path for path in (raw / "kth").rglob("*") if path.is_file() and path.name != "SHA256SUMS"]
    sums = {str(path.relative_to(raw / "kth")): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    write_sums(raw / "kth" / "SHA256SUMS", sums)


# --- which sequences ------------------------------------------------------------------------------


def scanned(names: list[str], length: int) -> int:
    """PredRNN's windows over sorted names ``action/clip/image_0001.jpg``, one index at a time from the last."""
    index, count = len(names) - 1, 0
    while index >= length - 1:
        last, first = names[index], names[index - length + 1]
        if last[:-8] == first[:-8] and int(last[-8:-4]) - int(first[-8:-4]) == length - 1:
            count += 1
            index -= 3 if last.startswith(("jogging", "running")) else length
        else:
            index -= 1
    return count


def counted(segments: dict[Clip, tuple[Segment, ...]], length: int, persons: Collection[int]) -> int:
    return sum(
        len(windows(ranges, length, 3 if clip.action in DENSE else length))
        for clip, ranges in segments.items()
        if clip.person in persons
    )


def tree(segments: dict[Clip, tuple[Segment, ...]], persons: range) -> list[str]:
    """The names of a release as single images, from which what is in no range was removed."""
    return sorted(
        f"{clip.action}/{clip}_uncomp/image_{frame:04}.jpg"
        for clip, ranges in segments.items()
        if clip.person in persons
        for frame in {frame for first, last in ranges for frame in range(first, last + 1)}
    )


def full_size() -> dict[Clip, tuple[Segment, ...]]:
    """599 clips with ranges that touch, leave gaps, overlap and are out of order."""
    chance, segments = np.random.default_rng(0), {}
    for clip in (
        Clip(action, person, scenario) for action in ACTIONS for person in range(1, 26) for scenario in (1, 2, 3, 4)
    ):
        starts = np.cumsum(chance.integers(1, 120, 4))
        ranges = [(int(start), int(start + chance.integers(10, 130))) for start in starts]
        segments[clip] = tuple(ranges[at] for at in chance.permutation(4)[: 3 if clip.scenario == 4 else 4])
    segments[Clip("handclapping", 13, 3)] = ()
    return segments


@pytest.mark.parametrize("length", [20, 30, 50])
def test_windows_of_a_full_size_tree_of_names_are_those_of_the_published_scan(length: int) -> None:
    segments = full_size()
    for persons in (range(1, 15), range(15, 17), range(17, 26)):
        assert counted(segments, length, persons) == scanned(tree(segments, persons), length) > 100


@needs_published
def test_windows_of_the_published_ranges() -> None:
    segments = read_segments(SHARED / "kth" / NAME)
    splits = dict(zip(SPLITS, (range(1, 15), range(15, 17), range(17, 26)), strict=True))
    counts = {
        length: {split: counted(segments, length, who) for split, who in splits.items()} for length in (20, 30, 50)
    }
    assert counts == PUBLISHED_WINDOWS
    assert [counted(segments, 30, who) for who in (range(1, 17), range(17, 26))] == [8783, 5045]
    assert scanned(tree(segments, range(1, 17)), 30) == 8783


def test_other_ranges_than_the_published_ones_are_told_before_anything_is_decoded(monkeypatch) -> None:
    """By a full-size tree of names, of which no clip is there: the windows of each whole split are counted first."""
    segments = full_size()
    monkeypatch.setattr(KTH, "_recordings", lambda *_: nullcontext(Recordings(segments, {}, published=False)))
    counts = {split: counted(segments, 20, KTH().persons[split]) for split in SPLITS}
    monkeypatch.setitem(kth.PUBLISHED_WINDOWS, 20, counts)
    nothing_there = r"expected person01_|found no 2. frames in a row in 0 clips"
    with pytest.raises(UserError, match=nothing_there):
        KTH().prepare(Path())
    segments[Clip("boxing", 17, 1)] = ()
    found = counted(segments, 20, range(17, 26))
    assert found < counts["test"]
    for asked in ({}, {"train_persons": [1], "test": 9}):
        with pytest.raises(UserError, match=rf"^kth: test: expected {counts['test']} windows of .* found {found}: .*$"):
            KTH(**asked).prepare(Path())
    parts = ({"test_persons": [17, 18]}, {"actions": ["boxing"]}, {"scenarios": [1]}, {"variant": "coleman"})
    for asked in (*parts, {"leave_out": ["person17_boxing_d1"]}, {"clips": "present"}, {"horizon": 11}):
        with pytest.raises(UserError, match=nothing_there):
            KTH(**asked).prepare(Path())


def test_windows_lie_inside_the_ranges() -> None:
    assert windows([(1, 95), (96, 100), (150, 168)], 20, 20) == [1, 21, 41, 61, 81]
    assert windows([(10, 40), (5, 12)], 20, 3) == [6, 9, 12, 15, 18, 21]
    assert windows([(1, 19)], 20, 3) == []


def test_the_published_test_draws() -> None:
    """NumPy's legacy generator, called as the authors' script calls it."""
    chance = np.random.default_rng(3)
    frames = {
        Clip(a, p, s): int(chance.integers(200, 700)) for a in ACTIONS for p in range(21, 26) for s in (1, 2, 3, 4)
    }
    legacy = np.random.RandomState(42)
    drawn = legacy_draws(42, frames, 20, tuple(range(21, 26)), ACTIONS, (1, 2, 3, 4))
    for _ in range(1000):
        clip = Clip(ACTIONS[legacy.randint(6)], legacy.randint(21, 26), legacy.randint(1, 5))
        assert next(drawn) == (clip, 1 + legacy.randint(frames[clip] - 20 + 1))


@pytest.mark.parametrize("variant", ["persons", "coleman"])
def test_no_person_is_in_two_splits(variant: str) -> None:
    dataset = KTH(variant=variant)
    clips = {split: dataset.wanted(split) for split in SPLITS}
    persons = [{clip.person for clip in clips[split]} for split in SPLITS]
    assert sum(map(len, persons)) == len(set().union(*persons)) == 25
    assert persons[1] == {15, 16}
    assert persons[2] == set(range(17 if variant == "persons" else 21, 26))
    assert sum(map(len, clips.values())) == 600


def test_a_name_is_of_one_of_the_600_clips_or_of_none() -> None:
    clips = [Clip(a, p, s) for a in ACTIONS for p in range(1, 26) for s in range(1, 5)]
    allowed = TypeAdapter(list[ClipName]).validate_python([str(clip) for clip in clips])
    assert [Clip.named(name) for name in allowed] == clips
    for name in ("person00_boxing_d1", "person26_boxing_d1", "person01_boxing_d5", "person01_boxing_d1 ", "boxing"):
        assert Clip.named(name) is None
        with pytest.raises(ValidationError):
            TypeAdapter(ClipName).validate_python(name)


# --- the stand-in, through the reader -------------------------------------------------------------


def test_sequences_are_the_frames_of_their_clips(small: Path) -> None:
    dataset = KTH(**SMALL)
    arrays = arrays_of(dataset, small)
    with opened(small / "kth") as recordings:
        for number, split in enumerate(SPLITS, start=1):
            frames = {clip: np.array(list(recordings.frames(clip))) for clip in dataset.wanted(split)}
            expected = [
                resized(frames[clip][start - 1 : start + 19], 32, "area")
                for clip in frames
                for start in windows(recordings.segments[clip], 20, 3 if clip.action == "running" else 20)
            ]
            opened_split = dataset.split(split, arrays, seed=0, device=CPU)
            batch = opened_split.batch(np.arange(len(opened_split)))
            assert batch.shape == (len(expected), 20, 1, 32, 32)
            assert torch.equal(batch[:, :, 0], torch.from_numpy(np.array(expected)).float() / 255)
            assert arrays[f"{split}_group"].tolist() == [number] * len(expected)
            assert batch.std(dim=1).amax() > 0.1, "somebody moves"


def test_the_stand_in_is_the_same_everywhere_and_read_like_the_published_files(small: Path) -> None:
    made, read = KTH(source="stand-in", **SMALL).prepare(Path("none")), KTH(**SMALL).prepare(small)
    assert (made.facts["source"], read.facts["source"]) == ("stand-in", "official")
    assert "drawn by framecast" in made.facts["origin"]
    for name, array in everything(made).items():
        assert np.array_equal(array, everything(read)[name]), name
    first, other = (next(Figure(Clip("boxing", 3, 1), seed).frames()) for seed in (0, 1))
    assert not np.array_equal(first, other)


def test_figures_are_in_view_where_the_list_says_so_and_nowhere_else() -> None:
    for action in ("running", "walking", "handwaving"):
        figure = Figure(Clip(action, 7, 1), 0)
        frames = np.array(list(figure.frames())).astype(int)
        empty = np.median(frames, axis=0) if action != "handwaving" else frames[0]
        there = {frame for first, last in figure.segments for frame in range(first, last + 1)}
        seen = np.abs(frames - empty).max(axis=(1, 2)) > 30
        assert len(figure.segments) == PARTS
        assert not any(seen[frame - 1] for frame in range(1, len(frames) + 1) if frame not in there)
        assert sum(seen[frame - 1] for frame in there) > 0.8 * len(there)


def test_coleman_draws_from_whole_clips(small: Path) -> None:
    dataset = KTH(variant="coleman", train=40, validation=5, test=6, **SMALL)
    arrays = arrays_of(dataset, small)
    assert [len(dataset.split(split, arrays, seed=0, device=CPU)) for split in SPLITS] == [40, 5, 6]
    with opened(small / "kth") as recordings:
        frames = {clip: np.array(list(recordings.frames(clip))) for clip in dataset.wanted("test")}
        whole = [np.array(list(recordings.frames(clip))) for clip in dataset.wanted("train")]
    assert torch.equal(arrays["train_frames"][:, 0], torch.from_numpy(resized(np.concatenate(whole), 32, "area")))
    assert arrays["train_clips"].tolist() == [[0, len(whole[0])], [len(whole[0]), len(whole[1])]]
    draws = legacy_draws(42, {clip: len(rows) for clip, rows in frames.items()}, 20, [3], dataset.actions, [1])
    expected = [
        resized(frames[clip][first - 1 : first + 19], 32, "area") for clip, first in (next(draws) for _ in range(6))
    ]
    test = dataset.split("test", arrays, seed=9, device=CPU).batch(np.arange(6))
    assert torch.equal(test[:, :, 0], torch.from_numpy(np.array(expected)).float() / 255)


def test_training_draws_are_a_function_of_seed_and_number_alone(small: Path) -> None:
    dataset = KTH(variant="coleman", train=40, validation=1, test=1, **SMALL)
    arrays = arrays_of(dataset, small)

    def starts(seed: int, epoch: int) -> list[int]:
        split = dataset.split("train", arrays, seed=seed, device=CPU)
        split.batch(np.array([3, 1]), epoch)
        return split.starts.tolist()

    assert starts(1, 0) == starts(1, 0)
    assert len({tuple(starts(*which)) for which in ((1, 0), (1, 1), (2, 0))}) == 3
    (_, boxing), (middle, running) = arrays["train_clips"].tolist()
    for start in starts(1, 5):
        assert start <= boxing - 20 or middle <= start <= middle + running - 20, "within one clip"
    split, late = (dataset.split("train", arrays, seed=1, device=CPU) for _ in range(2))
    late.batch(np.array([0]), 7)
    assert torch.equal(split.batch(np.array([5, 2]), 1), late.batch(np.array([2, 5]), 1).flip(0))


def test_fewer_windows_are_spread_evenly(small: Path) -> None:
    every = arrays_of(KTH(**SMALL), small)
    few = arrays_of(KTH(test=3, **SMALL), small)
    frames = [every["test_frames"][start] for start in every["test_starts"]]
    assert len(few["test_starts"]) == 3
    assert torch.equal(few["test_frames"][few["test_starts"][0]], frames[0])
    assert torch.equal(few["test_frames"][few["test_starts"][2]], frames[-1])


def test_memory_holds_one_clip_whatever_there_is_to_prepare(small: Path) -> None:
    def peak(arguments: dict[str, object]) -> int:
        tracemalloc.start()
        try:
            KTH(**SMALL | arguments).prepare(small)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    one = {"train_persons": [1], "validation_persons": [], "test_persons": [2], "actions": ["boxing"]}
    peak(one)
    assert peak({}) < 1.1 * peak(one)


# --- what can be wrong ----------------------------------------------------------------------------


def refused(raw: Path, **arguments: object) -> str:
    with pytest.raises(UserError) as error:
        KTH(**SMALL | arguments).prepare(raw)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_damaged_files_are_told_in_one_line(changed: Path) -> None:
    folder = changed / "kth"
    clip, name = folder / "boxing" / "person03_boxing_d1_uncomp.avi", folder / NAME
    whole, ranges = clip.read_bytes(), name.read_bytes()

    clip.write_bytes(whole[: len(whole) // 2])
    assert f"{clip}: expected sha256" in refused(changed)
    listed_anew(changed)
    assert "person03_boxing_d1_uncomp.avi: expected" in (told := refused(changed))
    assert "leave_out: [person03_boxing_d1]" in told
    assert KTH(**SMALL, leave_out=["person03_boxing_d1"]).prepare(changed).facts["clips"]["test"] == 1

    clip.unlink()
    assert f"{clip}: expected a file with sha256" in refused(changed)
    listed_anew(changed)
    assert "expected person03_boxing_d1 and 1 more clips, found 1 missing" in (told := refused(changed))
    assert "clips: present" in told
    assert KTH(**SMALL, clips="present").prepare(changed).facts["clips"]["test"] == 1

    for wrong in ("person26_boxing_d1_uncomp.avi", "person03_boxing_d1.avi", "person03_boxing_d1_uncomp.AVI"):
        clip.with_name(wrong).write_bytes(whole)
        listed_anew(changed)
        assert f"{wrong}: expected a name like person01_walking_d1_uncomp.avi" in refused(changed)
        clip.with_name(wrong).unlink()

    clip.write_bytes(whole)
    (folder / clip.name).write_bytes(whole)
    listed_anew(changed)
    assert "expected each clip once" in refused(changed)
    (folder / clip.name).unlink()

    name.write_bytes(ranges.replace(b"133-176", b"133-177", 1))
    listed_anew(changed)
    assert "expected 177 frames, as 00sequences.txt lists 133-177, found 176" in refused(changed)
    name.write_bytes(b"\r\n".join(line for line in ranges.split(b"\r\n") if b"person03_boxing" not in line))
    listed_anew(changed)
    assert "person03_boxing_d1_uncomp.avi: expected its ranges in 00sequences.txt, found none" in refused(changed)
    marked = b"\r\n".join(
        b"person03_boxing_d1 *missing*" if b"person03_boxing" in line else line for line in ranges.split(b"\r\n")
    )
    name.write_bytes(marked)
    listed_anew(changed)
    assert "expected its ranges in 00sequences.txt, found none" in refused(changed)
    clip.unlink()
    listed_anew(changed)
    assert KTH(**SMALL).prepare(changed).facts["clips"]["test"] == 1, "marked as missing, and so it is"
    name.unlink()
    listed_anew(changed)
    assert "expected a line for 00sequences.txt, found none" in refused(changed)


def test_a_split_without_a_sequence_is_told(small: Path) -> None:
    assert "found no 60 frames in a row in 1 clips" in refused(small, horizon=50, actions=["running"])
    assert KTH(**SMALL | {"validation_persons": []}).prepare(small).streams["validation_frames"].array().shape == (
        0,
        1,
        32,
        32,
    )


def archived(raw: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a folder in six archives, which count as the published ones."""
    folder = raw / "zipped" / "kth"
    folder.mkdir(parents=True)
    for action in ACTIONS:
        with zipfile.ZipFile(folder / f"{action}.zip", "w") as archive:
            for path in sorted((raw / "kth").glob(f"{action}/*.avi")):
                archive.write(path, path.name)
        digest = hashlib.sha1((folder / f"{action}.zip").read_bytes()).hexdigest()
        monkeypatch.setitem(kth_archives.ARCHIVES_SHA1, action, digest)
    (folder / NAME).write_bytes((raw / "kth" / NAME).read_bytes())
    monkeypatch.setattr(kth_archives, "LIST_SHA256", hashlib.sha256((folder / NAME).read_bytes()).hexdigest())
    return folder


def test_archives_hold_the_same_and_are_checked(changed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zipped = archived(changed, monkeypatch)
    assert equal(arrays_of(KTH(**SMALL), zipped.parent), arrays_of(KTH(**SMALL), changed))
    path = zipped / "boxing.zip"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    digest = hashlib.sha1(content).hexdigest()
    assert f"{path}: expected sha1 {kth_archives.ARCHIVES_SHA1['boxing']}, found {digest}" in refused(zipped.parent)
    monkeypatch.setitem(kth_archives.ARCHIVES_SHA1, "boxing", digest)
    assert (told := refused(zipped.parent)).startswith(f"{path}/person0")
    assert "found: Bad CRC-32" in told
    path.unlink()
    assert "framecast fetch kth" in refused(zipped.parent)


def test_a_flipped_bit_in_the_stand_in_changes_nothing_or_is_told(changed: Path) -> None:
    dataset = KTH(**SMALL | {"actions": ["running"]})
    whole, chance = arrays_of(dataset, changed), np.random.default_rng(0)
    files = sorted(path for path in (changed / "kth").rglob("*") if path.is_file())
    told: list[str] = []
    for number in range(20):
        path = files[number % len(files)]
        content = path.read_bytes()
        damaged = bytearray(content)
        damaged[chance.integers(len(content))] ^= 1 << chance.integers(8)
        path.write_bytes(damaged)
        try:
            made = arrays_of(dataset, changed)
        except UserError as error:
            told.append(str(error))
        else:
            assert equal(made, whole), path
        path.write_bytes(content)
    assert len(told) > 15
    assert [line for line in told if "\n" in line] == []


# --- published clips ------------------------------------------------------------------------------


@needs_published
def test_three_published_clips_from_a_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMECAST_MIRROR", str(SHARED))
    ensure("kth", Entry.model_validate({"kind": "kth", "source": "official"}), tmp_path, say=lambda _: None)
    assert len(read_sums(tmp_path / "kth" / "SHA256SUMS")) == 4
    dataset = KTH(train_persons=[1], validation_persons=[], test_persons=[4], clips="present")
    prepared = dataset.prepare(tmp_path)
    assert prepared.facts["clips"] == {"train": 1, "validation": 0, "test": 2}
    assert prepared.facts["concealed_frames"] == {}
    arrays = {name: torch.from_numpy(array) for name, array in everything(prepared).items()}
    assert len(arrays["train_starts"]) == 468 // 20, "its four ranges touch"
    segments = read_segments(SHARED / "kth" / NAME)
    wanted = [
        len(windows(segments[Clip(action, 4, 1)], 20, stride)) for action, stride in (("boxing", 20), ("running", 3))
    ]
    assert len(arrays["test_starts"]) == sum(wanted)
    assert set(arrays["test_group"].tolist()) == {4}
    frames = arrays["train_frames"].float() / 255
    assert 0.3 < frames.mean() < 0.8
    assert frames.amax() > 0.8
    assert frames.amin() < 0.2
    assert frame_count(SHARED / "kth" / "person04_running_d1_uncomp.avi", "clip") == 242
