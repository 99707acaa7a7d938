"""What the recurrent layers hold while they read: activation maps, overlays, gates and attention, step by step."""

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter
from PIL import Image

from framecast.errors import UserError
from framecast.figures.base import INK, MUTED, PALETTE, label_ends, picture, style, whole_steps
from framecast.results import CellFiles, Results

FRAMES = "video"
CAPTION = (
    "What one trained system holds while it reads a test sequence of {dataset}, all frames true; numbers are time "
    "steps. For each recurrent layer: its activation, the mean over channels of |h| (black: 0, pale yellow: the number "
    "beside it, the same at all steps), and the overlay of the source, 0.6 · frame + 0.4 · its own map in jet colours, "
    "in which every single map is divided by its own maximum. Attention masks, where there are any, from 0 (black) to "
    "1 (white). Right: the gates, mean over channels, on the digits (solid) and beside them (dashed). Bottom: the "
    "share of the activation's energy that lies on the digits, after and before training, and how many times the share "
    "of the area (dotted) that is, where 1 is no preference; below, the difference that training made in the seed "
    "shown, with its 95 % interval. Small dots: single seeds."
)
PREFERRED = "next_frame"  #: the model to show where several can be
COLUMNS = 5
SEQUENCE = 0
WIDTH, LABELS, GATES = 7.6, 1.05, 1.7  #: inches: the whole figure, its row labels, the panels of gates
TITLE, SPACE, BAND, GAP = 0.5, 0.05, 0.18, 0.55  #: inches: above the frames, between rows, layers, and parts
BOTTOM, MARGIN, TOLD = 1.5, 0.45, 2.2  #: inches: the panel of alignment, what is below it, its numbers on the right
TRAINED, UNTRAINED = PALETTE[0], PALETTE[1]
GATE_INKS = {"input i": PALETTE[2], "forget f": PALETTE[3], "output o": PALETTE[5]}
PANEL, MILLISECONDS = 1.5, 400  #: of the clip: inches of a picture, and how long a step is shown

_Layer = dict[str, np.ndarray]  #: what evaluation.inside stored of a layer, for one sequence


def layers_of(cell: CellFiles, sequence: int = SEQUENCE) -> list[_Layer]:
    """What is stored of the recurrent layers of a cell for one test sequence, the lowest first; empty without maps."""
    names = [name.split("/") for name in cell.inside if name.startswith("inside/layer-")]
    numbers = sorted({int(layer.removeprefix("layer-")) for _, layer, _ in names})
    layers = []
    for number in numbers:
        stored = {name: cell.inside[f"inside/{layer}/{name}"] for _, layer, name in names if layer == f"layer-{number}"}
        layers.append({name: values if name == "scale" else values[sequence] for name, values in stored.items()})
    return layers


