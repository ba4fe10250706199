"""How text becomes part of the engine's own SQL, whatever settings a file has left behind."""

from __future__ import annotations


def quote(text: str) -> str:
    """Quote a literal with dollars: unlike quotes and backslashes they mean the same under every setting."""
    tag = "q"
    while "$" + tag in text:
        tag += "q"
    return f"${tag}${text}${tag}$"


def name(*parts: str) -> str:
    """Quote a qualified name."""
    return ".".join('"{}"'.format(part.replace('"', '""')) for part in parts)
