"""What happened to objects: pure values and functions, no I/O."""
