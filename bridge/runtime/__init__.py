"""Wires the rooms together: the tree of nurseries, and what happens when something in it ends."""
