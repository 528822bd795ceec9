"""Maps that are stored under a name, in a folder of the user."""

import os
import re
from pathlib import Path

from gotsurge_async.errors import ConfigError
from gotsurge_async.system.files import user_folder
from gotsurge_async.tables.fields import did_you_mean

_ENDING = ".toml"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def maps_folder() -> Path:
    """The folder of the maps: the value of GOTSURGE_MAPS, or a folder in the user's configuration."""
    if folder := os.environ.get("GOTSURGE_MAPS"):
        return Path(folder)
    return user_folder("config") / "maps"


def kept_maps() -> list[str]:
    """The names of the stored maps."""
    try:
        return sorted(path.stem for path in maps_folder().glob(f"*{_ENDING}") if _NAME.fullmatch(path.stem))
    except OSError:
        return []


def find_map(name: str) -> Path:
    """The file of a map, by its path or its name; ConfigError if there is no such map."""
    if Path(name).is_file():
        return Path(name)
    if _NAME.fullmatch(name) and (kept := maps_folder() / f"{name}{_ENDING}").is_file():
        return kept
    if name.endswith(_ENDING) or os.sep in name:
        raise ConfigError(f"{name}: cannot be read: there is no such file", "E201")
    known = kept_maps()
    hint = did_you_mean(name, known) or (f"; saved: {', '.join(known)}" if known else "")
    raise ConfigError(f"there is no map {name}, either as a file or as a saved map{hint} (gotsurge map list)", "E231")


def keep_map(name: str, text: bytes, *, replace: bool = False) -> Path:
    """Store a map under a name, in a file that only its owner can read, and return the path.

    Raises ConfigError if the name is not valid, or is taken, or the file cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f'"{name}" is not a valid name for a map: use only letters, digits, -, _ and .', "E231")
    path = maps_folder() / f"{name}{_ENDING}"
    write_map(path, text, replace=replace)
    return path


def write_map(path: Path, text: bytes, *, replace: bool = False) -> None:
    """Write a map to a file; ConfigError if the file exists, or cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if replace else os.O_EXCL)
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} already exists: --force replaces it", "E110") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}", "E109") from None
