"""BAIR: real sequences to their published sums, the tar like its folder, damage in one line, splits, memory."""

import hashlib
import random
import shutil
import tarfile
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file

from framecast import assemble
from framecast.artifacts import sha256_of
from framecast.data.bair import Bair, write_stand_in
from framecast.data.base import SPLITS, counter_uniforms
from framecast.data.fetching.fetch import ensure
from framecast.data.formats import softmotion
from framecast.data.formats.softmotion import FOLDER, FRAMES_EACH, Trajectory, TrajectoryFile, in_folder, read_frames
from framecast.data.formats.tfrecord import read_example, read_records, write_example, write_records
from framecast.data.generated.pushing_arm import BLOCKS, DRAWS, _scene
from framecast.data.shared.streams import Stream, StreamedPrepared, save
from framecast.errors import UserError
from framecast.study import reading
from framecast.study.grid import Grid
from framecast.study.params import Entry
from tests.conftest import ROOT

SHARED = ROOT / ".." / "shared" / "data"
CPU = torch.device("cpu")
SIZE = 16

SUMS = {
    ("test", "image_aux1"): "6e05d622be70ba1db0b78e113b56ba80670e62340faa17503402520e26120876",
    ("test", "image_main"): "c76b42ca85ecd4d537833126da545a14d3696917b83cb9eefcc7014314673ca5",
    ("train", "image_aux1"): "d6dc011021e866c2c64737baa1ae3bb47744d309b283fc02115b4ccbb5223fc4",
    ("train", "image_main"): "24ed1f52073dd213d97b01079f4ef568d23501f594b9407968a6683cfc7e9800",
    ("test", "action"): "0b8344e06ec8b295b4610514dec606ba0ecd6228878ed905034599676fc71c56",
    ("test", "endeffector_pos"): "0da38c045ebef7c8aaad7c2e5bcb552e3e4cd91309e2832a91c3d31f5384a1fc",
    ("train", "action"): "6fee1ec28dd87829cc638dce5af70907ecf84d96c2e81eb938d3a06b818b051e",
    ("train", "endeffector_pos"): "65dd103ad80ded8b07155bfac25484971355bb902a5ac62d5cbcd34ab246e389",
}
needs_sample = pytest.mark.skipif(not (SHARED / "bair").is_dir(), reason="needs the real BAIR sample, absent here")


def stand_in(**arguments) -> Bair:
    return Bair(**{"source": "stand-in", "frame_size": SIZE, "train": 5, "validation": 2, "test": 3} | arguments)


def frames_of(prepared: StreamedPrepared, split: str) -> np.ndarray:
    """As in the files: (N, T, H, W, C)."""
    return np.ascontiguousarray(prepared.streams[f"{split}_frames"].array().transpose(0, 1, 3, 4, 2))


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def tensors(prepared: StreamedPrepared) -> dict[str, torch.Tensor]:
    arrays = dict(prepared.arrays) | {name: stream.array() for name, stream in prepared.streams.items()}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


# --- real sequences -----------------------------------------------------------------------------------


@needs_sample
@pytest.mark.parametrize("camera", ["image_aux1", "image_main"])
def test_real_sequences_from_a_mirror_have_their_published_sums(camera, tmp_path, monkeypatch):
    monkeypatch.setenv("FRAMECAST_MIRROR", str(SHARED))
    ensure("bair", Entry.model_validate({"kind": "bair", "source": "official"}), tmp_path, say=lambda _: None)
    dataset = Bair(context=2, horizon=28, protocol="svg", camera=camera, validation=1, complete=False)
    prepared = dataset.prepare(tmp_path)
    assert prepared.facts["source"] == "official"
    assert prepared.facts["trajectories"] == {"train": [0, 0], "validation": [1, 1], "test": [0, 2]}
    assert digest(frames_of(prepared, "test")) == SUMS["test", camera]
    both = np.concatenate([frames_of(prepared, "train"), frames_of(prepared, "validation")])
    assert digest(both) == SUMS["train", camera]
    first = dataset.split("test", tensors(prepared), seed=0, device=CPU).batch(np.array([0]))
    assert first.shape == (1, 30, 3, 64, 64)
    assert torch.equal(
        (first[0] * 255).round().byte().permute(0, 2, 3, 1), torch.tensor(frames_of(prepared, "test")[0])
    )


