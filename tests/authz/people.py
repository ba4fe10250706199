"""What the tests of the typed face and the command line share: somebody with roles, and a way in for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

from enterprise_ai.client import Client, Transaction


class House:
    """One tenant of a shared database: people with roles, resources, and transactions of these people."""

    def __init__(self, world: Any, client: Client, slug: str | None = None) -> None:
        self.world, self.client = world, client
        self.tenant = world.new_tenant(slug or "h" + uuid4().hex[:12])
        self._tokens: dict[UUID, str] = {}

    def person(self, *roles: str) -> UUID:
        """A new person who has these roles."""
        person = self.world.new_person(self.tenant)
        for role in roles:
            self.give(person, role)
        return person

    def give(self, person: UUID, role: str) -> None:
        """Give a role, as the owner of the tables."""
        with self.world.owner(self.tenant) as conn:
            conn.execute(
                "insert into authz.user_roles (tenant_id, user_id, role_id)"
                " select tenant_id, %s, id from authz.roles where tenant_id = %s and name = %s",
                [person, self.tenant.id, role],
            )

    def document(self, owner: UUID | None = None, **columns: Any) -> UUID:
        """A new document."""
        values = {"tenant_id": self.tenant.id, "resource_type": "document", "owner_id": owner, **columns}
        names, marks = ", ".join(values), ", ".join(["%s"] * len(values))
        with self.world.owner(self.tenant) as conn:
            (made,) = conn.execute(
                f"insert into authz.resources ({names}) values ({marks}) returning id", list(values.values())
            ).fetchone()
        return made

    @contextmanager
    def as_(self, person: UUID) -> Iterator[Transaction]:
        """A transaction of somebody who has signed in with a second factor."""
        if person not in self._tokens:
            self._tokens[person] = self.world.new_session(self.tenant, person, level=2).session_token
        with self.client.as_session(self._tokens[person]) as tx:
            yield tx
