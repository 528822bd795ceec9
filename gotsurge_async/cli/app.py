"""The group of all commands."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from gotsurge_async.cli.shared.exits import Exit, reported
from gotsurge_async.cli.shared.output import AS_JSON, WORDS
from gotsurge_async.cli.variables import VARIABLES
from gotsurge_async.models.times import times_of_people
from gotsurge_async.starting import heed_interrupts
from gotsurge_async.transports.certificates import certificates_when_needed
from gotsurge_async.version import __version__

COMMANDS = {
    "files": {
        "columns": "What a table of orders may hold.",
        "template": "An empty table to fill in.",
        "map": "How tables of your own are read.",
    },
    "pushes": {
        "push": "Push a file of orders.",
        "plan": "Check a file, and say what its push would cost.",
        "runs": "List the runs of the ledger.",
        "status": "Show where a run stands.",
        "results": "Write the result files of a run again.",
        "resume": "Go on with a run.",
        "retry": "Try the refused orders of a run again.",
        "reconcile": "Find out what became of orders in doubt.",
        "resolve": "Say what became of orders in doubt.",
        "audit": "Compare the ledger with what GotSurge has.",
        "undo": "Cancel what is still broadcasting of a run.",
        "ledger": "Check the ledger, and copy it.",
    },
    "fleet": {
        "worker": "Send what is put up, with other machines.",
        "workers": "Who sends, how fast, and who is silent.",
        "stop": "Have the workers stop sending a run.",
        "db": "The tables that many machines share.",
    },
    "afterwards": {
        "receive": "Receive GotSurge's events, and follow all orders.",
        "inbox": "The events that came.",
        "listen": "See events as they come, and send them on.",
        "orders": "Where each order is, and its history.",
        "watch": "What becomes of a run, live.",
        "alerts": "What should be looked after.",
        "report": "A day's deliveries, by vessel.",
    },
    "agents": {
        "mcp": "Let agents read, and propose.",
        "approve": "Show what agents propose, and send it.",
        "schema": "JSON Schemas of what --json prints.",
    },
    "service": {
        "auth": "Sign in, and see who is signed in until when.",
        "tasks": "Create, read, change and cancel orders.",
        "price": "Ask what a delivery should cost.",
        "drafts": "Create drafts, and broadcast them.",
        "tracking": "Change tracking ids.",
        "orgs": "Organizations of a platform partner.",
        "users": "Invite people into organizations.",
        "endpoints": "Verbs and paths: shown, confirmed.",
        "doctor": "What is assumed, and does GotSurge answer?",
        "simulator": "Run a GotSurge on this machine.",
    },
    "help": {
        "explain": "What an error or an exit code means, and what to do.",
        "topics": "Exit codes, variables, maps, completion.",
    },
}
"""The commands by folder; `module_of` returns a command's module. The texts are for ``gotsurge --help``."""

PRINTING = frozenset((
    "columns", "map list", "map show", "runs", "workers", "ledger export", "inbox list", "inbox show", "orders",
    "schema", "auth accounts", "tasks get", "tasks list", "price", "orgs get", "orgs list", "orgs roles",
    "endpoints list", "endpoints openapi", "endpoints profile", "explain", "topics",
))  # fmt: skip
"""Commands that only print, and end when their reader leaves. Others act, or end with an exit code that
matters."""
READING = PRINTING | {
    "template", "map draft", "plan", "status", "ledger check", "audit", "watch", "alerts", "inbox parked",
    "auth status", "doctor",
}  # fmt: skip
"""Commands whose exit code 0 means nothing if their output is lost, see `only_reads`."""

FOLDER_OF = {name: folder for folder, commands in COMMANDS.items() for name in commands}
_FILES = {
    "template": "columns", "status": "runs", "results": "runs", "retry": "resume", "reconcile": "resolve",
    "stop": "workers", "listen": "receive", "drafts": "platform", "tracking": "platform", "orgs": "platform",
    "users": "platform", "topics": "explain",
}  # fmt: skip
"""The files of commands that share one with another command."""


class Gotsurge(click.Group):
    """A group that loads a command when it is needed, so that none waits for the imports of the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(FOLDER_OF)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return load(cmd_name) if cmd_name in FOLDER_OF else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for folder, commands in COMMANDS.items():
            with formatter.section(folder.capitalize()):
                formatter.write_dl(list(commands.items()))
        with formatter.section("Environment variables (gotsurge topics environment explains them)"):
            formatter.write_text(", ".join(VARIABLES))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[WORDS] = list(args)
        ctx.meta[AS_JSON] = "--json" in args  # also for an error before the option is read
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        resolved = super().resolve_command(ctx, args)
        heed_interrupts()  # everything is loaded: from here on a command ends in its own way
        return resolved

    def invoke(self, ctx: click.Context) -> Any:
        with times_of_people(), reported():
            code = super().invoke(ctx)
            if isinstance(code, Exit) and code:
                raise SystemExit(int(code))


def running() -> str:
    """The name of the running command, with those of its groups."""
    names, context = list[str](), click.get_current_context(silent=True)
    while context is not None and context.parent is not None:
        names.insert(0, context.info_name or "")
        context = context.parent
    return " ".join(names)


def only_reads() -> bool:
    """Whether the running command fails where its output is lost. The exit code of others says what they did."""
    context = click.get_current_context(silent=True)
    repairs = context is not None and context.params.get("repair")
    return running() in READING and not repairs


def module_of(name: str) -> str:
    """The name of the module that defines a command, as an object of the command's name."""
    return f"gotsurge_async.cli.{FOLDER_OF[name]}.{_FILES.get(name, name)}"


def load(name: str) -> click.Command:
    """A command by its name."""
    with _not_collected(), certificates_when_needed():
        module = import_module(module_of(name))
    command: click.Command = getattr(module, name)
    return command


@contextmanager
def _not_collected() -> Iterator[None]:
    """Keep the garbage collector from objects of the block, in the block and later: a tenth of the start."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)  # orders come by the hundred, and leave no circles
        gc.enable()


@click.group(cls=Gotsurge, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="gotsurge")
def gotsurge() -> None:
    """Put delivery orders into GotSurge.

    \b
    Try it without credentials:
      gotsurge push examples/orders.csv --items examples/items.csv --simulate

    Data goes to stdout, everything else to stderr.
    """
