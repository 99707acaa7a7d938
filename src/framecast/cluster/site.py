"""What is particular to a cluster: ``slurm/site.yaml``, the one place to change when a site differs.

Nothing in the repository needs editing: every key has an environment variable, ``FRAMECAST_<KEY>``, and
``FRAMECAST_SITE=<file>`` puts another file in the place of this one.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from framecast.errors import UserError
from framecast.ranges import NonNegativeInt, PositiveFloat, PositiveInt
from framecast.study.params import Section
from framecast.study.reading import read_section

AFFECTS_NUMBERS = False
SITE = Path("slurm/site.yaml")

#: These become words of an sbatch command, so they hold nothing that a shell reads.
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.,:@+-]*$", max_length=200)]
Expression = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.,&|*()\[\]-]*$", max_length=200)]
Flags = Annotated[str, Field(pattern=r"^(--[A-Za-z0-9-]+(=[A-Za-z0-9_.,:@/+-]+)? ?)*$", max_length=500)]


class Site(Section):
    """A cluster, as jobs need to know it."""

    partition: Word = ""
    cpu_partition: Word = ""
    account: Word = ""
    gpus: NonNegativeInt = 1
    gpu_type: Word = ""
    constraint: Expression = ""
    extra: Flags = ""
    device: Literal["cuda", "cpu"] = "cuda"
    cpus: PositiveInt = 2
    memory_mb: PositiveInt = 64_000
    walltime: PositiveInt = 1440
    margin: NonNegativeInt = 300
    teraflops: PositiveFloat = 10.0


def load() -> Site:
    """Read the site file with the environment laid over it.

    Raises UserError (file or variable, found, allowed) for what is wrong, and for a margin that leaves no time.
    """
    file = Path(os.environ.get("FRAMECAST_SITE", SITE))
    if file == SITE and not file.exists():  # a copy of the pipeline without a cluster's settings
        return Site()
    site = read_section(file, Site, changes := {})
    for name in Site.model_fields:
        if (variable := f"FRAMECAST_{name.upper()}") in os.environ:
            changes[name] = _value(name, os.environ[variable])
            try:
                site = read_section(file, Site, changes)
            except UserError as error:
                raise UserError(f"environment: {variable}: {str(error).split(f'{name}: ', 1)[-1]}") from None
    if site.margin >= 60 * site.walltime:
        raise UserError(
            f"{file}: margin: found {site.margin} s with a walltime of {site.walltime} minutes; allowed: less than that"
        )
    return site


def _value(name: str, written: str) -> Any:
    """The environment holds text; a key that holds a number takes what YAML reads in it."""
    is_number = isinstance(Site.model_fields[name].default, int | float)
    try:
        return yaml.safe_load(written) if is_number else written
    except yaml.YAMLError:
        return written
