"""Help that belongs to no single command: topics, and what each error and each exit code means."""
