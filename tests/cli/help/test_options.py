"""The texts of all options, as an operator reads them on the first day."""

import re
from collections.abc import Iterator

import click
import pytest

from gotsurge_async.cli.app import FOLDER_OF, load


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
