"""The command ``gotsurge``."""

import sys

_NEEDED = ("click", "rich", "sqlalchemy", "aiosqlite", "platformdirs")


def main() -> None:
    """Run the command; ends the process."""
    try:
        from gotsurge_async.cli.app import gotsurge
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        print(  # noqa: T201 - the command's own output starts here
            f'gotsurge needs {error.name}: pip install "gotsurge-async[cli]"', file=sys.stderr
        )
        sys.exit(2)
    gotsurge()
