"""docs/tutorial/daily-job.md: every form of the job that the page shows; `tests.test_journey` runs them."""

import asyncio
import configparser
import re
import shlex
from pathlib import Path

import attrs

from tests.examples.fleet_files import manifest
from tests.examples.kubernetes_rules import pods_in
from tests.support.commands import EXAMPLES
from tests.support.consoles import FILE

PAGE = EXAMPLES.parent / "docs" / "tutorial" / "daily-job.md"
TEXT = PAGE.read_text(encoding="utf-8")
SETTINGS = PAGE.with_name("first-orders.md").read_text(encoding="utf-8")
FILES = [*FILE.findall(SETTINGS), *FILE.findall(TEXT)]
HOME = "/srv/gotsurge"


def block(language: str, part: str) -> str:
    """The one block of the page in a language that has a text in it."""
    (found,) = [
        each for each in re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL) if part in each
    ]
    return str(found)


@attrs.frozen
class Machine:
    """A folder in place of /srv/gotsurge, as the page fills it, and what leads to the simulator."""

    folder: Path
    variables: dict[str, str]

    async def run(self, *words: str, cwd: Path, **variables: str) -> None:
        """Run a program as cron and systemd do: with few variables, and nobody at the keyboard."""
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder.parent / "home"), **self.variables, **variables}
        process = await asyncio.create_subprocess_exec(
            *words,
            cwd=cwd,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        assert process.returncode in (0, 1), out.decode()  # 1: alerts, of orders of earlier pages, too

    def here(self, text: str) -> str:
        """A text of the page with this folder in place of the page's."""
        return text.replace(HOME, str(self.folder))


async def by_systemd(machine: Machine) -> None:
    """What the unit file has systemd do."""
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[method-assign, assignment]
    unit.read_string(machine.here(block("ini", "ExecStart=")))
    service = unit["Service"]
    given = dict(
        line.split("=", 1) for line in re.findall(r"^Environment=(.*)$", block("ini", "ExecStart="), re.MULTILINE)
    )
    await machine.run(*shlex.split(service["ExecStart"]), cwd=Path(service.get("WorkingDirectory", "/")), **given)


async def by_cron(machine: Machine) -> None:
    """What the line of the crontab has cron do, in the user's home."""
    line = machine.here(block("text", "*/15"))
    command = re.fullmatch(r"(?:\S+ ){4}\S+\s+(.*) \|\| echo .*\n", line)
    assert command is not None, line
    await machine.run("/bin/sh", "-c", command[1], cwd=machine.folder.parent / "home")


async def in_a_container(machine: Machine) -> None:
    """What the page's docker run has the container do, with the ledger's volume where the page mounts it."""
    words = shlex.split(machine.here(block("text", "docker run")))
    assert words[words.index("--entrypoint") + 1] == "bash"
    await machine.run("bash", words[-1], cwd=machine.folder.parent)


async def by_kubernetes(machine: Machine) -> None:
    """What the CronJob has the container do, with another ledger in the variables of the pod."""
    (pod,) = pods_in(manifest("CronJob"))
    words = [machine.here(word) for word in pod["containers"][0]["command"]]
    await machine.run(*words, cwd=machine.folder.parent, GOTSURGE_LEDGER="another.db")


async def at_the_keyboard(machine: Machine) -> None:
    """Type what the page says to type before any other command, and then a push."""
    (first,) = re.findall(r"`(cd .* && \. \./settings\.sh)`", machine.here(TEXT))
    push = "gotsurge push orders.csv --items items.csv --out by-hand"
    await machine.run("bash", "-c", f"{first} && {push}", cwd=machine.folder.parent)


WAYS = (by_systemd, by_cron, in_a_container, by_kubernetes, at_the_keyboard)
"""Every form of the job on the page."""


def test_no_way_in_names_a_ledger() -> None:
    """Only the settings name the ledger: what names it a second time may one day name another."""
    named = [name for code, name in FILES if "GOTSURGE_LEDGER=" in code]
    assert named == ["settings.sh"]
    assert "GOTSURGE_LEDGER=" not in TEXT
    assert "--ledger" not in TEXT
