"""Single orders of a program, each once: the same ledger and the same loop as a file's."""
