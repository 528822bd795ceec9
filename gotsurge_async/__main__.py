"""``python -m gotsurge_async`` is the command ``gotsurge``."""

from gotsurge_async.cli import main

main()
