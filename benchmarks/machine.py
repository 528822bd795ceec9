"""The machine and the versions, in general words."""

import os
import platform
import sqlite3
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from benchmarks import pinning

PACKAGES = (
    *("aiohttp", "attrs", "cattrs", "msgspec", "orjson"),
    *("httpx", "pydantic", "openai", "requests"),
)


def described() -> dict[str, Any]:
    """Cores, system, Python and library versions, and when."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cores": os.cpu_count(),
        "pinned": len(pinning.cores()) >= 2,
        "system": platform.system(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "versions": {**{name: metadata.version(name) for name in PACKAGES}, "sqlite": sqlite3.sqlite_version},
    }


def line(facts: dict[str, Any]) -> str:
    """The same as a sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    pinned = "server and client on a core each" if facts["pinned"] else "nothing pinned"
    return (
        f"{facts['date']}, {facts['cores']} cores ({pinned}), {facts['system']} {facts['architecture']}, "
        f"Python {facts['python']}; {versions}"
    )
