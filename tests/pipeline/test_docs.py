"""The tutorial and the how-to of clips, followed by the real programs in a clone of a study that takes seconds."""

import os
import re
import subprocess

from tests import pages, warm
from tests.conftest import BIN
from tests.pipeline.conftest import CONVLSTM, Clone
from tests.predict.clips import quarters, write

SIMVP = "moving_mnist/simvp/depth-3/mse/seed-1"  #: of the demo; the small study has another system of video
CHANGE = ("hidden_size: 8", "hidden_size: 7")  #: what stands for the page's own change, which tests/test_docs.py looks at


def follow(clone: Clone, script: str) -> str:
    """Run a block of a page, as a shell does, and give what it prints."""
    environment = {**os.environ, **clone.environment}
    path = os.pathsep.join([str(warm.programs()), str(BIN), environment["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace(SIMVP, CONVLSTM).replace("simvp", "seq2seq_convlstm")],
        cwd=clone.folder,
        env={**environment, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{script}{done.stdout}{done.stderr}"
    return done.stdout


def test_the_tutorial_and_the_clips(pulled: Clone) -> None:
    """What the pages say of each step is so, up to two predicted clips and the page beside each."""
    look, plan, run, compare, back, clip = pages.scripts("docs/tutorial.md")
    trained = pulled.artefacts()
    assert re.search(rf"{CONVLSTM} +\w+", told := follow(pulled, look))
    assert "5 cells at scale tiny: done 5" in told
    pulled.edit("params.yaml", CHANGE)
    planned = follow(pulled, plan)
    assert "seq2seq_lstm" in planned
    assert CONVLSTM not in planned
    follow(pulled, run)
    told = follow(pulled, compare)
    assert "hidden_size 8 → 7" in told
    assert "(one seed)" in told
    again = pulled.artefacts()
    pulled.edit("params.yaml", CHANGE[::-1])
    assert "seq2seq_lstm" not in follow(pulled, back)
    assert pulled.artefacts() == again
    assert trained.items() <= again.items()
    write(pulled.folder / "walk.mp4", [quarters()] * 12, codec="libx264")
    follow(pulled, clip)
    for script in pages.scripts("docs/how-to-predict-your-own-clip.md"):
        follow(pulled, script)
    for folder in ("out", "out/digit"):
        made = {path.name for path in (pulled.folder / folder).iterdir() if path.is_file()}
        assert made == {"future.mp4", "future.npz", "future.json", "compare.html"}
