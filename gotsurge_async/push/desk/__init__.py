"""Single orders of a program, each sent once: with the same ledger and the same loop as those of a file."""
