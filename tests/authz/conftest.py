"""The database with two tenants and logins that the tests of identity have, for tests that commit."""

from tests.identity.conftest import world  # noqa: F401
