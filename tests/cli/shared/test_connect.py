"""`gotsurge_async.cli.shared.connect`: where to, and how errors are reported."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import click
import pytest

from gotsurge_async.cli.shared.connect import Target, call
from gotsurge_async.cli.shared.exits import Failure
from gotsurge_async.client import GotSurge
from gotsurge_async.errors import OutcomeUnknown
from gotsurge_async.simulator import Simulator
from tests.support.commands import Runner, local


@pytest.mark.parametrize(
    ("target", "account"),
    [
        (Target(simulate=True), "platform"),
        (Target(env="local"), "platform"),
        (Target(simulate=True, account="plain"), "plain"),
        (Target(env="sandbox"), None),
        (Target(env="production", account="acme"), "acme"),
    ],
)
def test_a_command_for_platform_partners_takes_their_account_on_a_simulator(
    target: Target, account: str | None
) -> None:
    """Elsewhere, and where one is named, the account stays as it is."""
    assert target.for_platform().account == account


def raising(error: BaseException) -> Callable[[GotSurge], Awaitable[Any]]:
    """Work that goes wrong."""

    async def work(_: GotSurge) -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (OutcomeUnknown("lost", operation="tasks.create"), 3, "check before you try again"),
        (OutcomeUnknown("lost", operation="platform.tasks.update"), 3, "check before you try again"),
        (OutcomeUnknown("lost", operation="tasks.get"), 8, "safe to try again"),
        (OutcomeUnknown("lost"), 3, "check before you try again"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_a_lost_answer_is_in_doubt_only_where_a_repeat_may_act_twice(
    error: BaseException, code: int, text: str
) -> None:
    """3 for what must not be repeated, 8 for what may be, 130 for Ctrl-C."""
    with pytest.raises(Failure) as caught:
        call(Target(simulate=True), raising(error))
    assert caught.value.code == code
    assert text in caught.value.message


def test_a_target_that_contradicts_itself_is_wrong_usage() -> None:
    """Nothing is started."""
    with pytest.raises(click.UsageError):
        call(Target(simulate=True, env="sandbox"), raising(AssertionError()))


def test_every_command_that_makes_calls_has_the_same_options() -> None:
    """--simulate, --env, --api-base, --account, --accept-assumed-endpoints and --json are on each of them."""
    from gotsurge_async.cli.app import load

    wanted = {"simulate", "env", "api_base", "account", "accept_assumed_endpoints", "as_json"}
    groups = [load(name) for name in ("tasks", "drafts", "tracking", "orgs", "users")]
    leaves = [each for group in groups if isinstance(group, click.Group) for each in group.commands.values()]
    for command in (*leaves, load("price")):
        assert wanted <= {parameter.name for parameter in command.params}, command.name


def test_the_account_that_is_named_is_used(run: Runner, simulator: Simulator) -> None:
    """A plain account may not list the tasks of platform partners; exit 4, and the document says so."""
    done = run("tasks", "list", *local(simulator), "--account", "plain", "--json")
    document = json.loads(done.stdout)
    assert (done.exit_code, document["exit"], "403" in document["error"], document["run"]) == (4, 4, True, None)
    assert json.loads(run("tasks", "list", *local(simulator), "--json").stdout) == []