@needs_sample
@pytest.mark.parametrize(("part", "count"), [("test", 3), ("train", 2)])
@pytest.mark.parametrize("key", ["action", "endeffector_pos"])
def test_real_numbers_have_their_published_sums(part, count, key):
    with next((SHARED / "bair" / FOLDER / part).glob("*.tfrecords")).open("rb") as file:
        examples = [read_example(data) for data in read_records(file, part, count)]
    assert digest(np.stack([[each[f"{t}/{key}"] for t in range(30)] for each in examples])) == SUMS[part, key]


@needs_sample
def test_a_part_of_the_published_files_is_not_taken_for_all_of_them():
    with pytest.raises(UserError, match=r"expected 43264 trajectories, found 2 in 1 files; .*complete: false"):
        Bair().prepare(SHARED)
    with pytest.raises(UserError, match="expected 256 trajectories, found 2"):
        Bair(train_files=1).prepare(SHARED)


# --- the stand-in, through the same reader ------------------------------------------------------------


def test_the_stand_in_is_written_and_read_as_the_published_files_are(tmp_path):
    folder = tmp_path / "bair" / FOLDER
    write_stand_in(folder, "train", 0, 3, size=SIZE)
    write_stand_in(folder, "train", 4, 6, size=SIZE)
    write_stand_in(folder, "test", 0, 2, size=SIZE)
    drawn = stand_in().prepare(Path("nothing is read here"))
    assert drawn.facts["source"] == "stand-in"
    files = {part: in_folder(folder, part) for part in ("train", "test")}
    read = np.stack([frames for file in files["train"] for _, frames in read_frames(file, "image_aux1", SIZE)])
    assert np.array_equal(read[:5, :20], frames_of(drawn, "train"))
    assert np.array_equal(read[5:, :20], frames_of(drawn, "validation"))
    mirrored = frames_of(stand_in(camera="image_main").prepare(tmp_path), "test")
    assert not np.array_equal(mirrored, frames_of(drawn, "test"))
    again = stand_in(data_seed=1).prepare(tmp_path)
    assert not np.array_equal(frames_of(again, "train"), frames_of(drawn, "train"))


def test_the_stand_in_moves_at_varying_speed_and_pushes_blocks():

    pushed = 0
    for number in range(40):
        scene = _scene(counter_uniforms(0, 0, number, 1, DRAWS)[0])
        speed = np.linalg.norm(np.diff(scene.gripper, axis=0), axis=1)
        assert speed.max() > 1.3 * speed.min()
        gap = np.linalg.norm(scene.blocks - scene.gripper[:, None], axis=2)
        assert gap.shape == (FRAMES_EACH, BLOCKS)
        pushed += (np.abs(np.diff(scene.blocks[10:], axis=0)) > 1e-3).any()
    assert pushed >= 20


def test_no_trajectory_is_in_two_splits_and_every_sequence_knows_its_own():
    prepared = stand_in(protocol="windows", context=4, horizon=12, train=33, validation=6).prepare(Path())
    arrays = tensors(prepared)
    train, validation = (set(arrays[f"{split}_group"].tolist()) for split in ("train", "validation"))
    assert train == set(range(33))
    assert validation == set(range(33, 39))
    contents = [{one.numpy().tobytes() for one in arrays[f"{split}_frames"]} for split in SPLITS]
    assert len(set.union(*contents)) == sum(map(len, contents)) == 42
    for split in SPLITS:
        opened = stand_in(protocol="windows", context=4, horizon=12).split(split, arrays, seed=0, device=CPU)
        assert len(opened) == len(arrays[f"{split}_group"]) == 15 * len(arrays[f"{split}_frames"])
        groups, base = arrays[f"{split}_group"], int(arrays[f"{split}_group"][0])
        for index in (0, 7, 15, len(opened) - 1):
            expected = arrays[f"{split}_frames"][int(groups[index]) - base][index % 15 : index % 15 + 16]
            assert torch.equal(opened.batch(np.array([index]))[0], expected.float() / 255)


