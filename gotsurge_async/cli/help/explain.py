"""``gotsurge explain``: what an error or an exit code means, and what to do."""

import re
from collections.abc import Sequence
from itertools import groupby

import click

from gotsurge_async.catalogue import Entry, entries, entry, explaining, is_code, mentioning, near
from gotsurge_async.cli.shared.exits import WrongUse
from gotsurge_async.cli.shared.options import json_option
from gotsurge_async.cli.shared.output import filled, is_terminal, print_json, print_record

_PASTED = re.compile(r"\s*(see:\s*)?gotsurge explain\s+(?=\S)")
"""The beginning of the line below an error, which people copy whole."""
_RAISED = re.compile(r"[\s|]*((\w+\.)+[A-Z]\w*|[A-Z]\w*(Error|Warning)): ")
"""The beginning of the last line of a traceback."""
_LINK = re.compile(r"\[([^\]]+)\]\(([^)]*)\)")
_EMPHASIS = re.compile(r"(?<![\w*])\*([^*\n]+)\*(?![\w*])")


@click.command()
@click.argument("words", metavar="[CODE | MESSAGE]...", nargs=-1)
@json_option
def explain(words: tuple[str, ...], as_json: bool) -> None:
    """Say what an error or an exit code means, why it happens, and what to do; of all, in a list, without arguments.

    CODE is what an error names: E201, exit-3, or the number of an exit code. MESSAGE is an error as it was printed, the
    last line of a traceback of Python, or some words of one. Nothing is read but this program's own texts: no network,
    no ledger.
    """
    if pasted := _PASTED.match(line := " ".join(words)):
        words = tuple(line[pasted.end() :].split())
    chosen = entries_for(words)
    if as_json:
        print_json([{**one._asdict(), "messages": list(one.messages)} for one in chosen])
    elif len(chosen) == 1 or all(map(is_code, words or ("list",))):
        click.echo(filled("\n\n".join(map(_text, chosen))))
    else:
        _print_list(chosen)


def entries_for(words: Sequence[str]) -> list[Entry]:
    """The entries of codes or of a message; all without either.

    Raises:
        click.UsageError: there are none.
    """
    if not words:
        return list(entries().values())
    if all(map(is_code, words)):
        return [_entry_of(code) for code in words]
    message = " ".join(words)
    raised = _RAISED.match(message)
    message = message[raised.end() :] if raised else message
    exact = explaining(message) if raised or len(message.split()) > 3 else None
    matches = [exact] if exact is not None else mentioning(message)
    if not matches:
        raise WrongUse(f"no error says {message!r}: give fewer words of it; gotsurge explain lists all", "E891")
    return matches


def _entry_of(code: str) -> Entry:
    known = entry(code)
    if known is None:
        like = f"; near it are {', '.join(near(code))}" if near(code) else ""
        raise WrongUse(f"nothing has the code {code}{like}: gotsurge explain lists all", "E891")
    return known


def _text(one: Entry) -> str:
    """An entry without the signs of Markdown."""
    text = _EMPHASIS.sub(r"\1", _LINK.sub(r"\1", one.text))
    parts = [f"{one.code}: {one.title}", text]
    if one.messages:
        parts.append("It explains:\n" + "\n".join(f"  {message}" for message in one.messages))
    return "\n\n".join(parts)


def _print_list(listed: Sequence[Entry]) -> None:
    for family, members in groupby(listed, key=lambda one: one.family):
        click.echo(f"{family}:")
        if is_terminal():
            print_record((f"  {one.code}", one.title) for one in members)
            continue
        for one in members:
            click.echo(f"  {one.code:8} {one.title}")
