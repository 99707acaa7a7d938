"""A clip of anybody's comes out upright, at the right rate and levels, or is refused in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from framecast.data.bair import Bair
from framecast.data.base import Dataset
from framecast.data.formats.video import grey_frames, resized
from framecast.data.generated_sins import GeneratedSins
from framecast.data.kth import KTH
from framecast.data.moving_mnist import MovingMNIST
from framecast.errors import UserError
from framecast.predict.clip import Clip, Wanted, read
from framecast.predict.notes import Notes
from tests.conftest import ROOT
from tests.predict.clips import LEVELS, quarters, seen, write

CONTEXT, HORIZON, SIZE = 3, 2, 16
GREY = MovingMNIST(context=CONTEXT, horizon=HORIZON, source="bundled", frame_size=SIZE, digit_size=8)
PEOPLE = KTH(context=CONTEXT, horizon=HORIZON, frame_size=SIZE)
COLOUR = Bair(context=CONTEXT, horizon=HORIZON, source="stand-in", frame_size=SIZE)
SERIES = GeneratedSins(context=5, horizon=5)
CLIPS = ROOT / ".." / "shared" / "data" / "kth"


def converted(path: Path, data: Dataset = GREY, **wanted: Any) -> tuple[Clip, Notes]:
    notes = Notes()
    kinds = {KTH: "kth", Bair: "bair"}
    given = data.context, data.horizon, Wanted(**wanted)
    return read(path, data, kinds.get(type(data), "other"), *given, notes), notes


def refused(path: Path, data: Dataset = GREY, **wanted: Any) -> str:
    with pytest.raises(UserError) as error:
        converted(path, data, **wanted)
    assert "\n" not in str(error.value)
    return str(error.value)


def assert_shows(clip: Clip, expected: np.ndarray, within: float = 1.0) -> None:
    """Every frame, observed or not, shows these quarters to within some levels."""
    for frame in (*clip.context, *clip.truth):
        assert np.abs(seen(frame) - expected).max() <= within, seen(frame)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ({}, {"range": "limited", "audio": None, "rotation": None}),
        ({"full": True}, {"range": "full"}),
        (
            {"pixels": "yuvj420p", "codec": "mjpeg", "full": True, "options": {"qmin": "1", "qmax": "1"}},
            {"range": "full"},
        ),
        ({"pixels": "yuv420p10le"}, {"depth": "10 bits"}),
        ({"pixels": "yuv420p10le", "full": True}, {"depth": "10 bits", "range": "full"}),
        ({"pixels": "gray", "codec": "ffv1"}, {"range": None}),
        ({"pixels": "bgr0", "codec": "ffv1"}, {"colour": None}),
        ({"pixels": "yuyv422", "codec": "rawvideo"}, {"range": "limited"}),
    ],
)
def test_levels_are_right_to_one_whatever_depth_and_range(tmp_path: Path, made: dict, told: dict) -> None:
    suffix = "avi" if made.get("codec") == "rawvideo" else "mkv"
    clip, notes = converted(write(tmp_path / f"clip.{suffix}", [quarters()] * 5, **made))
    assert_shows(clip, np.array(LEVELS), within=2 if made.get("codec") == "mjpeg" else 1)
    for about, words in told.items():
        assert (about not in notes.conversions) if words is None else notes.conversions[about].startswith(words)


@pytest.mark.parametrize("turned", [90, 180, 270])
def test_a_turned_clip_stands_upright(tmp_path: Path, turned: int) -> None:
    """As a telephone writes it: the picture lies on its side, and the file says by how much it is to be turned."""
    lying = np.rot90(quarters(), -turned // 90)
    path = write(tmp_path / "clip.mp4", [lying] * 5, codec="mpeg4", turned=turned, options={"qscale": "1"})
    clip, notes = converted(path)
    assert_shows(clip, np.array(LEVELS), within=4)
    assert notes.conversions["rotation"] == f"by {turned}° counter-clockwise, as the file says"


def test_sound_is_dropped_and_an_odd_height_kept_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mkv", [quarters(49, 63)] * 5, pixels="yuv444p", sound=True)
    clip, notes = converted(path)
    assert_shows(clip, np.array(LEVELS))
    assert notes.conversions["audio"] == "dropped (1 track)"
    assert notes.conversions["size"].startswith("63×49 to 16×16, each side by itself")


def test_what_a_decoder_finds_damaged_is_warned_of(tmp_path: Path) -> None:
    """FFV1 gives a frame whose checksum is wrong like any other, and FFmpeg only writes that to its log."""
    noise = np.random.default_rng(0).integers(0, 256, (5, 48, 64), dtype=np.uint8)
    path = write(tmp_path / "clip.mkv", list(noise), pixels="gray", options={"level": "3"})
    assert converted(path)[1].warnings == {}
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    assert "slice CRC mismatch" in converted(path)[1].warnings["decoder"]


def test_fit_says_what_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mkv", [quarters(32, 64)] * 5)
    padded, notes = converted(path, fit="pad")
    assert (padded.context[0, 0, :4] == 0).all()
    assert (padded.context[0, 0, -4:] == 0).all()
    assert padded.context[0, 0, 4:12].min() > 0
    assert notes.conversions["size"] == "64×32 to 16×16, with black above and below it"
    cropped, notes = converted(path, fit="crop")
    assert_shows(cropped, np.array(LEVELS))
    assert notes.conversions["size"] == "64×32 to 16×16, of which the middle 32×32 is kept"
    assert refused(path, fit="fill") == "--fit: found fill; allowed: stretch, pad, crop"


def test_what_is_transparent_lies_over_black(tmp_path: Path) -> None:
    half = np.dstack([quarters()] * 3 + [np.full((48, 64), 128, np.uint8)])
    clip, notes = converted(write(tmp_path / "clip.mov", [half] * 5, codec="qtrle", pixels="argb"))
    assert_shows(clip, np.array(LEVELS) * 128 / 255, within=1.5)
    assert notes.conversions["alpha"] == "what is transparent lies over black"
    opaque = np.dstack([quarters()] * 3 + [np.full((48, 64), 255, np.uint8)])
    clip, notes = converted(write(tmp_path / "opaque.mov", [opaque] * 5, codec="qtrle", pixels="argb"))
    assert_shows(clip, np.array(LEVELS))
    assert "alpha" not in notes.conversions


def test_the_alpha_plane_of_a_webm_is_not_lost(tmp_path: Path) -> None:
    """FFmpeg's own VP9 decoder passes it over, so what is transparent would come out as whatever lies under it."""
    hidden = np.dstack([quarters()] * 3 + [np.where(quarters() > 100, 0, 255).astype(np.uint8)])
    path = write(tmp_path / "clip.webm", [hidden] * 5, codec="libvpx-vp9", pixels="yuva420p", options={"lossless": "1"})
    clip, notes = converted(path)
    assert_shows(clip, np.array([[0, 0], [90, 20]]), within=2)
    assert "alpha" in notes.conversions


