"""Faults that are injected for real, and what holds after each."""
