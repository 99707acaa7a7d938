"""Peak memory of prepare, training and evaluation at two sizes of the data, so that growth is seen."""

from benchmarks.base import Row, scratch, streamed, used_by

SMALL, LARGE = 2_000, 20_000  # sequences in the training split, and as many in the test split
CELL = "moving_mnist/seq2seq_convlstm/depth-1/mse/seed-1"
PHASES = {
    "prepare": ("prepare", "moving_mnist"),
    "training": ("train", CELL),
    "evaluation": ("evaluate", CELL),
}

#: Few weights and short sequences, so that data and not computing fills the memory: 33 MB of test frames, or 330.
STUDY = """
scale: sized
seeds: [1]
studies: {{one: {{datasets: [moving_mnist], models: [seq2seq_convlstm], depths: [1], losses: [mse]}}}}
datasets:
  moving_mnist: {{kind: moving_mnist, context: 2, horizon: 2, source: bundled, frame_size: 32, digit_size: 16,
    train: {size}, validation: 100, test: {size}}}
models: {{seq2seq_convlstm: {{kind: seq2seq_convlstm, hidden_channels: 1, layer_semantics: as_described}}}}
baselines: []
figures: {{}}
losses: {{mse: {{mse: 1}}}}
training: {{epochs: 1, batch_size: 100, learning_rate: 1.0e-3}}
evaluation: {{metrics: [mse_pix01, psnr_frame, ssim_f1], primary: mse_pix01, batch_size: 64}}
scales: {{sized: {{}}}}
"""

#: Sets whose arrays need not fit into memory, and their size; ``prepare`` draws, writes and reads back their files.
STREAMED = {
    "bair": ("kind: bair, source: stand-in, frame_size: 32, validation: 20, test: 20, train: {}", 40, 400),
    "human36m": ("kind: human36m, source: stand-in, frame_size: 32, cameras: [54138969], images: {}", 40, 400),
}
ONLY_PREPARED = """
scale: sized
seeds: [1]
studies: {{one: {{datasets: [streamed], models: [seq2seq_convlstm], depths: [1], losses: [mse]}}}}
datasets: {{streamed: {{{}}}}}
models: {{seq2seq_convlstm: {{kind: seq2seq_convlstm}}}}
baselines: [copy_last]
figures: {{}}
losses: {{mse: {{mse: 1}}}}
training: {{epochs: 1, batch_size: 1, learning_rate: 1.0e-3}}
evaluation: {{metrics: [mse_pix01], primary: mse_pix01}}
scales: {{sized: {{}}}}
"""


def rows() -> list[Row]:
    """One row per phase, the same batch at both sizes; and one per set that is streamed."""
    return [*_phases(), *(_streamed(name, *about) for name, about in STREAMED.items())]


def _streamed(name: str, dataset: str, small: int, large: int) -> Row:
    peaks = {}
    for size in (small, large):
        with scratch(params=ONLY_PREPARED.format(dataset.format(size))) as folder:
            peaks[size] = used_by("framecast", "prepare", "streamed", cwd=folder).peak
    return streamed(f"prepare {name}", "", peaks)


def _phases() -> list[Row]:
    small, large = _peaks(SMALL), _peaks(LARGE)
    return [
        Row(
            f"peak memory, {phase}",
            f"{large[phase]:.0f} MiB at {LARGE:,} sequences",
            f"{small[phase]:.0f} MiB at {SMALL:,}",
            large[phase] / small[phase],
            f"× for {LARGE // SMALL} × the data",
            "",
            None,
        )
        for phase in PHASES
    ]


def _peaks(size: int) -> dict[str, float]:
    with scratch(params=STUDY.format(size=size)) as folder:
        return {phase: used_by("framecast", *command, cwd=folder).peak for phase, command in PHASES.items()}
