"""The destinations that come with the bridge."""
