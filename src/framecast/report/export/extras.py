"""Packages that one format alone needs, and that nobody else has to install."""

import importlib
from types import ModuleType

from framecast.errors import UserError


def extra(module: str, kind: str) -> ModuleType:
    """The module; UserError that names the package where it cannot be imported."""
    package = module.partition(".")[0]
    try:
        importlib.import_module(package)
        return importlib.import_module(module)
    except ImportError as error:
        why = "is not installed" if error.name == package else f"cannot be imported: {error}"
        raise UserError(f"export {kind}: the package {package} {why}; run `pip install {package}`") from None
