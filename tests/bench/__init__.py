"""Benchmarks: dbdump against the shell lines that it replaces, on a PostgreSQL server made for them."""

from .bench import main

__all__ = ["main"]
