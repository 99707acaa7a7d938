"""What is measured once of each training, and not of each test sequence: name → how it is read from a cell.

Such a quantity has one value per seed, so its interval is over seeds alone. A record keeps that interval
(``claims.csv``) and no value.
"""

from collections.abc import Callable, Sequence

import numpy as np

from framecast.results import CellFiles


def largest_rise(cell: CellFiles) -> float | None:
    """max(0, max_r L_{r+1} − L_r) of the training loss L over the rows r of the log: how high its highest spike is."""
    if cell.run_folder is None:
        return None
    rows = cell.history[cell.history["split"] == "train"]["loss"].to_numpy(dtype=np.float64)
    return float(np.diff(rows).max(initial=0.0))


def activation_preference(cell: CellFiles) -> float | None:
    """How many times its share of the area the digits have of the activation's energy; the mean over layers, 1 is none.

    Of each layer it is ``evaluation.inside``'s, which the table of hot spots shows.
    """
    return _preference(cell, "trained")


def preference_from_training(cell: CellFiles) -> float | None:
    """The same less that of the network before its training: what of it was learned."""
    after, before = _preference(cell, "trained"), _preference(cell, "untrained")
    return None if after is None or before is None else after - before


def _preference(cell: CellFiles, which: str) -> float | None:
    layers = (cell.score.get("inside") or {}).get("layers")
    return float(np.mean([layer[which]["preference"] for layer in layers])) if layers else None


MEASURES: dict[str, Callable[[CellFiles], float | None]] = {
    measure.__name__: measure for measure in (largest_rise, activation_preference, preference_from_training)
}


def of_each(name: str, cells: Sequence[CellFiles]) -> np.ndarray | None:
    """A measure of each cell, (cells, 1), or None where one of them has none."""
    values = [MEASURES[name](cell) for cell in cells]
    return None if None in values else np.array(values, dtype=np.float64)[:, None]
