"""What an operator sees: metrics and probes."""
