"""What an approval starts: the command that was shown, once, over what was shown, and nothing else."""

from pathlib import Path

import pytest

from gotsurge_async.cli.agents.sending import run_command


async def test_a_program_in_the_folder_of_tables_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when it has the name of a module that the command loads."""
    monkeypatch.chdir(tmp_path)
    for name in ("click", "msgspec", "gotsurge_async"):
        Path(f"{name}.py").write_text(f"open('ran-{name}', 'w').close()\n")
    ran = await run_command(["explain", "E614", "--json"])
    assert ([*tmp_path.glob("ran-*")], ran.exit_code) == ([], 0)
