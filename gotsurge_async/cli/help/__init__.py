"""Help that belongs to no single command: topics, and the meaning of errors and exit codes."""
