"""KTH: decoding against the same decoder with FFmpeg's conversion to grey, and the memory of prepare at two sizes."""

import tempfile
from pathlib import Path

import av
import numpy as np

from benchmarks.base import Row, paired, scratch, streamed, used_by
from framecast.data.formats.kth_sequences import Clip
from framecast.data.formats.video import grey_frames, resized
from framecast.data.generated.human_figures import HEIGHT, WIDTH, Figure

GOAL = 1500  # frames a second, decoded and resized
SMALL, LARGE = [1], list(range(1, 13))  # persons to train on
STUDY = """
scale: sized
seeds: [1]
studies: {{one: {{datasets: [kth], models: [seq2seq_convlstm], depths: [1], losses: [mse]}}}}
datasets:
  kth: {{kind: kth, source: stand-in, frame_size: 128, scenarios: [1],
    train_persons: {persons}, validation_persons: [15], test_persons: [17]}}
models: {{seq2seq_convlstm: {{kind: seq2seq_convlstm}}}}
baselines: [copy_last]
figures: {{}}
losses: {{mse: {{mse: 1}}}}
training: {{epochs: 1, batch_size: 1, learning_rate: 1.0e-3}}
evaluation: {{metrics: [mse_pix01], primary: mse_pix01}}
scales: {{sized: {{}}}}
"""


def rows() -> list[Row]:
    """A clip in the published codec and size; and the peaks of whole processes."""
    return [_decoding(), _memory()]


def _decoding() -> Row:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.avi"
        count = _write_mpeg4(path)

        def ours() -> None:
            resized(np.stack(list(grey_frames(path, "clip", shape=(HEIGHT, WIDTH)))), 64, "area")

        def reference() -> None:
            with av.open(str(path)) as container:
                frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
            resized(np.stack(frames), 64, "area")

        mine, theirs, _ = paired(ours, reference)
    return Row(
        "decoding KTH",
        f"{count / mine:.0f} frames/s",
        f"{count / theirs:.0f} frames/s, grey by FFmpeg",
        count / mine,
        "frames/s, 120×160 to 64×64",
        f"≥ {GOAL}",
        count / mine >= GOAL,
    )


def _write_mpeg4(path: Path) -> int:
    frames = list(Figure(Clip("walking", 1, 1), 0).frames())
    with av.open(str(path), mode="w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt, stream.bit_rate = HEIGHT, WIDTH, "yuv420p", 1_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="gray")))
        container.mux(stream.encode())
    return len(frames)


def _memory() -> Row:
    peaks = {}
    for persons in (SMALL, LARGE):
        with scratch(params=STUDY.format(persons=persons)) as folder:
            peaks[len(persons)] = used_by("framecast", "prepare", "kth", cwd=folder).peak
    return streamed("prepare kth", " persons", peaks)
