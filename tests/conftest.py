"""What holds for all tests."""

import os

CRASH_SEED = int(os.environ.get("CRASH_SEED", "20261124"))
"""Where the crash tests begin their choices of where a process dies."""


def pytest_report_header() -> str:
    """Print the seed, so that a failure can be repeated: ``CRASH_SEED=... python -m pytest -m slow tests/crash``."""
    return f"CRASH_SEED={CRASH_SEED}"