# --- counts from names alone --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full_tree(tmp_path_factory) -> Path:
    """Empty files under all the published names."""
    raw = tmp_path_factory.mktemp("full")
    for part, count in softmotion.TRAJECTORIES.items():
        (raw / "bair" / FOLDER / part).mkdir(parents=True)
        for first in range(0, count, 256):
            (raw / "bair" / FOLDER / part / f"traj_{first}_to_{first + 255}.tfrecords").touch()
    return raw


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, (43_008, 256, 200)),
        ({"protocol": "svg", "context": 2, "horizon": 28}, (43_008, 256, 256)),
        ({"protocol": "windows", "context": 4, "horizon": 12}, (648_960 - 3_840, 3_840, 3_840)),
        ({"protocol": "windows", "context": 2, "horizon": 28}, (43_008, 256, 256)),
        ({"train_files": 3}, (512, 256, 200)),
        ({"train_files": 169}, (43_008, 256, 200)),
        ({"train": 1000, "validation": 100, "test": 50}, (1000, 100, 50)),
    ],
)
def test_sequence_counts_of_the_whole_dataset(full_tree, arguments, expected):
    prepared = Bair(**arguments).prepare(full_tree)
    assert tuple(len(prepared.arrays[f"{split}_group"]) for split in SPLITS) == expected
    assert prepared.facts["train_files"] == arguments.get("train_files", 169)
    trajectories = [prepared.streams[f"{split}_frames"].shape[0] for split in SPLITS]
    ends = prepared.facts["trajectories"]
    assert [last - first + 1 for first, last in ends.values()] == trajectories
    assert ends["train"][1] < ends["validation"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda train: (train / "traj_256_to_511.tfrecords").unlink(), "begins with trajectory 256, found 512"),
        (lambda train: (train / "traj_256_to_300.tfrecords").touch(), "begins with trajectory 301, found 256|512"),
        (lambda train: (train / "traj_x.tfrecords").touch(), "expected a name like"),
        (lambda train: (train / f"traj_0_to_{10**30}.tfrecords").touch(), "expected a name like"),
        (lambda train: (train / "traj_9_to_8.tfrecords").touch(), "expected a name like"),
        (lambda train: (train / "traj_42752_to_43007.tfrecords").unlink(), "begins with trajectory 42752, found 43008"),
        (lambda train: (train / "traj_43008_to_43263.tfrecords").unlink(), "expected 43264 trajectories, found 43008"),
        (lambda train: shutil.rmtree(train), "found none"),
    ],
)
def test_names_that_do_not_fit(full_tree, tmp_path, change, message):
    shutil.copytree(full_tree, tmp_path, dirs_exist_ok=True)
    change(tmp_path / "bair" / FOLDER / "train")
    with pytest.raises(UserError, match=message):
        Bair().prepare(tmp_path)


@pytest.mark.parametrize("arguments", [{"train": 43_100}, {"validation": 43_264}, {"test": 300}])
def test_more_trajectories_than_there_are(full_tree, arguments):
    with pytest.raises(UserError, match=r"expected .* found"):
        Bair(**arguments).prepare(full_tree)


# --- damage -------------------------------------------------------------------------------------------


def frames_in(folder: Path) -> np.ndarray:
    files = [file for part in ("train", "test") for file in in_folder(folder, part)]
    return np.stack([frames for file in files for _, frames in read_frames(file, "image_aux1", SIZE)])


