"""The errors of the embedded server: each says what happened, how things stand, and what to do next."""

from __future__ import annotations


class EmbeddedError(RuntimeError):
    """The embedded PostgreSQL cannot do what was asked; the message says why and what to do."""


class ServerInUse(EmbeddedError):
    """Another process holds a lease on the server, so it was left running."""
