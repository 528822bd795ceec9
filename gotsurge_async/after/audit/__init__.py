"""Comparing a ledger with what GotSurge has: `comparing` reads and names what differs, `notes` keeps what was read."""