def numbered(count: int) -> list[np.ndarray]:
    """Frames that say their number, from 0, by their level."""
    return [np.full((16, 16), 10 + number, np.uint8) for number in range(count)]


def numbers(clip: Clip) -> list[int]:
    return [round(float(frame.mean()) * 255) - 10 for frame in (*clip.context, *clip.truth)]


def test_a_varying_rate_is_resampled_by_time_stamps(tmp_path: Path) -> None:
    """Every frame is the one that a player shows then, at 0, 40, 80, 120 and 160 ms."""
    stamps = [0, 10, 20, 30, 75, 85, 130, 131, 150, 170, 210]
    path = write(tmp_path / "clip.mkv", numbered(11), pixels="gray", milliseconds=stamps)
    clip, notes = converted(path, PEOPLE)
    assert numbers(clip) == [0, 3, 4, 5, 8]
    assert clip.rate == 25
    assert notes.conversions["rate"].startswith(
        "a variable rate, resampled by time stamps to 25: of 9 frames 5 kept, 4 dropped"
    )
    # A system without a rate of its own sees the clip at the rate that most of its frames have.
    doubled, notes = converted(
        write(tmp_path / "gap.mkv", numbered(8), pixels="gray", milliseconds=[0, 40, 80, 200, 240, 280, 320, 360])
    )
    assert numbers(doubled) == [0, 1, 2, 2, 2]
    told = "a variable rate, resampled by time stamps to 25: of 3 frames 3 kept, 0 dropped, 2 shown again"
    assert notes.conversions["rate"] == told


