"""Faults of files, time windows that are too narrow, and numbers with their nouns."""
