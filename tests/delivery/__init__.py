"""Delivery: from the log to one sink."""