def test_a_thousand_frames_a_second_are_25_of_them(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mkv", numbered(200), pixels="gray", rate=1000)
    clip, notes = converted(path, PEOPLE)
    assert numbers(clip) == [0, 40, 80, 120, 160]
    assert notes.conversions["rate"].startswith(
        "1000 frames a second, resampled by time stamps to 25: of 161 frames 5 kept, 156 dropped"
    )
    clip, notes = converted(path)
    assert numbers(clip) == [0, 1, 2, 3, 4]
    assert notes.conversions["rate"] == "1000 frames a second, each frame taken as one step (--fps resamples)"
    assert numbers(converted(path, fps=100.0)[0]) == [0, 10, 20, 30, 40]


def test_a_slower_clip_shows_frames_again_and_the_same_rate_changes_none(tmp_path: Path) -> None:
    slow, notes = converted(
        write(tmp_path / "slow.mkv", numbered(5), pixels="gray", milliseconds=[0, 80, 160, 240, 320]), PEOPLE
    )
    assert numbers(slow) == [0, 0, 1, 1, 2]
    assert "shown again" in notes.conversions["rate"]
    same, notes = converted(write(tmp_path / "same.mkv", numbered(5), pixels="gray"), PEOPLE)
    assert numbers(same) == [0, 1, 2, 3, 4]
    assert "rate" not in notes.conversions


def test_where_observation_begins(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mkv", numbered(9), pixels="gray")
    clip, _ = converted(path, start=6)
    assert (numbers(clip), clip.first) == ([5, 6, 7, 8], 6)
    clip, _ = converted(path, last=True)
    assert (numbers(clip), len(clip.truth), clip.first) == ([6, 7, 8], 0, 7)
    assert "found 2 frames from frame 8 on" in refused(path, start=8)
    assert refused(path, start=2, last=True) == "--start and --last: found both; allowed: one of them"


def test_a_cut_is_warned_of_and_motion_is_not(tmp_path: Path) -> None:
    still, other = quarters(), quarters(levels=LEVELS[::-1])
    _, notes = converted(write(tmp_path / "cut.mkv", [still, still, other, other, other]))
    assert notes.warnings["a cut"].startswith("between frames 2 and 3, among the observed frames")
    moving = [np.roll(still, 4 * step, axis=1) for step in range(5)]
    _, notes = converted(write(tmp_path / "moving.mkv", moving))
    assert notes.warnings == {}


def test_hdr_is_refused_with_the_command_that_helps(tmp_path: Path) -> None:
    for transfer, name in ((16, "PQ"), (18, "HLG")):
        path = write(tmp_path / f"{name}.mkv", [quarters()] * 5, pixels="yuv420p10le", transfer=transfer)
        told = refused(path)
        assert f"found HDR, {name}" in told
        assert f"ffmpeg -i {name}.mkv -vf zscale" in told


def test_colours_are_right_for_a_system_of_colour_and_grey_for_one_of_grey(tmp_path: Path) -> None:
    red = np.zeros((48, 64, 3), np.uint8)
    red[...] = (200, 60, 30)
    luma = 0.299 * 200 + 0.587 * 60 + 0.114 * 30
    for full in (False, True):
        path = write(tmp_path / f"{full}.mkv", [red] * 5, pixels="yuv444p", full=full)
        clip, _ = converted(path, COLOUR)
        assert np.abs(clip.context[0].mean(axis=(1, 2)) * 255 - (200, 60, 30)).max() <= 3
        grey, notes = converted(path)
        assert abs(grey.context.mean() * 255 - luma) <= 1.5
        assert notes.conversions["colour"].startswith("to grey levels")
    clip, notes = converted(write(tmp_path / "grey.mkv", [quarters()] * 5, pixels="gray"), COLOUR)
    assert (clip.context[:, 0] == clip.context[:, 2]).all()
    assert notes.conversions["colour"] == "grey, repeated in red, green and blue"


def test_what_is_no_clip_is_told_in_one_line(tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("This is not a film.\n" * 50)
    assert f"{text}: expected a video that is what its name says, found " in refused(text)
    short = write(tmp_path / "short.mkv", [quarters()] * 2)
    assert refused(short) == f"{short}: expected at least 3 frames, which the system observes, found 2 frames"
    misnamed = write(tmp_path / "clip.avi", [quarters()] * 5).rename(tmp_path / "clip.mp4")
    assert "expected a video that is what its name says" in refused(misnamed)
    assert "found no such file" in refused(tmp_path / "none.mp4")
    assert "allowed for a system of video" in refused(Path(__file__))
    changing = tmp_path / "series.csv"
    changing.write_text("1\n2\n")
    assert "found .csv; allowed for a system of video" in refused(changing)


# --- images and arrays ------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(8, 13):
        Image.fromarray(quarters()).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def test_a_folder_is_read_by_its_numbers_and_a_gap_refused(folder: Path) -> None:
    for number in range(8, 13):
        Image.fromarray(np.full((16, 16), 2 + number, np.uint8)).save(folder / f"frame{number}.png")
    clip, _ = converted(folder)
    assert numbers(clip) == [0, 1, 2, 3, 4]
    (folder / "frame10.png").unlink()
    assert refused(folder) == (
        f"{folder}: expected images 8 to 12 without a gap, found number 10 missing; "
        "add what is missing, or number them anew"
    )
    (folder / "frame9.png").rename(folder / "cover.png")
    assert "expected a number in the name" in refused(folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda path: Image.fromarray(quarters(10, 10)).save(path), "expected 64×48 pixels"),
        (lambda path: path.write_bytes(b"\x89PNG nothing"), "expected an image, found"),
        (lambda path: Image.fromarray(quarters()).save(path.with_name("other 9.jpg")), "expected each number once"),
        (lambda path: Image.fromarray(quarters().astype(np.uint16)).save(path), "allowed: 8 bits"),
    ],
)
def test_a_folder_with_something_else_in_it_is_refused(folder: Path, change: Callable, told: str) -> None:
    change(folder / "frame9.png")
    assert told in refused(folder)


def test_transparent_images_lie_over_black_and_photographs_are_turned(folder: Path) -> None:
    for path in folder.glob("*.png"):
        Image.fromarray(np.dstack([quarters()] * 3 + [np.full((48, 64), 128, np.uint8)])).save(path)
    clip, notes = converted(folder)
    assert_shows(clip, np.array(LEVELS) * 128 / 255, within=1.5)
    assert "alpha" in notes.conversions
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in folder.glob("*.png"):
        Image.fromarray(np.rot90(quarters()).copy()).save(path, exif=exif)
    assert_shows(converted(folder)[0], np.array(LEVELS))


TYPES = {
    "uint8": 255,
    "bool": 1,
    "uint16": 65535,
    "int16": 255,
    "int32": 255,
    "int64": 255,
    ">u2": 65535,
    "uint32": 255,
    "float16": 1,
    "float32": 1,
    "float64": 1,
}


@pytest.mark.parametrize("kind", TYPES)
def test_arrays_of_every_type_have_the_same_picture(tmp_path: Path, kind: str) -> None:
    levels = np.array(((255, 0), (0, 255))) if kind == "bool" else np.array(LEVELS)
    frames = np.stack([quarters(levels=levels)] * 5) / 255 * TYPES[kind]
    stored = (frames if kind.startswith("float") else frames.round()).astype(kind)
    np.save(tmp_path / "clip.npy", stored)
    np.savez(tmp_path / "clip.npz", frames=stored, other=np.zeros(3))
    for name in ("clip.npy", "clip.npz"):
        assert_shows(converted(tmp_path / name)[0], levels)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ("TCHW", ""),
        ("THWC", ""),
        ("THWC", "THWC"),
        ("HWTC", "HWTC"),
        ("CTHW", "CTHW"),
        ("HWT", "hwt"),
    ],
)
def test_the_order_of_axes_is_seen_or_said(tmp_path: Path, shape: str, axes: str) -> None:
    whole = np.stack([quarters()] * 5)[..., None].repeat(3, axis=-1)  # (T, H, W, C)
    arranged = np.moveaxis(whole if "C" in shape else whole[..., :1], [0, 1, 2, 3], ["THWC".index(a) for a in "THWC"])
    arranged = np.transpose(arranged, ["THWC".index(axis) for axis in shape] + ([] if "C" in shape else [3]))
    np.save(tmp_path / "clip.npy", arranged if "C" in shape else arranged[..., 0])
    assert_shows(converted(tmp_path / "clip.npy", axes=axes)[0], np.array(LEVELS))


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros((5, 3, 16, 3), np.uint8), "leaves open where the channels are; allowed: T H W, T H W C or T C H W"),
        (np.zeros((5, 16, 16, 16), np.uint8), "of which no axis is one of channels"),
        (np.zeros((5, 16), np.uint8), "found an array of 5 × 16; allowed: T H W"),
        (np.zeros((5, 0, 16), np.uint8), "found an array of 5 × 0 × 16, which is empty"),
        (np.full((5, 16, 16), 2.0), "found float64 from 2 to 2; allowed: uint8 in 0..255, bool"),
        (np.full((5, 16, 16), np.nan), "found NaN or infinity"),
        (np.full((5, 16, 16), -1), "found int64 from -1 to -1"),
        (np.zeros((5, 16, 16), complex), "found values of type complex128"),
        (np.full((5, 16, 16), "x"), "found values of type <U1"),
    ],
)
def test_other_arrays_are_refused_with_what_is_expected(tmp_path: Path, array: np.ndarray, told: str) -> None:
    np.save(tmp_path / "clip.npy", array)
    assert told in refused(tmp_path / "clip.npy")


