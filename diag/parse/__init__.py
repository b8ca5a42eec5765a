"""Bytes to facts: one module per format, each keeping file and line of what it read."""
