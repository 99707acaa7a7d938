"""Video: grey levels against the ffmpeg program, damage against what was whole, resampling against plain loops."""

import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest

from framecast.data.formats.video import frame_count, grey_frames, resized, write_lossless
from framecast.errors import UserError
from tests.conftest import ROOT
from tests.predict.clips import write

KTH = ROOT / ".." / "shared" / "data" / "kth"
CLIPS = {"person01_handwaving_d1": 468, "person04_boxing_d1": 328, "person04_running_d1": 242}  # frames
SHAPE = (120, 160)
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program, absent here")
needs_clips = pytest.mark.skipif(not KTH.is_dir(), reason="needs the three published clips, absent here")


def decoded(source: Path | bytes, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return np.array(list(grey_frames(source, "clip", shape=shape)))


def ffmpeg(*arguments: str) -> bytes:
    return subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], capture_output=True, check=True).stdout


def by_ffmpeg(path: Path) -> np.ndarray:
    raw = ffmpeg("-i", str(path), "-f", "rawvideo", "-pix_fmt", "gray", "-")
    return np.frombuffer(raw, np.uint8).reshape(-1, *SHAPE)


def furthest(a: np.ndarray, b: np.ndarray) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b).max())


@needs_ffmpeg
@pytest.mark.parametrize("matrix", ["bt709", "smpte170m"])
@pytest.mark.parametrize("span", ["tv", "pc"])
@pytest.mark.parametrize(
    ("pixels", "codec", "suffix"),
    [
        ("yuv420p", "ffv1", "mkv"),
        ("yuv420p10le", "ffv1", "mkv"),
        ("yuvj420p", "mjpeg", "avi"),
        ("yuv420p", "mpeg4", "avi"),
        ("gray10le", "ffv1", "mkv"),
        ("bgr0", "ffv1", "avi"),
    ],
)
def test_grey_levels_are_those_of_ffmpeg(tmp_path, pixels: str, codec: str, suffix: str, span: str, matrix: str):
    """Coloured frames: where a matrix is applied to a luma that needs none, they are off by 30 levels."""
    path = tmp_path / f"clip.{suffix}"
    source = ("-f", "lavfi", "-i", "testsrc2=s=160x120:d=0.2:r=25")
    colours = ("-vf", f"scale=out_range={span}:out_color_matrix={matrix}", "-color_range", span, "-colorspace", matrix)
    ffmpeg(*source, *colours, "-pix_fmt", pixels, "-c:v", codec, "-qscale:v", "2", "-strict", "-1", str(path))
    frames = [frame for frame, _ in zip(_any_length(path), range(5), strict=False)]
    assert furthest(np.array(frames), by_ffmpeg(path)) <= 1
    assert np.ptp(frames[0]) > 150, "a picture with contrast"


def _any_length(path: Path):
    """The frames of a file whose container counts none, as Matroska's does."""
    try:
        yield from grey_frames(path, "clip", shape=SHAPE, container={"mkv": "matroska", "avi": "avi"}[path.suffix[1:]])
    except UserError as error:
        assert "expected 0 frames as its header says" in str(error)  # noqa: PT017 (a generator's end)


@needs_ffmpeg
@needs_clips
@pytest.mark.parametrize("clip", CLIPS)
def test_published_clips_have_the_grey_levels_of_ffmpeg(clip: str) -> None:
    path = KTH / f"{clip}_uncomp.avi"
    frames = decoded(path)
    assert furthest(frames, by_ffmpeg(path)) <= 1
    assert len(frames) == frame_count(path, clip) == CLIPS[clip]


@needs_clips
def test_another_decoder_saw_the_same_frames_at_the_same_time() -> None:
    """A published decode of frames 1–112: aligned to the frame, off by an offset and some noise."""
    from scipy.io import loadmat

    other = np.moveaxis(loadmat(KTH / "person01_handwaving_d1_uncomp1.avi.mat")["video"], -1, 0).astype(float)
    ours = decoded(KTH / "person01_handwaving_d1_uncomp.avi").astype(float)

    def apart(shift: int) -> float:
        difference = ours[10 + shift : 100 + shift] - other[10:100]
        return float(np.abs(difference - np.median(difference)).mean())

    assert apart(0) < 4
    assert apart(0) < min(apart(-1), apart(1))


def moving(count: int = 12) -> np.ndarray:
    """A bright bar that moves over a slope of all grey levels."""
    frames = np.tile(np.linspace(0, 255, SHAPE[1]).astype(np.uint8), (count, SHAPE[0], 1))
    for step, frame in enumerate(frames):
        frame[20:50, 5 * step : 5 * step + 20] = 255
    return frames


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    write_lossless(path, moving())
    return path.read_bytes()