def overlay(frames: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """The source's blend of frames (T, H, W, 3) in [0, 1] and maps (T, H, W) in 0..255: (T, H, W, 3) in [0, 1]."""
    blend: np.ndarray = 0.6 * frames + 0.4 * colormaps["jet"](maps)[..., :3]
    return blend.clip(0, 1)  # 0.6 + 0.4 is a little more than 1 in float32, of which matplotlib warns


def animation(cell: CellFiles) -> bytes:
    """The same as a GIF that plays over the time steps: above frame and activations, below overlays and attention.

    Raises UserError when the cell holds no maps.
    """
    layers = layers_of(cell)
    if not layers:
        raise UserError(f"cell {cell.name}: {cell.model} shows nothing of what it holds, so there is nothing to draw")
    frames = _frames(cell, len(layers[0]["activation"]))
    above = [("frame", frames)] + [(f"layer {n}: mean |h|", _heat(each)) for n, each in enumerate(layers, 1)]
    below = [(f"layer {n}: overlay", overlay(frames, each["source"])) for n, each in enumerate(layers, 1)]
    masks = [(f"attention {n}", _grey(each["spatial_attention"])) for n, each in _masked(layers)]
    below.insert(0, masks[-1] if masks else ("", np.ones_like(frames)))
    with style():
        pages = list(_pages([above, below]))
    buffer = io.BytesIO()
    pages[0].save(buffer, "GIF", save_all=True, append_images=pages[1:], duration=MILLISECONDS, loop=0, optimize=False)
    return buffer.getvalue()


def _pages(rows: Sequence[Sequence[tuple[str, np.ndarray]]]) -> Iterator[Image.Image]:
    """One page for each time step: the pictures (T, H, W, 3) of all rows at that step, each under its name."""
    columns, steps = len(rows[0]), len(rows[0][0][1])
    ratio = rows[0][0][1].shape[1] / rows[0][0][1].shape[2]
    height = 0.3 + len(rows) * (PANEL * ratio + 0.25)
    figure = Figure(figsize=(columns * PANEL, height), dpi=100)
    canvas = FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), columns)
    figure.subplots_adjust(0.01, 0.02, 0.99, 1 - 0.5 / height, wspace=0.05, hspace=0.2)
    drawn = []
    for (name, film), axes in zip([entry for row in rows for entry in row], grid.flat, strict=True):
        drawn.append((film, axes.imshow(film[0], interpolation="nearest")))
        axes.set_title(name, fontsize=8)
        axes.set_axis_off()
    for step in range(steps):
        for film, image in drawn:
            image.set_data(film[step])
        figure.suptitle(f"time step {step + 1} of {steps}", fontsize=9, y=1 - 0.05 / height, va="top")
        canvas.draw()
        yield Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).quantize(256, dither=Image.Dither.NONE)


def _frames(cell: CellFiles, steps: int) -> np.ndarray:
    """The frames that were read, (T, H, W, 3)."""
    whole = np.concatenate([cell.clips["context"][SEQUENCE], cell.clips["target"][SEQUENCE]])
    return picture(whole[:steps])


def _heat(layer: _Layer) -> np.ndarray:
    return colormaps["inferno"](layer["activation"])[..., :3]


def _grey(mask: np.ndarray) -> np.ndarray:
    """A mask (T, H, W) in 0..255 as (T, H, W, 3) in [0, 1]."""
    return np.repeat(mask[..., None] / 255, 3, axis=-1)


def _masked(layers: list[_Layer]) -> list[tuple[int, _Layer]]:
    return [(number, layer) for number, layer in enumerate(layers, 1) if "spatial_attention" in layer]


# --- the figure -----------------------------------------------------------------------------------


def activations(results: Results, dataset: str) -> Figure:
    """Maps of one sequence, gates beside them, alignment below, of the first system that holds maps.

    A model named ``next_frame`` goes before all others.
    """
    systems = sorted(results.systems(dataset), key=lambda system: system.model != PREFERRED)
    cells = (results.scored(dataset, system)[0] for system in systems)
    cell = next((cell for cell in cells if layers_of(cell)), None)
    if cell is None:
        figure = Figure(figsize=(WIDTH, 1.2))
        figure.text(0.5, 0.5, f"No system of {dataset} shows what it holds.", ha="center", va="center", color=MUTED)
        return figure
    return _Page(cell, results.scored(dataset, cell.system)).figure


