"""The push: orders into the ledger, and from there to the service."""
