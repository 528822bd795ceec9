"""docs/command.md: its examples are commands that exist, and those that need nobody are run."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from gotsurge_async.cli.app import gotsurge
from tests.cli.service.test_tasks import order
from tests.support.commands import EXAMPLES, Runner

PAGE = (Path(__file__).parents[2] / "docs" / "command.md").read_text(encoding="utf-8")
LINES = re.findall(r"^(?:\$ )?(gotsurge .*)$", PAGE, re.MULTILINE)


def commands(line: str) -> Iterator[list[str]]:
    """The words of each ``gotsurge`` in a line, which may be a pipe."""
    for part in line.split(" | "):
        words = shlex.split(part)
        if words[0] == "gotsurge":
            yield words[1:]


EXAMPLE_WORDS = [words for line in LINES for words in commands(line)]


def found(words: list[str]) -> tuple[click.Command, str, list[str]]:
    """The command that words call, its full name, and the rest of the words."""
    command: click.Command = gotsurge
    name: list[str] = []
    while isinstance(command, click.Group):
        if command.invoke_without_command and (not words or words[0].startswith("-")):
            break
        assert words, f"{' '.join(name)} is a group"
        name.append(words[0])
        inner = command.get_command(click.Context(command), words[0])
        assert inner is not None, f"there is no gotsurge {' '.join(name)}"
        command, words = inner, words[1:]
    return command, " ".join(name), words


def leaves(command: click.Command, name: str = "") -> Iterator[str]:
    """The full names of all commands."""
    if not isinstance(command, click.Group):
        yield name
        return
    if command.invoke_without_command:
        yield name
    context = click.Context(command)
    for each in command.list_commands(context):
        inner = command.get_command(context, each)
        assert inner is not None
        yield from leaves(inner, f"{name} {each}".strip())


@pytest.mark.parametrize("words", EXAMPLE_WORDS, ids=" ".join)
def test_an_example_is_a_command_with_these_options(words: list[str], run: Runner) -> None:
    """The command exists, and its help names every option that the example uses."""
    _, name, rest = found(words)
    help_ = run(*name.split(), "--help").stdout
    for option in (word for word in rest if re.fullmatch(r"--?[a-z][a-z-]*", word)):
        assert re.search(rf"(^|\s|,){option}\b", help_), f"{name} has no {option}"


def test_every_command_has_an_example() -> None:
    """No command is missing on the page."""
    assert {found(words)[1] for words in EXAMPLE_WORDS} == set(leaves(gotsurge))


@pytest.mark.parametrize(
    "words", [words for words in EXAMPLE_WORDS if "--simulate" in words or "openapi" in words], ids=" ".join
)
def test_an_example_that_needs_nobody_works(
    words: list[str], run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --simulate, and where nothing is sent, the example ends with exit code 0."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(EXAMPLES)
    (tmp_path / "order.json").write_text(json.dumps(order("CALL-7-ROPE")))
    done = run(*words)
    assert done.exit_code == 0, done.output
