"""Commands about what the service offers, one call at a time, and about reaching it."""
