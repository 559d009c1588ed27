"""Who may become another user by sudo: the accounts of an sshd, and nobody."""

from __future__ import annotations

# Before what is run, in a mount namespace of its own, so that the rules of this machine stay what they are.
_SUDOERS = (
    'mount -t tmpfs -o mode=755 none /etc/sudoers.d; printf "%s\\n" "$0" > /etc/sudoers.d/test; '
    'chmod 440 /etc/sudoers.d/test; exec "$@"'
)


def with_sudo(rule: str) -> tuple[str, ...]:
    """Return what an sshd runs inside of, for `rule` to be the only one that sudo has there beside the machine's."""
    return ("unshare", "-m", "sh", "-c", _SUDOERS, rule)


def as_nobody(rule: str) -> tuple[str, ...]:
    """Return what a program runs inside of to be run by nobody, who finds it and its modules, though they are root's.

    `rule` is as for `with_sudo`. Nobody may signal no process of others, nor write to their files.
    """
    reads = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    return (*with_sudo(rule), "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *reads, "--")
