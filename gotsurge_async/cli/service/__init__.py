"""Commands that make single calls to the service, or set up its use."""
