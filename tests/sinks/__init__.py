"""The sinks that come with the bridge, on real files and pipes."""
