"""Wrappers: filters on the byte stream of a dump, each with an inverse."""
