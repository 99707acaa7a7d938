"""A recorded study in a real clone: one engine's news is the other's, and git holds everything that made it."""

import pytest

from tests.pipeline.conftest import Clone

pytestmark = pytest.mark.slow


def test_a_record_makes_the_report_new_in_both_engines_and_nothing_else(pulled: Clone) -> None:
    told = pulled("framecast", "record", "sequence_depth").stdout.split()
    assert told == ["reports/records/sequence_depth-tiny", "docs/results.md"]
    assert "sequence_depth-tiny" in (pulled.folder / "docs" / "results.md").read_text(encoding="utf-8")
    assert pulled.planned() == {"report"}
    before = pulled.artefacts()
    assert "reports/records" in pulled("dvc", "status").stdout
    pulled("dvc", "repro")
    assert pulled.made_since(before) == set()
    pulled.commit("The study, recorded")
    pulled.assert_quiet()
    page = (pulled.folder / "reports" / "report.html").read_text(encoding="utf-8")
    assert 'href="records/sequence_depth-tiny/"' in page
    (pulled.folder / "reports" / "records" / "sequence_depth-tiny" / "scores.csv").write_text("", encoding="utf-8")
    refused = pulled("framecast", "report", check=False)
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert "scores.csv: found sha256" in refused.stderr
