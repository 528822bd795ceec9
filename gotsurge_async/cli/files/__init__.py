"""Commands about tables, and the reports of faults in them."""
