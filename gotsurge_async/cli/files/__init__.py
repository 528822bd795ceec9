"""Commands about tables, and what commands say of the faults in them."""
