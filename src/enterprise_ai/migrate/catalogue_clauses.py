"""What the queries of the catalogue share: how the clauses of a definition are written in SQL."""

from __future__ import annotations

#: The clauses of a definition, with group separators between.
CLAUSES = "concat_ws(chr(29), {})"


def grants(acl: str) -> str:
    return f"'grants: ' || array_to_string({acl}, chr(10))"


def owner(column: str) -> str:
    return f"'owner: ' || quote_ident(pg_get_userbyid({column}))"


def flag(condition: str, word: str) -> str:
    return f"case when {condition} then '{word}' end"
