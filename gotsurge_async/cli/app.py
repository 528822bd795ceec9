"""The group of commands."""

import gc
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from gotsurge_async.cli.shared.exits import always_a_document
from gotsurge_async.starting import heed_interrupts
from gotsurge_async.version import __version__


class OnDemand(MutableMapping[str, click.Command]):
    """Commands by name, each loaded when it is asked for: no command waits for the imports of the others."""

    def __init__(self, modules: dict[str, tuple[str, ...]]) -> None:
        self._where = {name: module for module, names in modules.items() for name in names}
        self._loaded: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._loaded:
            with _for_good():
                module = import_module(f"gotsurge_async.cli.{self._where[name]}")
            self._loaded[name] = getattr(module, name)
        return self._loaded[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        self._where.pop(name, None)
        self._loaded.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        yield from {**self._where, **self._loaded}

    def __len__(self) -> int:
        return len({**self._where, **self._loaded})


@contextmanager
def _for_good() -> Iterator[None]:
    """Let nobody look for garbage among what the block makes, neither in it nor later: that is a tenth of the start."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


_COMMANDS = OnDemand(
    {
        "push": ("push",),
        "plan": ("plan",),
        "runs": ("runs", "status", "results"),
        "resolve": ("resolve",),
        "resume": ("resume", "retry"),
        "ledger": ("ledger",),
        "settle": ("reconcile", "undo"),
        "simulator": ("simulator",),
        "doctor": ("doctor",),
        "endpoints": ("endpoints",),
        "auth": ("auth",),
        "tasks": ("tasks",),
        "price": ("price",),
        "drafts": ("drafts",),
        "tracking": ("tracking",),
        "orgs": ("orgs",),
        "users": ("users",),
    }
)
"""Every command, by the file of this folder in which it is."""


class Gotsurge(click.Group):
    """A group in which every command that is given ``--json`` prints one document, once it is loaded."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_WANTED] = "--json" in args
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        found = super().resolve_command(ctx, args)
        heed_interrupts()  # all is loaded: from here on a command ends as it sees fit
        return found

    def invoke(self, ctx: click.Context) -> Any:
        with always_a_document(ctx, bool(ctx.meta.get(_WANTED))):
            return super().invoke(ctx)


_WANTED = "gotsurge_async.cli.document_is_wanted"


@click.group(
    cls=Gotsurge, commands=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="gotsurge")
def gotsurge() -> None:
    """Put delivery orders into GotSurge.

    \b
    Try it without credentials:
      gotsurge push examples/orders.csv --items examples/items.csv --simulate

    Data goes to stdout, everything else to stderr.
    """
