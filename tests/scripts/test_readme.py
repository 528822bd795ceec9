"""README on PyPI: the build makes its relative links and pictures absolute, from one address in pyproject.toml."""

import re
import tomllib
from pathlib import Path

from tests.site.test_links import links, why_dead

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HOME = PROJECT["project"]["urls"]["Repository"]


def built(text: str) -> str:
    """A text as the build changes it."""
    for each in PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(each["pattern"], each["replacement"], text)
    return text


def test_the_links_of_readme_work_in_a_checkout() -> None:
    """None names a place where the project is kept, and each leads to a file of it."""
    targets = list(links(ROOT / "README.md"))
    assert len(targets) > 10
    assert not [target for target in targets if target.startswith(HOME) or why_dead(ROOT / "README.md", target)]


def test_the_build_makes_them_absolute(tmp_path: Path) -> None:
    """Pages lead to the repository, pictures to their bytes; others' addresses stay as they are."""
    page = tmp_path / "README.md"
    page.write_text(built((ROOT / "README.md").read_text(encoding="utf-8")), encoding="utf-8")
    before, after = list(links(ROOT / "README.md")), list(links(page))
    assert len(after) == len(before)
    for old, new in zip(before, after, strict=True):
        kind = "raw" if re.search(r"\.(svg|png)$", old) else "blob"
        assert new == (old if old.startswith("https:") else f"{HOME}/{kind}/main/{old}")


def test_every_address_is_the_one() -> None:
    """What pyproject.toml says of the project's place begins with its repository."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert {found for found in re.findall(r"https://[\w./-]+?/[\w-]+/[\w-]+", text) if "gotsurge" in found} == {HOME}
    assert built("[a](b.md) ![c](d.png) [e](https://f.example) [g](#h)") == (
        f"[a]({HOME}/blob/main/b.md) ![c]({HOME}/raw/main/d.png) [e](https://f.example) [g](#h)"
    )


def test_what_needs_no_installation_is_the_first_command() -> None:
    """With uv and with pipx a reader types one line, which runs the same push with the same extra."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    ((extra, push),) = re.findall(r'-e "(\.\[\w+\])" && \.venv/bin/(gotsurge .*)$', text, re.MULTILINE)
    lines = re.findall(r'^(uvx --from|pipx run --spec) "(\S+)" (gotsurge .*)$', text, re.MULTILINE)
    assert lines == [("uvx --from", extra, push), ("pipx run --spec", extra, push)]
