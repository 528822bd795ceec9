"""Commands about pushes: sending orders, their outcomes, and their ledger."""
