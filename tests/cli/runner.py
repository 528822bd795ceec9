"""Running a command inside the test, with folders of its own and no setting of the machine's."""

import os
from pathlib import Path
from typing import Any

import attrs
from click.testing import CliRunner, Result

from gotsurge_async.cli.app import gotsurge
from gotsurge_async.simulator import Simulator


@attrs.frozen
class Runner:
    """Runs ``gotsurge WORDS``; the user's folders are below ``home``."""

    home: Path

    def __call__(self, *words: str | Path, stdin: str | bytes | None = None, **variables: str) -> Result:
        """Run the command to its end."""
        env: dict[str, str | None] = {name: None for name in os.environ if name.startswith("GOTSURGE_")}
        env |= {f"XDG_{name}_HOME": str(self.home / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
        env |= variables
        options: dict[str, Any] = {"input": stdin}
        return CliRunner(env=env).invoke(gotsurge, list(map(str, words)), **options)


def local(simulator: Simulator, path: str = "") -> list[str]:
    """The options that name a running simulator."""
    return ["--env", "local", "--api-base", simulator.api_base + path]
