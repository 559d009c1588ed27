"""Backends: which databases a server has, and the command that dumps one."""
