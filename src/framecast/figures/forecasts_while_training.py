"""What a system forecasts of one sequence at several points of its training, from the first epoch to the last."""

from matplotlib.figure import Figure

from framecast.figures.base import not_measured, picture
from framecast.figures.shared.choice import featured
from framecast.figures.shared.strips import Block, Strip, stacked
from framecast.results import CellFiles, Results, label

FRAMES = "video"
CAPTION = (
    "The first validation sequence of {dataset}, and what was forecast of it in the course of training: a row for each "
    "of some epochs, early ones close together, the last row being the last epoch. It is fed as in training, and it is "
    "no test sequence: those are not looked at before training has ended. Numbers are time steps. Of more than three "
    "systems, one of each model is shown, and of more than three models the best; each shows its first seed. A row "
    "that ends sooner is of a system trained on fewer steps."
)
AT_MOST = 3  #: systems, each of which takes some five rows
STORED = "forecast/"  #: what the name of a snapshot begins with; the rest is the training step


def forecasts_while_training(results: Results, dataset: str) -> Figure:
    """The sequence itself, then a block for each system, training running downwards."""
    systems = featured(results, dataset, AT_MOST)
    cells = [results.scored(dataset, system)[0] for system in systems]
    if not cells:
        return not_measured(f"No system has been trained on {dataset}.")
    longest = max((cell.snapshots for cell in cells), key=lambda kept: kept["target"].shape[1])
    context, target = longest["context"][0], longest["target"][0]
    truth = [Strip("observed", picture(context), 1), Strip("truth", picture(target), len(context) + 1)]
    blocks = [Block("validation sequence 1", truth)]
    for system, cell in zip(systems, cells, strict=True):
        blocks.append(Block(label(results, dataset, systems, system), _course(cell)))
    return stacked(blocks)


def _course(cell: CellFiles) -> list[Strip]:
    """The forecasts of a cell, a strip for each epoch at whose end one was kept; it ends where training did."""
    epochs = dict(zip(cell.history["step"], cell.history["epoch"], strict=True))
    steps = sorted(int(name.removeprefix(STORED)) for name in cell.snapshots if name.startswith(STORED))
    return [Strip(f"epoch {epochs[step]}", picture(cell.snapshots[f"{STORED}{step}"][0])) for step in steps]
