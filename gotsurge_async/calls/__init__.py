"""Calls to the service: one call, and streams of calls."""
