"""``gotsurge topics``: help that belongs to no single command."""

import click

from gotsurge_async.catalogue import entries
from gotsurge_async.cli.shared.exits import Exit
from gotsurge_async.cli.shared.options import json_option
from gotsurge_async.cli.shared.output import filled, print_json, print_record
from gotsurge_async.cli.variables import OTHERS, VARIABLES

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
def topics(topic: str | None, as_json: bool) -> None:
    """Explain what belongs to no single command: exit codes, environment variables, maps, completion."""
    if topic in _TEXTS:
        text = _TEXTS[topic]
        if as_json:
            print_json({topic: text})
        else:
            click.echo(filled(text.rstrip()))
        return
    lines = TOPICS
    if topic == "exit-codes":
        lines = {str(int(code)): meaning for code, meaning in EXIT_CODES.items()}
    elif topic == "environment":
        lines = VARIABLES | OTHERS
    if as_json:
        print_json(lines)
    else:
        print_record(lines.items())
