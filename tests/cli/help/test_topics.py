"""`gotsurge topics`, the variables in the help, and completion in the shell."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gotsurge_async
from gotsurge_async.cli.help.explain import MAP, TOPICS
from gotsurge_async.cli.shared.exits import Exit
from gotsurge_async.cli.variables import VARIABLES
from gotsurge_async.tables.options import read_map
from tests.support.commands import Runner, environment


@pytest.mark.parametrize("topic", TOPICS)
def test_each_topic_is_a_text_and_a_document(run: Runner, topic: str) -> None:
    """Every topic that is listed can be read, also by programs."""
    assert topic in run("topics").stdout
    assert run("topics", topic).stdout
    assert json.loads(run("topics", topic, "--json").stdout)


def test_every_exit_code_is_explained(run: Runner) -> None:
    """None is missing."""
    assert set(json.loads(run("topics", "exit-codes", "--json").stdout)) == {str(int(code)) for code in Exit}
    assert "3\tIn doubt: " in run("topics", "exit-codes").stdout


def test_every_variable_is_named_and_no_other(run: Runner) -> None:
    """What the package reads stands in the help and in the topic."""
    texts = [path.read_text() for path in Path(gotsurge_async.__file__).parent.rglob("*.py")]
    used = {name for text in texts for name in re.findall(r"(?<!_)GOTSURGE_[A-Z_]*[A-Z]", text)}
    assert used == {*VARIABLES}
    help_, topic = run("--help").stdout, run("topics", "environment").stdout
    for name in VARIABLES:
        assert name in help_
        assert f"{name}\t" in topic


def test_the_map_that_is_explained_is_one() -> None:
    """The example of the topic is a map in which nothing is unknown."""
    lines = MAP.splitlines()
    example = "\n".join(line[2:] for line in lines if line.startswith("  ") or not line)
    found = read_map(example.encode(), "map.toml")
    assert found.orders.columns["Ship to"] == "to_address.street_address"
    assert found.timezone == "Asia/Singapore"


@pytest.mark.slow
def test_bash_completes(tmp_path: Path) -> None:
    """With the line of the topic, bash completes commands and options."""
    (tmp_path / "gotsurge").write_text(f"#!{sys.executable}\nfrom gotsurge_async.cli import main\nmain()\n")
    (tmp_path / "gotsurge").chmod(0o755)
    script = (
        'eval "$(_GOTSURGE_COMPLETE=bash_source gotsurge)"\n'
        "COMP_WORDS=(gotsurge push --dr) COMP_CWORD=2\n"
        "complete -p gotsurge >complete && read -ra words <complete\n"
        'for n in "${!words[@]}"; do [ "${words[n]}" = -F ] && "${words[n+1]}" gotsurge; done\n'
        'echo "${COMPREPLY[@]}"'
    )
    env = environment(PATH=f"{tmp_path}:/usr/bin:/bin")
    done = subprocess.run(["bash", "-c", script], capture_output=True, cwd=tmp_path, env=env, check=True, timeout=60)
    assert done.stdout.split() == [b"--dry-run"], done
