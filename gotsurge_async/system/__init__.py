"""Files, signals, event loops and the words of shells, for which Linux, macOS and Windows differ."""
