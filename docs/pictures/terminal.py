"""The picture of a terminal in README.md: what the command prints, with ids, times and speeds that are always the same.

`python -m docs.pictures.terminal` takes it anew.
"""

import io
import re
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from tests.support.terminal import at_a_terminal

ROOT = Path(__file__).parents[2]
PICTURE = Path(__file__).with_suffix(".svg")
PUSH = ["push", "examples/orders.csv", "--items", "examples/items.csv", "--simulate"]
RUNS = ["20300304T010203-k3f9", "20300304T010509-m2ab"]
COLUMNS = 90


def seen(folder: Path) -> list[str]:
    """What stands on the terminal after the same push twice, with the codes of its colours."""
    (folder / "examples").symlink_to(ROOT / "examples")
    shown = []
    for run in RUNS:
        done = at_a_terminal(PUSH, cwd=folder, env={"TERM": "xterm-256color"}, columns=COLUMNS)
        if done.code != 0:
            raise RuntimeError(done.text)
        text = re.sub(r".*\r\x1b\[2K|\x1b\[\?25[lh]|.*0 of 0 orders\n", "", done.text)  # drawn over, or without width
        text = re.sub(r"\d{8}T\d{6}-\w{4}", run, re.sub(r"in [\d.]+ s", "in 0.1 s", text))
        text = re.sub(r"[\d,.]+ orders/s", "4,571.0 orders/s", text)
        shown += [f"\x1b[1m$ gotsurge {' '.join(PUSH)}\x1b[0m\n", text, "\n"]
    return "".join(shown).rstrip().split("\n")


def draw(lines: list[str]) -> str:
    """The picture, which fetches nothing from elsewhere."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in lines:
        console.print(Text.from_ansi(line), soft_wrap=True)
    plain = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    svg = console.export_svg(title="gotsurge", code_format=plain, unique_id="terminal")
    return svg.replace("font-family: Fira Code", "font-family: ui-monospace, Menlo, Consolas")


def main() -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        PICTURE.write_text(draw(seen(Path(folder))), encoding="utf-8")


if __name__ == "__main__":
    main()
