"""Human3.6M: windows from names alone, split subjects, every image checked, the licence's tree left where it is."""

import io
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from framecast.artifacts import sha256_of
from framecast.data.base import SPLITS
from framecast.data.fetching.fetch import fetch
from framecast.data.formats.human36m_images import SUBJECTS, Video, in_videos, read_image
from framecast.data.formats.sha256sums import read_sums
from framecast.data.generated import figure_in_a_room
from framecast.data.generated.figure_in_a_room import ACTIONS, CAMERAS, TAKES
from framecast.data.human36m import Human36M, write_stand_in
from framecast.data.shared.streams import StreamedPrepared
from framecast.errors import UserError

CPU = torch.device("cpu")
SIZE = 12
SMALL = {"frame_size": SIZE, "images": 20, "actions": ["Walking"], "cameras": [54138969, 60457274]}


def tensors(prepared: StreamedPrepared) -> dict[str, torch.Tensor]:
    arrays = dict(prepared.arrays) | {name: stream.array() for name, stream in prepared.streams.items()}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def quiet(_: str) -> None:
    """Nothing is said."""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """``data/raw`` with a user's tree: the stand-in's images, in a folder for each subject, listed by fetch."""
    raw = tmp_path_factory.mktemp("raw")
    for subject, action, take, camera in product(SUBJECTS, SMALL["actions"], TAKES, SMALL["cameras"]):
        folder = raw / "human36m" / f"S{subject}"
        folder.mkdir(parents=True, exist_ok=True)
        write_stand_in(folder, Video(subject, action + take, camera), count=20, side=2 * SIZE)
    fetch("human36m", raw, say=quiet)
    return raw


# --- names and windows --------------------------------------------------------------------------------


def names(take: str, count: int, *, subjects: tuple[int, ...] = SUBJECTS, without: tuple[int, ...] = ()) -> list[str]:
    """The names of ``count`` stored images of each camera; some are missing."""
    return [
        f"S{subject}/{Video(subject, take, camera).image(1 + 5 * index)}"
        for subject, camera, index in product(subjects, CAMERAS, range(count))
        if index not in without
    ]


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Callable[..., StreamedPrepared]:
    """Prepare a tree of which there are only the names."""

    def prepare(listed: list[str], **arguments) -> StreamedPrepared:
        monkeypatch.setattr(Human36M, "_listed", lambda *_: (in_videos(listed, Path("list")), {}))
        return Human36M(**arguments).prepare(Path())

    return prepare


def counts(prepared: StreamedPrepared) -> list[int]:
    return [len(prepared.arrays[f"{split}_rows"]) for split in SPLITS]


def test_the_action_of_a_take():
    actions = {Video(1, take, 1).action for take in ("Walking", "Walking 1", "Walking_2")}
    assert actions == {"Walking"}
    assert [Video(1, take, 1).action for take in ("WalkDog 1", "_ALL 1")] == ["WalkDog", "_ALL"]


def test_windows_of_a_full_tree_of_names(named):
    """Of 7 subjects and 4 cameras, 620 images of what is asked for, and fewer of three other actions."""
    listed = [*names("Walking 1", 620), *names("Directions 1", 40), *names("_ALL 1", 40), *names("WalkDog", 40)]
    assert counts(named(listed, actions=["Walking"])) == [4 * 4 * 61, 4 * 122, 2 * 4 * 122]
    everything = named(listed)
    assert len(everything.arrays["train_rows"]) == 4 * 4 * (61 + 3 + 3)
    assert not any("_ALL" in video for video in everything.facts["videos"]["train"])
    one = named(listed, cameras=[58860488], context=2, horizon=2, subsampling=1, train_stride=1)
    assert len(one.arrays["train_rows"]) == 4 * (617 + 37 + 37)
    assert one.streams["train_frames"].shape == (4 * (620 + 40 + 40), 3, 100, 100)


def test_no_window_spans_a_gap(named):
    listed = names("Walking", 60, without=(20, 41))
    assert counts(named(listed, train_stride=1, test_stride=1)) == [4 * 4 * 16, 4 * 16, 8 * 16]
    video = {1 + 5 * index: "" for index in range(60) if index not in (20, 41)}
    windows = Human36M().windows(video, 1)
    assert (np.diff(windows, axis=1) == 10).all()
    assert windows[:, 0].tolist() == [*range(1, 27, 5), *range(106, 132, 5), *range(211, 227, 5)]


