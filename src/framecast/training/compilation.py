"""What ``compile`` needs besides PyTorch: a compiler, which clusters' compute nodes and slim containers often lack.

Looked for before anything is trained, because ``torch.compile`` asks for it at the first step.
"""

import os
import shlex
import shutil

from framecast.errors import UserError

AFFECTS_NUMBERS = False
#: device type → the variable that names its compiler, and the compilers that are tried without it: C++ for the loops
#: of a CPU, C for the launcher of each kernel of a GPU
COMPILERS = {"cpu": ("CXX", ("g++",)), "cuda": ("CC", ("gcc", "clang"))}


def missing_compiler(device_type: str) -> str:
    """What ``torch.compile`` would not find for this kind of device, in words; empty where it finds it."""
    variable, usual = COMPILERS[device_type]
    named = shlex.split(os.environ.get(variable, ""))
    if any(map(shutil.which, named[:1] or usual)):
        return ""
    found = f"{variable}={os.environ[variable]!r}, which is no program here" if named else "no compiler"
    return f"found {found}, wanted {' or '.join(usual)} on PATH"


def refuse_without_compiler(model: str, compile_mode: str, device_type: str) -> None:
    """UserError for a recipe that wants to be compiled where that cannot be."""
    if compile_mode != "off" and (missing := missing_compiler(device_type)):
        raise UserError(
            f"params.yaml: compile: {compile_mode} for {model}: {missing}; install one, name it in "
            f"{COMPILERS[device_type][0]}, or write compile: off"
        )
