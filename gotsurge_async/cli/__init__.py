"""The command ``gotsurge``."""

import gc
import sys
from importlib.util import find_spec

_NEEDED = ("click", "rich", "filelock", "platformdirs")


def main() -> None:
    """Run the command; ends the process."""
    # Not loaded: each command loads those that it needs.
    missing = next((name for name in _NEEDED if find_spec(name) is None), None)
    if missing is not None:
        print(  # noqa: T201 - the command's own output starts here
            f'gotsurge needs {missing}: pip install "gotsurge-async[cli]"', file=sys.stderr
        )
        sys.exit(2)
    gc.set_threshold(0)  # nothing is collected until the command is loaded: see `app.load`
    from gotsurge_async.cli.app import PRINTING, gotsurge, only_reads, running
    from gotsurge_async.cli.streams import lossy_output

    with lossy_output(lambda: running() in PRINTING, only_reads):
        gotsurge()
