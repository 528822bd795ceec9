"""The ``console`` blocks of README.md are run; they print what it says. `tests.test_journey` runs those of docs/."""

import re
from pathlib import Path

import pytest

from docs.pictures import terminal
from tests.support.consoles import reader

ROOT = Path(__file__).parents[1]
RUN = "20300304T010203-k3f9"


def run(page: Path, folder: Path) -> None:
    """A page has commands, and each prints what the page says."""
    with reader(folder) as someone:
        assert someone.read(page) >= 1


def test_the_commands_of_the_readme_print_what_it_says(tmp_path: Path) -> None:
    """Every command, run in turn at a terminal, prints what README shows."""
    run(ROOT / "README.md", tmp_path)


@pytest.mark.parametrize(
    ("page", "right"),
    [
        (
            f"$ echo 20260101T000000-abcd\n{RUN}\n$ echo {RUN}\n{RUN}\n",
            True,
        ),
        (
            f"$ echo 20260101T000000-abcd\n{RUN}\n$ echo 20260101T000000-zzzz\n{RUN}\n",
            False,
        ),
        ("$ export A=b && false\n$ echo $? $A in 7.5 s\n1 b in 0.1 s\n", True),
        ("$ echo one && echo two && echo three\none\n…\nthree\n", True),
        ("$ echo one two\none …\n", True),
        ("$ echo one\ntwo\n", False),
        ("$ echo one\n", False),
    ],
)
def test_a_page_that_is_wrong_is_found(page: str, right: bool, tmp_path: Path) -> None:
    """Ids are the same ones all over a page, times are any, dots stand for what is left out; all else is compared."""
    file = tmp_path / "page.md"
    file.write_text(f"```console\n{page}```\n", encoding="utf-8")
    if right:
        run(file, tmp_path)
    else:
        with pytest.raises(AssertionError, match=r"page\.md:"):
            run(file, tmp_path)


def texts(svg: str) -> list[str]:
    """The words of a picture, and the numbers in them, whatever draws it."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


@pytest.mark.slow
def test_the_picture_of_the_terminal_shows_what_the_command_prints(tmp_path: Path) -> None:
    """docs/pictures/terminal.svg is what `python -m docs.pictures.terminal` would draw now."""
    assert texts(terminal.PICTURE.read_text(encoding="utf-8")) == texts(terminal.draw(terminal.seen(tmp_path)))
