"""The group of commands: each is there, and loaded alone."""

import subprocess
import sys

import click
import pytest

from gotsurge_async.cli import main
from gotsurge_async.cli.app import OnDemand, gotsurge

_LOADED = """
import sys
from gotsurge_async.cli import main
from gotsurge_async.cli.app import gotsurge
gotsurge(["push", "--help"], standalone_mode=False)
print(*sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize("name", gotsurge.commands)
def test_a_command_has_the_name_that_it_is_found_by(name: str) -> None:
    """Each name leads to the file that has the command."""
    assert gotsurge.commands[name].name == name


def test_a_push_loads_what_a_push_needs() -> None:
    """No other command, no web server and nothing that draws on a terminal: its start takes half as long."""
    done = subprocess.run([sys.executable, "-c", _LOADED], check=True, capture_output=True, text=True)
    loaded = set(done.stderr.split())
    assert {"gotsurge_async.cli.push", "sqlalchemy", "aiohttp"} <= loaded
    assert loaded.isdisjoint(
        {"gotsurge_async.cli.tasks", "gotsurge_async.simulator", "aiohttp.web", "rich", "sqlalchemy.orm"}
    )


def test_commands_are_a_mapping() -> None:
    """One can be added, found, and taken out again, as in any group."""
    commands, more = OnDemand({"price": ("price",)}), click.Command("more")
    commands["more"] = more
    assert list(commands) == ["price", "more"]
    assert (len(commands), commands.get("more"), commands.get("none")) == (2, more, None)
    del commands["more"], commands["price"]
    assert not commands


def test_a_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is done, also where the command would come to it late or never."""
    monkeypatch.setattr("gotsurge_async.cli.find_spec", lambda name: None if name == "rich" else object())
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == 'gotsurge needs rich: pip install "gotsurge-async[cli]"\n'
