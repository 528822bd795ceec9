"""One call to the service, and many."""
