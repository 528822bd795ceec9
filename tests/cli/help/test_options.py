"""The texts of all options, as an operator reads them on the first day."""

import re
from collections.abc import Iterator
from itertools import product

import click
import pytest
from click.testing import CliRunner

from gotsurge_async.cli.app import FOLDER_OF, gotsurge, load


def commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """A command, and those below it, by what is typed."""
    yield path, command
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from commands(f"{path} {name}", below)


@pytest.mark.parametrize("name", FOLDER_OF)
def test_an_option_is_explained(name: str) -> None:
    """In whole sentences; its default is shown, and what it takes is named by a word that is no type of a program."""
    for path, command in commands(name, load(name)):
        for option in (param for param in command.params if isinstance(param, click.Option)):
            which = f"{path} {option.opts[-1]}"
            left, text = option.get_help_record(click.Context(command)) or ("", "")
            sentences = re.sub(r"  \[.*", "", text, flags=re.DOTALL)
            assert re.fullmatch(r"[A-Z-].*[.!?]", sentences, re.DOTALL), which
            assert len(sentences.split()) > 3, which
            assert not re.search("INTEGER|FLOAT|RANGE", left), which
            given = None if option.is_flag or "UNSET" in repr(option.default) else option.default
            assert given in (None, "", ()) or "default" in text, which


@pytest.mark.parametrize("name", FOLDER_OF)
def test_no_line_of_help_ends_inside_a_word(name: str) -> None:
    """At 80 columns and at 100 an option can be copied from the text of another one."""
    for (path, _), width in product(commands(name, load(name)), (80, 100)):
        help_ = CliRunner().invoke(gotsurge, [*path.split(), "--help"], terminal_width=width).output
        assert "\N{NON-BREAKING HYPHEN}" not in help_
        assert not re.findall(r".*\w-\n.*", help_)
        assert not re.findall(r".*\.\.\.\n", help_.partition("Commands:")[2])
