"""What a trained cell writes down: an inert loss term is seen as inert in its history."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from framecast import assemble
from framecast.cluster.journal import Asked
from framecast.errors import UserError
from framecast.study import reading
from framecast.study.grid import Cell, Grid
from framecast.training.cell import train
from framecast.training.loop import Trainer
from framecast.training.stopping import Stop

HYBRID = "{mse: {mse: 1.0}, hybrid: {bce: 10.0, perceptual_seeded: 1.0e-4}}"


def video(recipe: str = "") -> tuple[Grid, Cell]:
    """The tiny study with a hybrid loss on video, its data prepared; the video cell."""
    path = Path("params.yaml")
    changed = path.read_text().replace("{mse: {mse: 1.0}}", HYBRID)
    changed = changed.replace("depths: [1], losses: [mse]", "depths: [1], losses: [hybrid]")
    path.write_text(changed.replace("hidden_channels: 4", f"hidden_channels: 4{recipe}"))
    grid = Grid(reading.load())
    assemble.prepare(grid, "moving_mnist")
    return grid, grid.find("moving_mnist/seq2seq_convlstm/depth-1/hybrid/seed-1")


def trained(grid: Grid, cell: Cell) -> list[dict[str, str]]:
    """The rows of its history."""
    train(grid, cell, stop=Stop(), device=torch.device("cpu"), asked=Asked(), admit=lambda: None)
    with (grid.run_folder(cell) / "history.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_an_inert_term_is_seen_as_inert_in_the_history(study: Path) -> None:
    rows = trained(*video())
    assert list(rows[0]) == [
        *("step", "epoch", "split", "learning_rate", "loss", "bce", "perceptual_seeded"),
        *("share_bce", "share_perceptual_seeded"),
    ]
    assert [row["split"] for row in rows] == ["train", "validation"] * 2
    for row in rows:
        shares = [row["share_bce"], row["share_perceptual_seeded"]]
        if row["split"] == "validation":
            assert shares == ["", ""]
        else:
            assert sum(map(float, shares)) == pytest.approx(1)
            assert 0 < float(shares[1]) < 1e-4


def test_denormals_count_as_zero_in_training_alone(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saturated gates give millions of them, and a step would take several times as long."""
    grid, cell = video()
    seen = []
    fit = Trainer.fit

    def looked_at(trainer: Trainer, *given: Any) -> Any:
        seen.append(float(torch.tensor(1e-30) * 1e-9))
        return fit(trainer, *given)

    monkeypatch.setattr(Trainer, "fit", looked_at)
    trained(grid, cell)
    assert seen == [0]
    assert float(torch.tensor(1e-30) * 1e-9) > 0


def test_augmented_video_trains_and_oblong_frames_are_not_turned(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid, cell = video(", training: {flips: true, rotations: true, noise: 0.01}")
    with monkeypatch.context() as patch:
        opened = assemble.Prepared

        def oblong(*given: object) -> assemble.Prepared:
            found = opened(*given)  # type: ignore[arg-type]
            found.dataset.frame_shape = (1, 16, 24)
            return found

        patch.setattr(assemble, "Prepared", oblong)
        with pytest.raises(UserError, match=f"cell {cell.name}: found rotations with frames of 16 × 24 pixels"):
            trained(grid, cell)
    assert float(trained(grid, cell)[-1]["loss"]) > 0
