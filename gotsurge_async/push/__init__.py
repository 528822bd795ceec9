"""Orders on their way: into the ledger, and from there to the service."""
