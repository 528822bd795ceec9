"""Commands about what became of orders afterwards, a file for each."""
