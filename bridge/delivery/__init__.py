"""From the log to the destinations, each at its own pace."""
