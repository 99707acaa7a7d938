"""The study, its wildcards and its target lists. Their workings: framecast.upkeep.engine; paths: framecast.study.grid."""

import sys

from framecast.study.grid import (
    BASELINE,
    CELL,
    DATA_FILES,
    PROBE,
    PROBE_FILES,
    RUN_FILES,
    SCORE_FILES,
)
from framecast.upkeep import driver, engine

shell.prefix(engine.prefix())
ask = engine.begin(workflow, sys.argv)
study = ask.study


wildcard_constraints:
    dataset="[a-z0-9_]+",
    model="[a-z0-9_]+",
    depth=r"\d+",
    loss="[a-z0-9_]+",
    seed=r"\d+",
    key="[0-9a-f]{8}",


every_prepared_dataset = ask.datasets
every_probe = ask.probes
every_trained_cell = ask.trained
every_score = ask.scores
every_lost_training = ask.lost_trainings
every_lost_file = ask.lost
