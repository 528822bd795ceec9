"""``gotsurge explain`` and ``gotsurge topics``: errors, exit codes, and help that belongs to no single command."""

import re
from collections.abc import Sequence
from itertools import groupby

import click

from gotsurge_async.catalogue import Entry, entries, entry, explaining
from gotsurge_async.cli.shared.exits import Exit, WrongUse
from gotsurge_async.cli.shared.options import json_option
from gotsurge_async.cli.shared.output import filled, is_terminal, print_one, print_record
from gotsurge_async.cli.variables import OTHERS, VARIABLES

_PASTED = re.compile(r"\s*(see:\s*)?gotsurge explain\s+(?=\S)")
"""The beginning of the line below an error, which people copy with it."""
_LINK = re.compile(r"\[([^\]]+)\]\(([^)]*)\)")
_EMPHASIS = re.compile(r"(?<![\w*])\*([^*\n]+)\*(?![\w*])")


@click.command()
@click.argument("words", metavar="[CODE | MESSAGE]...", nargs=-1)
@json_option
def explain(words: tuple[str, ...]) -> None:
    """Say what an error or an exit code means, why it happens, and what to do; of all, in a list, without arguments.

    CODE is what an error names: E201, exit-3, or the number of an exit code. MESSAGE is an error as it was printed, or
    the last line of a traceback of Python. Nothing is read but this program's own texts: no network, no ledger.
    """
    if pasted := _PASTED.match(line := " ".join(words)):
        words = tuple(line[pasted.end() :].split())
    chosen = entries_for(words)
    documents = [{**one._asdict(), "messages": list(one.messages)} for one in chosen]
    print_one(documents, filled("\n\n".join(map(_text, chosen))) if words else lambda: _print_list(chosen))


def entries_for(words: Sequence[str]) -> list[Entry]:
    """The entries of codes or of a message; all entries without either."""
    if not words:
        return list(entries().values())
    message = " ".join(words)
    matches = [one for one in map(entry, words) if one is not None]
    if len(matches) == len(words):
        return matches
    exact = explaining(message)
    if exact is None:
        raise WrongUse(f"{message!r} is not a known code or message: see all codes with gotsurge explain", "E891")
    return [exact]


def _text(one: Entry) -> str:
    """An entry without the markup of Markdown."""
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


# --- topics ----------------------------------------------------------------------------------------------------------

EXIT_CODES = {code: entries()[f"exit-{int(code)}"].title for code in Exit}

MAP = """\
A map says how the columns of your own table are to be read: a TOML file for --map, or the name of one that is kept
(gotsurge map). gotsurge columns shows the fields. Everything but what you need may be left out.

  [file]                          # how it is written, where no option says it
  header_row = 3
  timezone = "Asia/Singapore"

  [columns]                       # your column = the field that it gives
  "Order no." = "tracking_id"
  "Ship to" = "to_address.street_address"
  "Fare" = "price"
  "Pick up from" = "from_time_window.start_time_utc"
  "Pick up until" = "from_time_window.end_time_utc"
  "Mode" = "broadcast_preference"
  "Mobile" = "to_contact.phone"

  [join]                          # several columns as one
  "from_address.street_address" = ["Street", "Unit"]

  [constants]                     # the same in each row; now: at its push
  service_type = "ftl"
  vehicle_preference = "van_2.4m"
  client_time_utc = "now"

  [defaults]                      # where a row says nothing
  currency = "SGD"

  [dates]                         # 31 December 2030, 23:59, as you write it
  "*" = "31/12/2030 23:59"

  [numbers]                       # 1234.56, as you write it
  price = "S$1,234.56"

  [phones]                        # the country, then a number as you write it
  "*" = "+65 61234567"

  [values.broadcast_preference]   # what stands there = what is meant
  "Launch" = "marine"
  "*" = "all"

A column that the map names and the table lacks is a fault. Columns that nobody reads are named in ignore = ["Remark"],
or all of them by ignore = ["*"], at the top of the file. Items have the same sections below [items].
"""

COMPLETION = """\
The shell completes commands and options once this is set up:

  bash   echo 'eval "$(_GOTSURGE_COMPLETE=bash_source gotsurge)"' >> ~/.bashrc
  zsh    echo 'eval "$(_GOTSURGE_COMPLETE=zsh_source gotsurge)"' >> ~/.zshrc
  fish   _GOTSURGE_COMPLETE=fish_source gotsurge > ~/.config/fish/completions/gotsurge.fish

Open a new shell, type gotsurge and a space, and press Tab. Bash needs version 4.4 or later.
"""

TOPICS = {
    "exit-codes": "What the exit codes of all commands mean; gotsurge explain says more of each.",
    "environment": "The environment variables that are heeded.",
    "map": "How to read a table with other columns.",
    "completion": "Completion in the shell.",
}
_TEXTS = {"map": MAP, "completion": COMPLETION}


@click.command()
@click.argument("topic", type=click.Choice(tuple(TOPICS)), required=False)
@json_option
def topics(topic: str | None) -> None:
    """Explain what belongs to no single command: exit codes, environment variables, maps, completion."""
    if topic in _TEXTS:
        print_one({topic: _TEXTS[topic]}, filled(_TEXTS[topic].rstrip()))
        return
    lines = TOPICS
    if topic == "exit-codes":
        lines = {str(int(code)): meaning for code, meaning in EXIT_CODES.items()}
    elif topic == "environment":
        lines = VARIABLES | OTHERS
    print_one(lines, lines.items())
