"""DVC's configuration as DVC itself reads it: of the system, the user, the repository and this copy, the last first.

The folders of the first two are DVC's own choice and can be moved by its variables, so DVC is asked.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from framecast.errors import UserError

AFFECTS_NUMBERS = False
FOLDER = Path(".dvc")


def read() -> Mapping[str, Any]:
    """Section → option → value, the paths in it absolute. Raises UserError for a file that cannot be read."""
    from dvc.config import Config, ConfigError

    try:
        return Config(str(FOLDER) if FOLDER.is_dir() else None, validate=False)
    except (ConfigError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{_first_unreadable()} cannot be read ({reason}); mend it, or take it away") from None


def _first_unreadable() -> Path:
    from dvc.config import Config, ConfigError

    paths = [Path(Config.get_dir(level), Config.CONFIG) for level in Config.SYSTEM_LEVELS]
    for path in (*paths, FOLDER / Config.CONFIG, FOLDER / Config.CONFIG_LOCAL):
        try:
            Config.load_file(str(path))
        except FileNotFoundError:
            continue
        except (ConfigError, OSError):
            return path
    return FOLDER


def cache_folder() -> Path:
    """Where DVC keeps the content of this repository's artefacts, by default ``.dvc/cache``."""
    if not FOLDER.is_dir():
        return FOLDER / "cache"
    config = read()
    cache = config.get("cache", {})
    remote = config.get("remote", {}).get(cache.get("local"), {})  # a remote may be named to serve as the cache
    written = remote.get("url") or cache.get("dir")
    return as_seen_from_here(Path(written)) if written else FOLDER / "cache"


def as_seen_from_here(path: Path) -> Path:
    """Relative where it lies in this folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