class _Page:
    """The figure from the top down, everything placed in inches."""

    def __init__(self, cell: CellFiles, seeds: list[CellFiles]) -> None:
        layers = layers_of(cell)
        frames = _frames(cell, len(layers[0]["activation"]))
        self.steps = _shown(len(frames))
        self.side = (WIDTH - LABELS - GAP - GATES) / COLUMNS - SPACE
        self.row = self.side * frames.shape[1] / frames.shape[2] + SPACE
        strips = [_strips(frames, layer) for layer in layers]
        found = [seed.score["inside"] for seed in seeds if seed.score.get("inside")]
        self.height = TITLE + self.row + BAND + sum(len(each) * self.row + BAND for each in strips)
        self.height += (GAP + BOTTOM + MARGIN) * bool(found)
        self.figure = Figure(figsize=(WIDTH, self.height))
        self.top = self.height
        self._head(cell, frames)
        for number, (layer, rows) in enumerate(zip(layers, strips, strict=True), start=1):
            self._layer(number, layer, rows)
        if found:
            self.top -= GAP
            _alignment(self._axes(LABELS, self.top, WIDTH - LABELS - TOLD, BOTTOM), found)

    def _axes(self, left: float, top: float, width: float, height: float) -> Axes:
        return self.figure.add_axes((left / WIDTH, (top - height) / self.height, width / WIDTH, height / self.height))

    def _text(self, left: float, below_top: float, text: str, **style: object) -> None:
        self.figure.text(left / WIDTH, (self.top - below_top) / self.height, text, **style)  # type: ignore[arg-type]

    def _head(self, cell: CellFiles, frames: np.ndarray) -> None:
        self._text(0.08, 0.2, f"{cell.system}, seed {cell.seed}", fontweight="bold")
        self.top -= TITLE
        self._strip("frame read", "", frames, numbered=True)
        left = WIDTH - GATES
        self._text(left, 0.12, "gates over time", fontweight="bold")
        handles = [
            Line2D([], [], color=INK, linewidth=1.4, label="on the digits"),
            Line2D([], [], color=INK, linewidth=1.2, linestyle=(0, (3, 2)), label="beside them"),
        ]
        anchor = ((left - 0.08) / WIDTH, (self.top - 0.16) / self.height)
        self.figure.legend(handles=handles, loc="upper left", bbox_to_anchor=anchor, frameon=False, fontsize=8)
        self.top -= self.row + BAND

    def _layer(self, number: int, layer: _Layer, rows: list[tuple[str, str, np.ndarray]]) -> None:
        start = self.top
        for label, detail, film in rows:
            self._strip(f"{label}", detail, film)
            self.top -= self.row
        gates = self._axes(WIDTH - GATES, start, GATES - 0.62, 2 * self.row - SPACE)
        _gates(gates, layer["gates"])
        middle = (start + self.top + SPACE) / 2
        self.figure.text(
            0.1 / WIDTH, middle / self.height, f"layer {number}", rotation=90, va="center", fontweight="bold"
        )
        self.top -= BAND

    def _strip(self, label: str, detail: str, film: np.ndarray, numbered: bool = False) -> None:
        """Pictures (T, H, W, 3) at the shown steps, left to right, and what they are on their left."""
        for column, step in enumerate(self.steps):
            left = LABELS + column * (self.side + SPACE)
            axes = self._axes(left, self.top, self.side, self.row - SPACE)
            axes.imshow(np.rint(film[step] * 255).astype(np.uint8), interpolation="none", aspect="auto")
            axes.set_axis_off()
            if numbered:
                axes.set_title(str(step + 1), fontsize=8, fontweight="normal", loc="center", pad=2)
        middle = (self.row - SPACE) / 2
        self._text(LABELS - 0.08, middle - 0.07 * bool(detail), label, ha="right", va="center", fontsize=8)
        self._text(LABELS - 0.08, middle + 0.08, detail, ha="right", va="center", fontsize=7, color=MUTED)


