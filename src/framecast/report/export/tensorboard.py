"""Event files for TensorBoard: a run for each cell, in a folder of its name.

The library's own record writer and messages are used without its ``SummaryWriter``, which names files by host and time
and dates events by the clock: the same cell gives the same bytes. A history has no times, so all events are of time 0.
"""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framecast.report.export.extras import extra
from framecast.report.export.outputs import new_folder
from framecast.report.export.runs import Run, read

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid

FILE = "events.out.tfevents.0.framecast"  #: TensorBoard takes every file for one of events whose name has ``tfevents``
VERSION = "brain.Event:2"
PNG_SIZE = struct.Struct(">II")  #: width and height of a PNG, from its byte 16 on


def write(grid: "Grid", cells: "Sequence[Cell]", folder: Path) -> None:
    """An event file for each cell: settings and scores, curves by training and by forecast step, a picture."""
    for module in ("record_writer", "summary", "proto.event_pb2", "proto.summary_pb2"):
        extra(f"tensorboardX.{module}", "tensorboard")
    with new_folder(folder) as partial:
        for cell in cells:
            _write_run(read(grid, cell), partial / cell.name / FILE)


def _write_run(run: Run, path: Path) -> None:
    path.parent.mkdir(parents=True)
    writer = extra("tensorboardX.record_writer", "tensorboard").RecordWriter(str(path))
    try:
        for event in _events(run):
            writer.write(event.SerializeToString(deterministic=True))
    finally:
        writer.close()


def _events(run: Run) -> Iterator[Any]:
    """The version first, then settings, then every number."""
    summary, event = extra("tensorboardX.summary", "tensorboard"), extra("tensorboardX.proto.event_pb2", "tensorboard")
    yield event.Event(wall_time=0.0, file_version=VERSION)
    for told in summary.hparams(run.settings, run.overall):
        yield event.Event(wall_time=0.0, summary=told)
    curves = {**run.training, **run.horizon, **{name: [(run.steps, value)] for name, value in run.overall.items()}}
    for name, curve in curves.items():
        for step, value in curve:
            yield event.Event(wall_time=0.0, step=step, summary=_scalar(name, value))
    for name, png in run.pictures.items():
        yield event.Event(wall_time=0.0, step=run.steps, summary=_image(name, png))


def _scalar(name: str, value: float) -> Any:
    messages = extra("tensorboardX.proto.summary_pb2", "tensorboard")
    return messages.Summary(value=[messages.Summary.Value(tag=name, simple_value=value)])


def _image(name: str, png: bytes) -> Any:
    messages = extra("tensorboardX.proto.summary_pb2", "tensorboard")
    width, height = PNG_SIZE.unpack_from(png, 16)
    image = messages.Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png)  # 4: RGBA
    return messages.Summary(value=[messages.Summary.Value(tag=name, image=image)])
