"""What Linux, macOS and Windows do in different ways: files, signals, event loops and the words of shells."""
