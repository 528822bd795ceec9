"""``gotsurge explain``: what an error or an exit code means, and what to do."""

import re
from collections.abc import Sequence
from itertools import groupby

import click

from gotsurge_async.catalogue import Entry, entries, entry, explaining, is_code, mentioning, near
from gotsurge_async.cli.shared.options import json_option
from gotsurge_async.cli.shared.output import filled, is_terminal, print_json, print_record

_PASTED = re.compile(r"\s*(see:\s*)?gotsurge explain\s+(?=\S)")
"""How the line below an error begins, which people copy whole."""
_RAISED = re.compile(r"[\s|]*((\w+\.)+[A-Z]\w*|[A-Z]\w*(Error|Warning)): ")
"""How the last line of a traceback begins."""
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
    found = _found(words)
    if as_json:
        print_json([_document(each) for each in found])
    elif len(found) == 1 or all(map(is_code, words or ("list",))):
        click.echo(filled("\n\n".join(map(_text, found))))
    else:
        _print_list(found)


def _found(words: Sequence[str]) -> list[Entry]:
    if not words:
        return list(entries().values())
    if not all(map(is_code, words)):
        message = " ".join(words)
        raised = _RAISED.match(message)
        message = message[raised.end() :] if raised else message
        exact = explaining(message) if raised or len(message.split()) > 3 else None
        found = [exact] if exact is not None else mentioning(message)
        if not found:
            raise click.UsageError(f"no error says {message!r}: give fewer words of it; gotsurge explain lists all")
        return found
    found = []
    for word in words:
        known = entry(word)
        if known is None:
            like = f"; near it are {', '.join(near(word))}" if near(word) else ""
            raise click.UsageError(f"nothing has the code {word}{like}: gotsurge explain lists all")
        found.append(known)
    return found


def _document(each: Entry) -> dict[str, object]:
    return {**each._asdict(), "messages": list(each.messages)}


def _text(each: Entry) -> str:
    """An entry without the signs of Markdown."""
    text = _EMPHASIS.sub(r"\1", _LINK.sub(r"\1", each.text))
    parts = [f"{each.code}: {each.title}", text]
    if each.messages:
        parts.append("It explains:\n" + "\n".join(f"  {message}" for message in each.messages))
    return "\n\n".join(parts)


def _print_list(found: Sequence[Entry]) -> None:
    for family, mine in groupby(found, key=lambda each: each.family):
        click.echo(f"{family}:")
        if is_terminal():
            print_record((f"  {each.code}", each.title) for each in mine)
            continue
        for each in mine:
            click.echo(f"  {each.code:8} {each.title}")