def test_windows_equal_a_search_through_all_starts():
    chance = random.Random(0)
    for _ in range(50):
        there = sorted(chance.sample(range(80), 70))
        video = {1 + 5 * index: "" for index in there}
        dataset = Human36M(context=2, horizon=chance.choice([1, 3]), subsampling=chance.choice([1, 2, 3]))
        stride, length = chance.choice([1, 2, 5]), dataset.length
        expected, begin = [], 0
        for at, index in enumerate(there):
            begin = index if at == 0 or there[at - 1] != index - 1 else begin
            whole = all(other in there for other in range(index, index + length))
            if whole and (index - begin) % stride == 0:
                expected.append([1 + 5 * one for one in range(index, index + length, dataset.subsampling)])
        assert dataset.windows(video, stride).tolist() == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("notes.txt", "expected names like S11_Walking.60457274_001621.jpg, found 'notes.txt'; mend it"),
        ("S1/S1_Walking_54138969_000001.jpg", "expected names like .*, found 'S1/S1_Walking_"),
        (f"S1/S1_Walking.54138969_{10**30}.jpg", "expected names like"),
        ("other/S1_Walking.54138969_000001.jpg", "each frame once, found S1/S1_.* and other/S1_Walking"),
    ],
)
def test_names_that_do_not_fit(named, name, message):
    with pytest.raises(UserError, match=message):
        named([*names("Walking", 20), name])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"actions": ["Flying"]}, "actions: found Flying; allowed: Directions, Discussion, Greeting"),
        ({"images": 14}, "expected train sequences of subjects 1, 5, 6, 7 with 15 stored images in a row, found none"),
    ],
)
def test_arguments_that_do_not_fit(arguments, message):
    with pytest.raises(UserError, match=message):
        Human36M(source="stand-in", **{"images": 20} | arguments).prepare(Path())


# --- images -------------------------------------------------------------------------------------------


def test_the_stand_in_is_read_like_the_users_own_tree(drawn):
    stand_in, own = Human36M(source="stand-in", **SMALL).prepare(Path()), Human36M(**SMALL).prepare(drawn)
    assert (stand_in.facts["source"], own.facts["source"]) == ("stand-in", "official")
    found, expected = tensors(own), tensors(stand_in)
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert torch.equal(array, expected[name]), name


def test_sequences_show_every_second_image_of_one_video_of_their_split(drawn):
    dataset = Human36M(**SMALL)
    arrays, sums = tensors(dataset.prepare(drawn)), read_sums(drawn / "human36m" / "SHA256SUMS")
    videos = in_videos(sums, drawn)
    where: dict[bytes, set[tuple[Video, int]]] = {}  # a figure may look the same twice
    for video, images in videos.items():
        for number, name in images.items():
            image = read_image(drawn / "human36m" / name, sums[name], crop="none", size=SIZE)
            where.setdefault(image.tobytes(), set()).add((video, number))
    seen: dict[str, set[int]] = {}
    for split in SPLITS:
        opened = dataset.split(split, arrays, seed=0, device=CPU)
        assert len(opened) == len(arrays[f"{split}_group"]) > 0
        takes = {}
        for index, sequence in enumerate((opened.batch(np.arange(len(opened))) * 255).round().byte().numpy()):
            shown = [where[frame.tobytes()] for frame in sequence]
            begins = [
                (video, first)
                for video, first in shown[0]
                if all((video, first + 10 * step) in there for step, there in enumerate(shown))
            ]
            assert begins
            video = begins[0][0]
            assert video.subject == arrays[f"{split}_subject"][index]
            takes.setdefault(int(arrays[f"{split}_group"][index]), set()).add((video.subject, video.take))
        assert all(len(one) == 1 for one in takes.values())
        seen[split] = set(arrays[f"{split}_subject"].tolist())
    assert seen == {"train": {1, 5, 6, 7}, "validation": {8}, "test": {9, 11}}


def test_crop_and_reduction(tmp_path):
    image = np.zeros((40, 48, 3), np.uint8)
    image[10:30, 12:36, 0] = 200
    image[:, :, 2] = np.arange(48) * 5
    path = tmp_path / "S1_Walking.54138969_000001.jpg"
    Image.fromarray(image).save(path, quality=100, subsampling=0)
    stored = np.asarray(Image.open(path)).astype(int)
    central = read_image(path, sha256_of(path), crop="central", size=4)
    expected = stored[10:30, 12:36].reshape(4, 5, 4, 6, 3).mean((1, 3)).transpose(2, 0, 1)
    assert np.abs(central - expected).max() <= 0.51
    whole = read_image(path, sha256_of(path), crop="none", size=8)
    assert np.abs(whole - stored.reshape(8, 5, 8, 6, 3).mean((1, 3)).transpose(2, 0, 1)).max() <= 0.51


def encoded(image: Image.Image, form: str = "JPEG") -> bytes:
    written = io.BytesIO()
    image.save(written, form)
    return written.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a JPEG image, found cannot identify"),
        (encoded(Image.new("RGB", (30, 30)))[:400], "expected a JPEG image, found"),
        (encoded(Image.new("RGB", (30, 30)), "PNG"), "expected a JPEG image, found cannot identify"),
        (encoded(Image.new("L", (30, 30))), "expected an RGB image of at least 12×12 .* found L of 30×30"),
        (encoded(Image.new("RGB", (30, 11))), "at least 12×12 pixels after crop none, found RGB of 30×11"),
    ],
)
def test_what_is_listed_but_is_no_such_image(tmp_path, content, message):
    path = tmp_path / "S1_Walking.54138969_000001.jpg"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as refused:
        read_image(path, sha256_of(path), crop="none", size=12)
    assert "\n" not in str(refused.value)


@contextmanager
def changed(path: Path, content: bytes) -> Iterator[None]:
    """A file has another content for a while."""
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


