"""Recorded runs as ``framecast record`` writes them, made from fabricated results."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from framecast import artifacts
from framecast.published.claims import load_claims
from framecast.results import CellFiles, Results, claims
from framecast.study.grid import RECORD_CLAIMS, RECORD_TABLES
from tests import results_fixture

COMMIT = {"hash": "0123456789abcdef0123456789abcdef01234567", "date": "2026-11-20T10:00:00+00:00"}
MACHINE = {"processor": "A Processor 9000", "cores": 2, "memory_mb": 8250, "platform": "Linux", "gpu": ""}
PARAMS = f"scale: paper\nlosses: {json.dumps(results_fixture.LOSSES)}\n"


def fabricate(
    root: Path, study: str, *datasets: str, scale: str = "paper", source: str = "official", **changes: Any
) -> Path:
    """Record a study of these datasets under a root; ``changes`` replace keys of ``record.json``."""
    made = root.parent / f"made-{study}-{scale}"
    results, folder = results_fixture.fabricate(made, scale, datasets), root / f"{study}-{scale}"
    folder.mkdir(parents=True)
    for name in RECORD_TABLES:
        table = pd.read_csv(made / name, dtype={"key": str, "depth": "Int64", "seed": "Int64"})
        if "source" in table:  # what is drawn by rule is the published data itself
            table["source"] = table["source"].where(table["source"] == "generated", source)
        table.to_csv(folder / name, index=False, lineterminator="\n")
    claims.measured(load_claims(), results).to_csv(folder / RECORD_CLAIMS, index=False, lineterminator="\n")
    sums = {name: artifacts.sha256_of(folder / name) for name in (*RECORD_TABLES, RECORD_CLAIMS)}
    artifacts.write_json(folder / "record.json", {**facts(results, study, scale), "sha256": sums, **changes})
    return folder


def facts(results: Results, study: str, scale: str) -> dict[str, Any]:
    """``record.json`` without the digests of the tables."""
    spent = {"attempts": 1, "seconds": 60.0, "core_seconds": 100.0}
    trained = [cell for cell in results.cells if cell.loss]
    return {
        "study": study,
        "title": "",
        "scale": scale,
        "commit": COMMIT,
        "params": PARAMS,
        "seeds": list(results_fixture.SEEDS),
        "versions": {"python": "3.11.9", "torch": "2.13.0"},
        "hardware": [MACHINE],
        "training": {name: value * len(trained) for name, value in spent.items()},
        "evaluation": {name: value * len(results.cells) for name, value in spent.items()},
        "count": len(results.cells),
        "cells": {cell.name: _cell(cell, spent) for cell in results.cells},
        "datasets": {cell.dataset: _dataset(cell) for cell in results.cells},
        "models": {cell.model: _model(cell) for cell in results.cells},
    }


def _cell(cell: CellFiles, spent: dict[str, float]) -> dict[str, Any]:
    known = {"run_key": cell.score["run_key"], "score_key": cell.score["key"], "evaluation": spent}
    return {**known, "training": spent if cell.loss else None}


def _dataset(cell: CellFiles) -> dict[str, Any]:
    told = {name: cell.score[name] for name in ("modes", "mode", "primary_metric", "frames", "origin")}
    return {**told, "parameters": cell.score["parameters"]["dataset"]}


def _model(cell: CellFiles) -> dict[str, Any]:
    arguments = {name: value for name, value in cell.score["parameters"]["model"].items() if name != "depth"}
    return {"arguments": arguments, "replication": cell.score["replication"]}
