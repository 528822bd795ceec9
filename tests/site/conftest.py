"""The site, built once for all tests that look at it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever test comes first waits for the build, which takes its time on a busy machine."""
    for item in items:
        if "site" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, built with the extra `docs` alone; a warning is an error."""
    out = tmp_path_factory.mktemp("site")
    words = ["-W", "--keep-going", "-q", "-E", "-b", "html", "-d", str(out / ".doctrees"), "docs", str(out / "html")]
    done = subprocess.run(
        [sys.executable, "-m", "tests.site.only_docs", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return out / "html"
