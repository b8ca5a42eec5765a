"""Frozen facts: no I/O and no algorithms live here."""
