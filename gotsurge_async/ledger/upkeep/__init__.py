"""Looking after a ledger: damage, copies, and older copies."""
