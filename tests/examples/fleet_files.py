"""What stands in the files of examples/fleet: their commands, and the settings that go with them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import yaml

from tests.examples.kubernetes_rules import pods_in

ROOT = Path(__file__).parents[2]
FLEET = ROOT / "examples" / "fleet"
DOCKERFILE = FLEET / "Dockerfile"
COMPOSE = FLEET / "compose.yaml"
KUBERNETES = FLEET / "kubernetes.yaml"
DAILY = FLEET / "daily-job.yaml"
UNIT = FLEET / "gotsurge-worker.service"


@attrs.frozen
class Command:
    """A ``gotsurge`` that a file starts: who starts it, its words, and the variables that the file sets."""

    name: str
    words: list[str]
    variables: dict[str, str]


def compose() -> dict[str, Any]:
    """The compose file."""
    read: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return read


def manifests() -> list[dict[str, Any]]:
    """The objects for Kubernetes."""
    return [each for file in (KUBERNETES, DAILY) for each in yaml.safe_load_all(file.read_text(encoding="utf-8"))]


def manifest(kind: str, name: str | None = None) -> dict[str, Any]:
    """The only one of a kind, or of a kind and a name."""
    (found,) = [each for each in manifests() if each["kind"] == kind and name in (None, each["metadata"]["name"])]
    return found


def pods() -> list[dict[str, Any]]:
    """The pods of the manifests."""
    return [pod for each in manifests() for pod in pods_in(each)]


def containers() -> list[dict[str, Any]]:
    """The containers of these that do the work."""
    return [each for pod in pods() for each in pod["containers"]]


def unit() -> dict[str, dict[str, list[str]]]:
    """The systemd unit: its sections, with the values of each setting in their order."""
    sections: dict[str, dict[str, list[str]]] = {}
    section: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if found := re.fullmatch(r"\[(\w+)\]", line):
            section = sections.setdefault(found[1], {})
        elif line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            assert equals, line
            section.setdefault(name, []).append(value)
    return sections


def compose_commands() -> Iterator[Command]:
    """What the services of the compose file run, but for PostgreSQL."""
    for name, service in compose()["services"].items():
        if service["image"].startswith("gotsurge"):
            yield Command(name, service["command"], _substituted(service.get("environment", {})))


def kubernetes_commands() -> Iterator[Command]:
    """What the containers run, but for the daily job, which runs a script."""
    for each in containers():
        if "args" in each:
            own = {variable["name"]: variable["value"] for variable in each.get("env", ())}
            yield Command(each["name"], each["args"], own or manifest("ConfigMap")["data"])


def unit_command() -> Command:
    """What the unit runs."""
    (line,) = unit()["Service"]["ExecStart"]
    program, *words = shlex.split(line)
    assert program == "/opt/gotsurge/bin/gotsurge"
    return Command("gotsurge-worker.service", words, {})


def told_commands() -> Iterator[Command]:
    """Every ``gotsurge`` that a comment tells to type."""
    for file in (DOCKERFILE, COMPOSE, KUBERNETES, UNIT):
        for line in re.findall(r"^#.*?\b(gotsurge (?:auth|db|push|worker|status) .*)$", file.read_text(), re.MULTILINE):
            yield Command(file.name, shlex.split(line)[1:], {})


def _substituted(variables: dict[str, str]) -> dict[str, str]:
    """The values as compose gives them where nothing is set."""
    return {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in variables.items()}
