"""Commands about pushes: sending orders, what became of them, and their ledger."""