def test_arrays_that_are_none_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}, []], object), allow_pickle=True)
    np.savez(tmp_path / "two.npz", a=np.zeros(3), b=np.zeros(3))
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "text.npz").write_text("no array")
    whole = (tmp_path / "two.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    np.savez_compressed(tmp_path / "bad.npz", frames=np.random.default_rng(1).integers(0, 9, (5, 16, 16)))
    damaged = bytearray((tmp_path / "bad.npz").read_bytes())
    damaged[200:260] = bytes(60)
    (tmp_path / "bad.npz").write_bytes(damaged)
    for name in ("objects.npy", "text.npy", "text.npz", "cut.npz", "bad.npz"):
        assert "expected a NumPy array" in refused(tmp_path / name)
    assert "found arrays a, b; allowed: one, or one named frames" in refused(tmp_path / "two.npz")
    np.save(tmp_path / "clip.npy", np.zeros((5, 16, 16), np.uint8))
    assert "--axes: found HW for" in refused(tmp_path / "clip.npy", axes="HW")


# --- series -----------------------------------------------------------------------------------------


def test_a_series_is_scaled_by_what_is_observed(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text("day,price\n" + "\n".join(f"d{day},{100 + 10 * day}" for day in range(8)))
    clip, notes = converted(path, SERIES)
    assert (clip.low, clip.high) == (100, 140)
    assert clip.context[:, 0].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert clip.truth[:, 0].tolist() == [1.25, 1.5, 1.75]
    assert list(notes.conversions) == ["columns", "values"]
    path.write_text("\n".join(str(value / 10) for value in range(8)))
    clip, notes = converted(path, SERIES)
    assert (clip.low, clip.high, notes.lines()) == (0, 1, [])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b\n1,2\n3,4\n", "expected 1 column, found a, b; name it with --column; there are a, b"),
        ("a\n1\n2\n3\n4\nx\n6\n", "row 6: expected a number, found x"),
        ("1\n2\n3\n4\nnan\n6\n", "row 5: expected a number, found nan"),
        ("", "found nothing"),
        ("7\n7\n7\n7\n7\n7\n", "expected a series that moves, found 7 at all 5 observed points"),
        ("1\n2\n", "expected at least 5 frames"),
    ],
)
def test_a_table_that_is_no_series_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    assert told in refused(path, SERIES)


