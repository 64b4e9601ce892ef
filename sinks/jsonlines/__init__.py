"""JSON lines: standard output, pipes and files that are rotated."""
