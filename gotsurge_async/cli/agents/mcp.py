"""``gotsurge mcp``: tools for agents, over the Model Context Protocol."""

import os
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from msgspec import structs

from gotsurge_async.cli.shared.connect import Target, takes_target
from gotsurge_async.cli.shared.exits import WrongUse, asynchronous
from gotsurge_async.cli.shared.ledger import find_ledger, ledger_option
from gotsurge_async.cli.shared.options import (
    PATH,
    Decorator,
    GroupedCommand,
    amount,
    gathered,
    option,
    port_option,
    user_name,
)
from gotsurge_async.cli.shared.output import say
from gotsurge_async.cli.variables import VARIABLES
from gotsurge_async.clock import SystemClock
from gotsurge_async.database import Place, place_of
from gotsurge_async.errors import ConfigError
from gotsurge_async.ledger import Ledger
from gotsurge_async.ledger.proposals import ProposalLimits
from gotsurge_async.secrets import Secret

TOKEN = "GOTSURGE_MCP_TOKEN"  # noqa: S105 - the name of a variable
SHORTEST_TOKEN = 20
MINUTES = click.FloatRange(min=0, min_open=True, max=10_080)
_SERVING = "How it is served"


def _limit(name: str, value: str | None, variable: str, **more: Any) -> Decorator[Any]:
    """The option of what agents may do that a variable sets, too, with what stands for its value."""
    text, _, words = VARIABLES[variable].rstrip(".").rpartition("; as ")
    words = " ".join(filter(None, (words.split(",")[0], value)))
    return option(words, f"{text} (or {variable}).", name=name, group="Limits", envvar=variable, **more)


@click.command(cls=GroupedCommand)
@takes_target
@ledger_option
@option("--platform", "Create single orders as a platform partner.")
@_limit("allow_production", None, "GOTSURGE_MCP_ALLOW_PRODUCTION")
@_limit("tools", "NAMES", "GOTSURGE_MCP_TOOLS", default="all")
@_limit("folder", "FOLDER", "GOTSURGE_MCP_FOLDER", type=PATH, default=Path.cwd, show_default="the current one")
@gathered(
    "limits",
    ProposalLimits,
    _limit("orders", "N", "GOTSURGE_MCP_MAX_ORDERS", type=click.IntRange(0), default=100),
    _limit("spend", "AMOUNT", "GOTSURGE_MCP_MAX_SPEND", type=amount),
    _limit("minutes", "MINUTES", "GOTSURGE_MCP_EXPIRES", type=MINUTES, default=60.0),
)
@_limit("asks_client", None, "GOTSURGE_MCP_APPROVE_IN_CLIENT")
@option("--http", "Serve streamable HTTP on this machine, and not standard input and output.", group=_SERVING)
@port_option(8766, " with --http", _SERVING)
@asynchronous
async def mcp(
    target: Target, ledger: Place | None, allow_production: bool, tools: str, http: bool, port: int, **more: Any
) -> None:
    """Give agents tools to read and to propose, over the Model Context Protocol.

    The tools read orders, runs, alerts and prices, and propose what would change something. A proposal sends nothing:
    a person approves it by gotsurge approve, at a terminal or on its page, and that sends it. A call that is
    repeated after a lost answer gives the same proposal, and the ledger sends no order twice.

    The options of place, account and ledger are those of all agents of this server; no tool has any of them. Without
    --env they propose for the sandbox. --http needs a token of at least 20 characters in GOTSURGE_MCP_TOKEN, which its
    clients send as a bearer token.

    \b
    Try it without credentials:
      gotsurge mcp --simulate
    """
    if not (target.simulate or target.env or os.environ.get("GOTSURGE_ENV")):
        target = structs.replace(target, env="sandbox")
    target.check()
    target = structs.replace(target, api_base=target.api_base or os.environ.get("GOTSURGE_API_BASE"))
    if target.environment == "production" and not allow_production:
        raise WrongUse("to let agents propose orders for production, pass --allow-production", "E613")
    token = Secret(os.environ.get(TOKEN, ""))
    if http and len(token.reveal()) < SHORTEST_TOKEN:
        raise WrongUse(f"--http needs a token of at least {SHORTEST_TOKEN} characters: set {TOKEN}", "E613")
    try:
        from gotsurge_async.cli.agents.server import Agents, serve_http, serve_stdio, tools_named
        from gotsurge_async.cli.agents.tools import Bounds
    except ModuleNotFoundError as error:
        raise ConfigError(f'gotsurge mcp needs {error.name}: pip install "gotsurge-async[mcp]"', "E108") from None
    names = tools_named(tools)
    async with AsyncExitStack() as stack:
        place, variables = find_ledger(ledger, target), dict[str, str]()
        if target.simulate:
            from gotsurge_async.simulator import Simulator

            temporary = Path(stack.enter_context(TemporaryDirectory(prefix="gotsurge-mcp-")))
            simulator = await stack.enter_async_context(Simulator())
            target = structs.replace(target, simulate=False, env="local", api_base=simulator.api_base)
            place = ledger or place_of(temporary / "ledger.db")
            variables["GOTSURGE_REGISTER"] = str(temporary / "register.db")
            say(f"a simulator runs until this server ends: its board is at {simulator.origin}/")
        opened = await stack.enter_async_context(await Ledger.open(place, clock=SystemClock().now))
        say(f"to decide about proposals, run: gotsurge approve --ledger {opened.path}")
        variables["GOTSURGE_LEDGER"] = place.url or str(place.path)
        bounds = Bounds(ledger=opened, target=target, variables=variables, tools=names, user=user_name(), **more)
        server = Agents(bounds).server()
        await (serve_http(server, port, token) if http else serve_stdio(server))