def test_an_option_for_another_clip_is_refused(tmp_path: Path) -> None:
    video = write(tmp_path / "clip.mkv", [quarters()] * 5)
    table = tmp_path / "series.csv"
    table.write_text("1\n2\n3\n4\n5\n6\n")
    assert refused(video, axes="THW") == f"--axes: found with {video}; allowed: with frames in .npy or .npz"
    assert refused(video, column="a") == f"--column: found with {video}; allowed: with a series in .csv"
    assert refused(table, SERIES, fps=5.0) == f"--fps: found with {table}; allowed: with a system of video"
    assert refused(table, SERIES, fit="crop") == f"--fit: found with {table}; allowed: with a system of video"


def test_a_video_is_no_series(tmp_path: Path) -> None:
    assert "allowed for a system of series: .csv, .npy, .npz" in refused(
        write(tmp_path / "c.mkv", [quarters()]), SERIES
    )


# --- published --------------------------------------------------------------------------------------


@pytest.mark.skipif(not CLIPS.is_dir(), reason="needs the published clips, absent here")
def test_a_published_clip_comes_out_as_training_sees_it() -> None:
    """To the bit: same decoder, same levels, same resampling, and nothing done to its rate."""
    path = CLIPS / "person01_handwaving_d1_uncomp.avi"
    data = KTH(context=10, horizon=10)
    clip, notes = converted(path, data, start=31)
    decoded = np.stack([frame for frame, _ in zip(grey_frames(path, "c", shape=(120, 160)), range(50), strict=False)])
    expected = resized(decoded[30:50], data.frame_size, data.resize)
    assert np.array_equal(np.concatenate([clip.context, clip.truth])[:, 0], expected.astype(np.float32) / 255)
    assert "rate" not in notes.conversions
    assert clip.rate == 25
