"""The simulator's state: accounts and sign-ins, tasks, drivers, the log, and the clock."""
