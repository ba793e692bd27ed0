"""The fleet: which devices there are and what they measure."""
