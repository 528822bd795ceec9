"""The texts of all options, as an operator reads them on the first day."""

import re
from collections.abc import Iterator

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


OPTIONS = [
    pytest.param(command, option, id=f"{path} {option.opts[-1]}")
    for name in FOLDER_OF
    for path, command in commands(name, load(name))
    for option in command.params
    if isinstance(option, click.Option)
]


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_an_option_is_explained(command: click.Command, option: click.Option) -> None:
    """In whole sentences; its default is shown, and what it takes is named by a word that is no type of a program."""
    left, text = option.get_help_record(click.Context(command)) or ("", "")
    sentences = re.sub(r"  \[.*", "", text, flags=re.DOTALL)
    assert re.fullmatch(r"[A-Z-].*[.!?]", sentences, re.DOTALL)
    assert len(sentences.split()) > 3
    assert not re.search("INTEGER|FLOAT|RANGE", left)
    has_default = not option.is_flag and option.default not in (None, "", ()) and "UNSET" not in repr(option.default)
    assert not has_default or "default" in text


@pytest.mark.parametrize("path", [path for name in FOLDER_OF for path, _ in commands(name, load(name))])
def test_no_line_of_help_ends_inside_a_word(path: str) -> None:
    """At 80 columns and at 100 an option can be copied from the text of another one."""
    for width in (80, 100):
        help_ = CliRunner().invoke(gotsurge, [*path.split(), "--help"], terminal_width=width).output
        assert "\N{NON-BREAKING HYPHEN}" not in help_
        assert not re.findall(r".*\w-\n.*", help_)
        assert not re.findall(r".*\.\.\.\n", help_.partition("Commands:")[2])
