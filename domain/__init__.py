"""Decisions without I/O, clock or framework: this package imports the standard library only."""