def _shown(steps: int) -> list[int]:
    """Which steps, counted from 0, have a column: 0, 5, 10, 15 and 18 of 19, as in the source."""
    stride = max(1, -(-steps // (COLUMNS - 1)))
    return [*range(0, steps - 1, stride), steps - 1]


def _strips(frames: np.ndarray, layer: _Layer) -> list[tuple[str, str, np.ndarray]]:
    """The rows of a layer: label, a word on its colours, pictures (T, H, W, 3)."""
    rows = [
        ("mean |h|", f"0 – {float(layer['scale'][0]):.3g}", _heat(layer)),
        ("overlay", "own scale", overlay(frames, layer["source"])),
    ]
    if "spatial_attention" in layer:
        mask = layer["spatial_attention"]
        rows.append(("attention", f"{mask.min() / 255:.2f} – {mask.max() / 255:.2f}", _grey(mask)))
    if "channel_attention" in layer:
        mask = layer["channel_attention"]
        rows.append(("channels", f"{mask.min():.2f} – {mask.max():.2f}", _bars(mask, frames.shape[1:3])))
    return rows


def _bars(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Channel weights (T, D) as bars from the left of a picture, a channel below another: (T, H, W, 3)."""
    rows = np.linspace(0, mask.shape[1], 8 * size[0], endpoint=False).astype(int)
    filled = np.arange(8 * size[1]) < mask[:, rows, None] * 8 * size[1]
    return np.where(filled[..., None], 0.45, 0.93) * np.ones(3)


def _gates(axes: Axes, gates: np.ndarray) -> None:
    """i, f, o over time, (T, 3, 2): solid on the digits, dashed beside them."""
    steps = np.arange(1, len(gates) + 1)
    for index, ink in enumerate(GATE_INKS.values()):
        axes.plot(steps, gates[:, index, 0], color=ink, linewidth=1.4)
        axes.plot(steps, gates[:, index, 1], color=ink, linewidth=1.2, linestyle=(0, (3, 2)))
    lowest = -1 if (gates < 0).any() else 0  # the output gate of a causal LSTM is a tanh
    axes.set_ylim(lowest, 1)
    axes.set_yticks([lowest, (lowest + 1) / 2, 1])
    axes.tick_params(labelsize=7, length=2)
    whole_steps(axes)
    ends = zip(gates[-1, :, 0], GATE_INKS.items(), strict=True)
    label_ends(axes, [(float(value), name, ink) for value, (name, ink) in ends], gap=0.11)


def _alignment(axes: Axes, found: list[dict[str, Any]]) -> None:
    """A row for each layer: the share of its energy on the digits, after and before training, and what that says."""
    area = _mean(found, "area")
    axes.axvline(area, color=INK, linestyle=":", linewidth=1.2)
    axes.text(area, -0.62, f"area {area:.0%}", ha="center", va="bottom", fontsize=7)
    layers = len(found[0]["layers"])
    for row in range(layers):
        told = [seed["layers"][row] for seed in found]
        for network, ink in (("untrained", UNTRAINED), ("trained", TRAINED)):
            shares = [each[network]["share"] for each in told]
            axes.plot(shares, [row] * len(shares), ".", color=ink, markersize=4)
            face = ink if network == "trained" else "white"
            axes.plot(np.mean(shares), row, "o", color=ink, markerfacecolor=face, markersize=7, markeredgewidth=1.5)
        axes.text(1.04, row, _verdict(told), transform=axes.get_yaxis_transform(), va="center", fontsize=8)
    axes.set(xlim=(0, 1), ylim=(layers - 0.4, -0.6), xlabel="share of the activation's energy that lies on the digits")
    axes.set_yticks(range(layers), [f"layer {number}" for number in range(1, layers + 1)])
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.tick_params(labelsize=8, length=2)
    handles = [
        Line2D([], [], linestyle="", marker="o", color=TRAINED, label="trained"),
        Line2D([], [], linestyle="", marker="o", color=UNTRAINED, markerfacecolor="white", label="before training"),
    ]
    axes.legend(
        handles=handles, ncols=2, loc="lower right", bbox_to_anchor=(1.02, 1.03), frameon=False, fontsize=8, borderpad=0
    )
    axes.text(1.04, 1.06, "times the area's share", transform=axes.transAxes, fontsize=8, fontweight="bold")


def _verdict(told: list[dict[str, Any]]) -> str:
    """How many times what the area would have, after against before, over seeds; below, the difference of the first."""
    after, before = (_mean([each[network] for each in told], "preference") for network in ("trained", "untrained"))
    one = told[0]
    interval = f"{one['difference']:+.2f} [{one['low']:+.2f}, {one['high']:+.2f}]"
    return f"{after:.2f}, before {before:.2f}\n{interval}".replace("-", "−")


def _mean(told: list[dict[str, Any]], name: str) -> float:
    return float(np.mean([each[name] for each in told]))
