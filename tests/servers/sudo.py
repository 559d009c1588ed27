"""An sshd whose accounts have sudo."""

from __future__ import annotations

# Before sshd, in a mount namespace of its own, so that the rules of this machine stay what they are.
_SUDOERS = (
    'mount -t tmpfs -o mode=755 none /etc/sudoers.d; printf "%s\\n" "$0" > /etc/sudoers.d/test; '
    'chmod 440 /etc/sudoers.d/test; exec "$@"'
)


def with_sudo(rule: str) -> tuple[str, ...]:
    """Return what an sshd runs inside of, for `rule` to be the only one that sudo has there beside the machine's."""
    return ("unshare", "-m", "sh", "-c", _SUDOERS, rule)
