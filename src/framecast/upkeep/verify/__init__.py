"""Hash every artefact again, in the workspace and in DVC's cache, and name what is not what it was.

What counts as *damage*, which is what fails the command:

- a file whose sha256 is not the one that its manifest holds, or that its manifest lists and that is gone;
- a manifest that cannot be read, whose seal is not that of its content, that lists too few files, or that tells of
  another key, cell, parameters or fingerprints than its place and ``params.yaml`` say; a run of an earlier
  ``params.yaml`` must still give its own key;
- a manifest that is not the one that ``dvc.lock`` records while every file that it vouches for is, and that differs
  in more than ``versions``, ``device`` and ``description``: making an artefact again gives the same manifest;
- a checkpoint whose sha256 does not begin as its name says;
- an object in DVC's cache whose content does not have the md5 that is its name. A cache outside of ``.dvc`` may hold
  what belongs to other projects, so there only what ``dvc.lock`` names is looked at.

What is only *not recorded*, and gets a note: files that differ from ``dvc.lock`` while their own manifest agrees with
them. A run of Snakemake alone on another machine makes such files, and nothing is wrong with them. Hence what cannot
be found here, being made to look like it: a file changed together with the sha256 that vouches for it and the seal
over that, which with ``dvc.lock`` is such a note and without it is silent; and, without DVC's copy of a manifest, an
edit under a new seal of what neither key nor path knows, such as the number of steps. Manifests from before there were
seals have none and are judged by the rest. Folders without a manifest are unfinished work, which the next run makes
anew.

Nothing is ever written, and neither times nor permissions are looked at.
"""

from typing import TYPE_CHECKING

from framecast.errors import UserError
from framecast.upkeep.dvc_config import cache_folder
from framecast.upkeep.verify.artefacts import artefacts
from framecast.upkeep.verify.evidence import Evidence, Finding
from framecast.upkeep.verify.files import (
    artefact_files,
    checkpoints,
    hash_all,
    is_ours_alone,
    named_objects,
    objects,
    size_in_words,
)
from framecast.upkeep.verify.manifests import judged
from framecast.upkeep.verify.names import damaged_checkpoints, damaged_objects
from framecast.upkeep.verify.record import note_the_rest, read_lock

if TYPE_CHECKING:
    from framecast.study.grid import Grid

AFFECTS_NUMBERS = False
NOTES = 20  #: notes are printed up to this number, then counted


def verify(grid: "Grid") -> None:
    """Print one line for each thing that is not what it was, and how much was hashed.

    Raises UserError when there is damage, after every line of it was printed. Never modifies anything.
    """
    evidence = Evidence()
    findings: list[Finding] = []
    cache = cache_folder()
    workspace = [*artefact_files(), *checkpoints()]
    read_lock(evidence, findings, cache)
    evidence.objects = dict(objects(cache) if is_ours_alone(cache) else named_objects(cache, evidence))
    hash_all(evidence, workspace)
    findings += damaged_objects(evidence)
    findings += damaged_checkpoints(evidence)
    for artefact in artefacts(grid, evidence):
        findings += judged(artefact, evidence)
    note_the_rest(evidence)
    _tell(evidence, findings, len(workspace))


def _tell(evidence: Evidence, findings: list[Finding], in_workspace: int) -> None:
    for line in [*findings, *(f"note: {note}" for note in evidence.notes[:NOTES])]:
        print(line)
    if more := len(evidence.notes[NOTES:]):
        print(f"note: {more} more of these")
    count, size = len(evidence.digests), sum(found.size for found in evidence.digests.values())
    where = f"{in_workspace} in the workspace, {len(evidence.objects)} in DVC's cache"
    hint = "" if count else "; nothing has been made here yet: run `snakemake` or `dvc pull`"
    print(f"{count} files, {size_in_words(size)} hashed ({where}): {_count(findings)} damaged{hint}")
    if findings:
        raise UserError(f"verify: found {_count(findings)} damaged in {count} files; each is named above with its cure")


def _count(findings: list[Finding]) -> str:
    return str(len({finding.path for finding in findings})) if findings else "none"