def test_flipped_bytes_change_nothing_or_are_one_line(drawn):
    """Most of those in an image would decode to other pixels without a word, and those in the list shift windows."""
    chance, dataset = random.Random(0), Human36M(**SMALL)
    index = drawn / "human36m" / "SHA256SUMS"
    images = sorted((drawn / "human36m").rglob("*.jpg"))
    whole, told = tensors(dataset.prepare(drawn)), []
    for number in range(20):
        path = index if number % 2 else chance.choice(images)
        content = path.read_bytes()
        at = chance.randrange(len(content))
        flipped = content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :]
        with changed(path, flipped):
            try:
                found = tensors(dataset.prepare(drawn))
            except UserError as error:
                told.append((path == index, str(error)))
            else:  # an image between two that are shown, or its sha256
                assert found.keys() == whole.keys()
                assert all(torch.equal(found[name], whole[name]) for name in whole), path
    assert all(line.startswith(str(drawn)) and len(line.splitlines()) == 1 for _, line in told)
    assert 3 < sum(of_list for of_list, _ in told) < len(told) - 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"_000031.jpg", b"_000031.jqg", "found 'S1/.*_000031.jqg'; mend it or take it out"),
        (b"_000031.jpg", b"_000033.jpg", "found 'S1/.*_000033.jpg', which is not; put it back, or run `framecast"),
        (b"Walking.5", b"Walkinf.5", "found 'S1/S1_Walkinf.5.*', which is not"),
        (b"_000031.jpg", b"_000021.jpg", "line .*: expected one sha256 of each file, found another of 'S1/.*_000021"),
    ],
)
def test_a_changed_name_in_the_list_is_told(drawn, old, new, message):
    """Else an image would be missing, and the windows after it others."""
    index = drawn / "human36m" / "SHA256SUMS"
    with changed(index, index.read_bytes().replace(old, new, 1)), pytest.raises(UserError, match=message) as refused:
        Human36M(**SMALL).prepare(drawn)
    assert str(refused.value).startswith(str(index))


@pytest.mark.parametrize("action", ACTIONS)
def test_somebody_moves_in_every_view_of_the_stand_in(action):
    """Else there would be nothing to forecast: over a horizon a pixel of eight changes by a tenth of its range."""
    for camera in CAMERAS:
        shown = np.stack(list(figure_in_a_room.images(Video(11, action, camera), 40, 16, 0))).astype(int)
        changed = np.abs(shown[8:] - shown[:-8]).max(axis=-1) > 25
        assert changed.mean() > 1 / 8, camera


def test_each_take_of_the_stand_in_has_clothes_of_its_own():
    """Those of the test are new, but like some of training."""

    def worn(subjects: tuple[int, ...]) -> np.ndarray:
        found = []
        for subject, action, take in product(subjects, ACTIONS, TAKES):
            videos = [Video(subject, action + take, camera) for camera in CAMERAS]
            clothes = {figure_in_a_room.clothes(video, 0).tobytes() for video in videos}
            assert len(clothes) == 1  # all cameras film one take
            found.append(np.frombuffer(clothes.pop()).reshape(2, 3))
            colours = np.floor(found[-1] * 255 + 0.5).astype(np.uint8)
            image = next(figure_in_a_room.images(videos[0], 1, 48, 0))
            assert all((image == colour).all(-1).sum() > 10 for colour in colours), videos[0]
        return np.array(found)

    seen, asked = worn((1, 5, 6, 7)), worn((9, 11))
    apart = np.abs(asked[:, None] - seen[None]).max(axis=-1)
    assert (apart > 0).all()
    assert apart.min(axis=1).max() < 0.25


# --- the list -----------------------------------------------------------------------------------------


def test_fetch_fetches_nothing_and_says_where_to_register(tmp_path):
    with pytest.raises(UserError, match=r"found none; register at http://vision\.imar\.ro/human3\.6m"):
        fetch("human36m", tmp_path, say=quiet)
    assert list(tmp_path.iterdir()) == []


def test_fetch_lists_what_is_there_and_refuses_what_has_changed(tmp_path):
    folder = tmp_path / "human36m"
    folder.mkdir()
    write_stand_in(folder, Video(1, "Walking", 54138969), count=3, side=16)
    fetch("human36m", tmp_path, say=quiet)
    first = read_sums(folder / "SHA256SUMS")
    assert len(first) == 3
    write_stand_in(folder, Video(5, "Walking", 54138969), count=2, side=16)
    (folder / "S1_Walking.54138969_000006.jpg").unlink()
    fetch("human36m", tmp_path, say=quiet)
    assert len(read_sums(folder / "SHA256SUMS")) == 4
    (folder / "S1_Walking.54138969_000001.jpg").write_bytes(b"other")
    with pytest.raises(UserError, match=r"expected sha256 .* found"):
        fetch("human36m", tmp_path, say=quiet)
    (folder / "S1_Walking.54138969_000001.jpg").unlink()
    with pytest.raises(UserError, match=r"000001\.jpg: expected an image, found none"):
        read_image(folder / "S1_Walking.54138969_000001.jpg", 64 * "0", crop="none", size=8)