def test_flipped_bytes_and_early_ends_are_one_line(tmp_path):
    paths = [write_stand_in(tmp_path, part, 0, 2, size=SIZE) for part in ("train", "test")]
    whole, chance = frames_in(tmp_path), random.Random(0)
    for attempt in range(26):
        path = chance.choice(paths)
        content = path.read_bytes()
        if attempt < 20:
            at = chance.randrange(len(content))
            damaged = content[:at] + bytes([content[at] ^ chance.randrange(1, 256)]) + content[at + 1 :]
        else:
            damaged = content[: -(1, 10, 13, 200, len(content) // 3 + 5, len(content) // 3)[attempt - 20]]
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=rf"^{path}, record [123]: expected .*, found .*$"):
            frames_in(tmp_path)
        path.write_bytes(content)
    assert np.array_equal(frames_in(tmp_path), whole)


def a_trajectory(width: int = SIZE) -> Trajectory:
    image = np.zeros((30, SIZE, width, 3), np.uint8)
    return Trajectory(image, image, actions=np.zeros((30, 4)), positions=np.zeros((30, 3)))


@pytest.mark.parametrize(("width", "found"), [(SIZE + 1, 816), (0, 0)])
def test_another_image_size_is_one_line(tmp_path, width, found):
    softmotion.write_trajectories(tmp_path, "test", 0, 1, [a_trajectory(), a_trajectory(width)])
    told = rf"record 2: expected 768 bytes \(16×16×3\) under 0/image_aux1/encoded, found {found}$"
    with pytest.raises(UserError, match=r"traj_0_to_1.tfrecords, " + told):
        list(read_frames(in_folder(tmp_path, "test")[0], "image_aux1", SIZE))


def test_a_missing_key_and_a_key_of_another_kind_are_one_line(tmp_path):
    path = tmp_path / "test" / "traj_0_to_0.tfrecords"
    path.parent.mkdir()
    images: dict = {f"{t}/image_aux1/encoded": bytes(SIZE * SIZE * 3) for t in range(30)}
    del images["12/image_aux1/encoded"]
    for wrong, message in (
        ({}, "record 1: expected the key 12/image_aux1/encoded, found 29 others"),
        ({"12/image_aux1/encoded": np.zeros(4, np.float32)}, "one value of bytes under 12/image_aux1/encoded, found 4"),
    ):
        write_records(path, [write_example(images | wrong)])
        with pytest.raises(UserError, match=message):
            list(read_frames(in_folder(tmp_path, "test")[0], "image_aux1", SIZE))
    write_records(path, [b"\x0a\xff no example"])
    with pytest.raises(UserError, match=r"record 1: expected a tf\.train\.Example"):
        list(read_frames(in_folder(tmp_path, "test")[0], "image_aux1", SIZE))


def test_a_damaged_record_in_the_middle_leaves_nothing_half_made(tmp_path, monkeypatch):
    """It is met while the frames stream into the file, behind a whole one."""
    monkeypatch.chdir(tmp_path)
    folder = Path("data", "raw", "bair", FOLDER)
    path = write_stand_in(folder, "train", 0, 2, size=64)
    write_stand_in(folder, "test", 0, 0, size=64)
    tree = yaml.safe_load((ROOT / "tests" / "params.yaml").read_text())
    tree["datasets"]["bair"] = {"kind": "bair", "validation": 1, "test": 1, "complete": False}
    grid = Grid(reading.resolve(tree))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + b"!" + whole[len(whole) // 2 + 1 :])
    with pytest.raises(UserError, match=rf"^{path}, record 2: expected .*, found .*$"):
        assemble.prepare(grid, "bair")
    assert [str(found) for found in Path("data").rglob("*") if Path("data", "raw") not in (found, *found.parents)] == []
    path.write_bytes(whole)
    assemble.prepare(grid, "bair")
    assert sorted(found.name for found in Path("data/processed/bair").glob("*/*")) == [
        "arrays.safetensors",
        "manifest.json",
    ]


# --- the tar ------------------------------------------------------------------------------------------


@pytest.fixture
def packed(tmp_path, monkeypatch) -> Path:
    """``data/raw`` with a tar of real size frames in the place of the published one, its folder outside of it."""
    folder = tmp_path / "unpacked" / "bair" / FOLDER
    write_stand_in(folder, "train", 0, 1, size=64)
    write_stand_in(folder, "train", 2, 2, size=64)
    write_stand_in(folder, "test", 0, 0, size=64)
    tar = tmp_path / "raw" / "bair" / softmotion.TAR
    tar.parent.mkdir(parents=True)
    with tarfile.open(tar, "w") as archive:
        for path in sorted(folder.rglob("*"), reverse=True):
            archive.add(path, str(path.relative_to(folder.parent)), recursive=False)
        archive.add(__file__, f"{FOLDER}/test/README")
    monkeypatch.setattr(softmotion, "TAR_SHA256", sha256_of(tar))
    return tmp_path


def test_the_tar_is_read_where_it_lies_and_like_its_folder(packed):
    dataset = Bair(validation=1, test=1, complete=False)
    from_tar, from_folder = dataset.prepare(packed / "raw"), dataset.prepare(packed / "unpacked")
    for split, count in zip(SPLITS, (2, 1, 1), strict=True):
        assert len(frames_of(from_tar, split)) == count
        assert np.array_equal(frames_of(from_tar, split), frames_of(from_folder, split))
    assert [path.name for path in (packed / "raw" / "bair").iterdir()] == [softmotion.TAR]


def test_an_altered_tar_is_one_line(packed):
    tar = packed / "raw" / "bair" / softmotion.TAR
    content = tar.read_bytes()
    for damaged in (content[:-1], content[: len(content) // 2], b"", content.replace(b"traj_2", b"traj_3")):
        tar.write_bytes(damaged)
        with pytest.raises(UserError, match=f"{softmotion.TAR}: expected sha256 .* found"):
            Bair(complete=False).prepare(packed / "raw")
    tar.unlink()
    with pytest.raises(UserError, match=r"found none; run `framecast fetch bair`"):
        Bair(complete=False).prepare(packed / "raw")


# --- memory -------------------------------------------------------------------------------------------


def test_a_stream_is_stored_as_safetensors_reads_it(tmp_path):
    blocks = [np.full((n, 3), n, np.uint8) for n in (1, 2, 4)]
    arrays = {"group": np.arange(7, dtype=np.int32), "empty": np.empty((0, 2), np.float32)}
    save(tmp_path / "file", arrays, {"frames": Stream((7, 3), lambda: iter(blocks))})
    found = load_file(tmp_path / "file")
    assert found.keys() == {"group", "empty", "frames"}
    assert np.array_equal(found["frames"], np.concatenate(blocks))
    for name, array in arrays.items():
        assert np.array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    with pytest.raises(ValueError, match="expected 8 rows, found 7"):
        save(tmp_path / "file", {}, {"frames": Stream((8, 3), lambda: iter(blocks))})
    with pytest.raises(ValueError, match="expected rows"):
        save(tmp_path / "file", {}, {"frames": Stream((7, 4), lambda: iter(blocks))})


def test_memory_does_not_grow_with_the_dataset(tmp_path):
    path = write_stand_in(tmp_path, "train", 0, 0, size=32)

    def peak(files: int) -> int:
        listed = [TrajectoryFile(n, n, str(path), lambda: path.open("rb")) for n in range(files)]
        blocks = partial(stand_in(frame_size=32)._blocks, listed, 0, files)
        tracemalloc.start()
        save(tmp_path / f"of {files}", {}, {"frames": Stream((files, 20, 3, 32, 32), blocks)})
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(8) < 1.1 * peak(2)
    assert (tmp_path / "of 8").stat().st_size > 8 * 20 * 3 * 32 * 32
