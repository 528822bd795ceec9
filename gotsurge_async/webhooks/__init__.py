"""What became of orders afterwards: events in, the order book, alerts, reports."""
