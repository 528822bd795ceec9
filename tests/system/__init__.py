"""Windows and macOS, by simulation: what they lack is taken away, what they refuse is refused."""
