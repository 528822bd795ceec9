"""Processes of their own that work on a ledger, and talk with the test by lines."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

PROLOGUE = """
import asyncio, os, sys
from gotsurge_async.ledger import *
from gotsurge_async.ledger.sql import databases
from tests.ledger.kit import added, bring, ids, loaded, orders

def say(word):
    print(word, flush=True)

def hear():
    sys.stdin.readline()

async def main():
    ledger = await Ledger.open(sys.argv[1])
"""
EPILOGUE = """
asyncio.run(main())
"""


async def start(where: str, body: str, *, idle_seconds: int = 10) -> Process:
    """Start a process that runs ``body`` on the ledger at ``where``."""
    limits = f"databases.IDLE_SECONDS = {idle_seconds}\n"
    program = PROLOGUE.replace("async def main", limits + "async def main") + body + EPILOGUE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, where, stdin=PIPE, stdout=PIPE, cwd=Path(__file__).parents[2]
    )


async def heard(process: Process) -> str:
    """The next line that a process says."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


def tell(process: Process) -> None:
    """Let a process that listens go on."""
    assert process.stdin is not None
    process.stdin.write(b"\n")
