"""Maintenance of a ledger: checks, copies, archives, and the recognition of older copies."""
