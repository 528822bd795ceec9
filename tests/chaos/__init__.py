"""A fleet under chaos: real processes on a real PostgreSQL, killed, frozen and cut off; the service's audit judges."""