def test_what_is_written_comes_back(clip: bytes) -> None:
    assert furthest(decoded(clip), moving()) <= 1
    assert frame_count(clip, "clip") == 12


def test_a_clip_that_is_cut_off_or_none_is_refused(clip: bytes) -> None:
    for damaged in (clip[: len(clip) // 2], clip[:3000], clip[:40], b"", b"no video at all" * 9):
        with pytest.raises(
            UserError, match=r"^clip: expected a clip that decodes|^clip: expected \d+ frames"
        ) as refused:
            decoded(damaged)
        assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match="expected frames of 64×64 pixels, found 120×160"):
        decoded(clip, (64, 64))
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"
    with pytest.raises(UserError, match=r"found an error after frame 0: .*Invalid data"):
        decoded(playlist)
    with pytest.raises(UserError, match="expected a video"):
        frame_count(b"no video at all" * 9, "clip")


@needs_clips
def test_a_published_clip_that_is_cut_off_is_refused() -> None:
    content = (KTH / "person04_running_d1_uncomp.avi").read_bytes()
    with pytest.raises(UserError, match="clip: expected"):
        decoded(content[: len(content) * 2 // 3])


@pytest.mark.parametrize("codec", ["mpeg4", pytest.param("published", marks=needs_clips)])
def test_what_is_overwritten_in_a_frame_is_refused_or_its_frame_named(tmp_path: Path, codec: str) -> None:
    """The frames before it stay as they were, and all are there."""
    path = KTH / "person04_running_d1_uncomp.avi"
    if codec != "published":
        path = write(tmp_path / "clip.avi", list(moving()), codec=codec)
    with av.open(str(path)) as container:
        places = [(packet.pos or 0, packet.size) for packet in container.demux(video=0) if packet.size]
    number = len(places) // 2
    begin, size = places[number]
    content = bytearray(path.read_bytes())
    for at in range(begin + 8 + size // 5, begin + 16 + size // 5):  # behind the head of the chunk
        content[at] ^= 0x55
    told = f"^clip: expected a clip that decodes .*, found (an error after frame {number}: |frame {number + 1} damaged)"
    with pytest.raises(UserError, match=told) as refused:
        decoded(bytes(content))
    assert "\n" not in str(refused.value)
    concealed: list[int] = []
    frames = np.array(list(grey_frames(bytes(content), "clip", shape=SHAPE, concealed=concealed)))
    assert concealed == [number + 1]
    assert len(frames) == len(places)
    changed = (frames != decoded(path)).any(axis=(1, 2))
    assert changed[number]
    assert not changed[:number].any()


# --- another size -----------------------------------------------------------------------------------


def area_by_hand(frame: np.ndarray, size: int) -> np.ndarray:
    """The mean over each new pixel of a frame that is cut into pieces no line of either grid runs through."""
    height, width = frame.shape
    pieces = np.kron(frame.astype(float), np.ones((size, size)))  # every old pixel as size × size pieces
    return pieces.reshape(size, height, size, width).mean(axis=(1, 3))


def bilinear_by_hand(frame: np.ndarray, size: int) -> np.ndarray:
    made = np.empty((size, size))
    for row in range(size):
        for column in range(size):
            y = min(max((row + 0.5) * frame.shape[0] / size - 0.5, 0), frame.shape[0] - 1)
            x = min(max((column + 0.5) * frame.shape[1] / size - 0.5, 0), frame.shape[1] - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, frame.shape[0] - 1), min(left + 1, frame.shape[1] - 1)
            upper = frame[top, left] * (1 - x + left) + frame[top, right] * (x - left)
            lower = frame[bottom, left] * (1 - x + left) + frame[bottom, right] * (x - left)
            made[row, column] = upper * (1 - y + top) + lower * (y - top)
    return made


@pytest.mark.parametrize("size", [8, 13, 32])
@pytest.mark.parametrize(("how", "by_hand"), [("area", area_by_hand), ("bilinear", bilinear_by_hand)])
def test_frames_are_squeezed_as_by_hand(how, by_hand, size: int) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (3, 15, 20), np.uint8)
    made = resized(frames, size, how)
    for new, frame in zip(made, frames, strict=True):
        assert np.abs(new - by_hand(frame, size)).max() <= 0.5 + 1e-4
    assert (resized(np.full((1, 120, 160), 255, np.uint8), size, how) == 255).all()
