"""Which database is meant, how to name it to a person, and what must never be printed of it."""

from __future__ import annotations

import ctypes
import os

from . import libpq
from .errors import ConnectionFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SCHEMES = ("postgresql://", "postgres://")
_HIDDEN = "***"


class Target:
    """A connection string, or None for what libpq finds by itself (PG* variables, a service file).

    `database` means another database of the same server; `schema` one schema as a place of its own, whose
    files and history never look into another one's.
    """

    def __init__(self, url: str | None, *, database: str | None = None, schema: str | None = None) -> None:
        self.url = url
        self.database = database
        self.schema = schema
        self.options, self.secrets = _parse(url) if url else ({}, set())
        hidden = [self.options[name] for name in self.secrets]
        self._hidden = [value for value in (*hidden, os.environ.get("PGPASSWORD")) if value]

    def parameters(self) -> list[Any]:
        """List the (keyword, value) pairs for libpq; what the user said comes after our defaults and wins."""
        pairs = [("fallback_application_name", "enterprise-ai migrate")]
        if "PGCONNECT_TIMEOUT" not in os.environ:
            pairs.append(("connect_timeout", "10"))
        pairs += [("keepalives_idle", "30"), ("keepalives_interval", "10"), ("keepalives_count", "3")]
        # Only the first "dbname" is read as a connection string; a later one is a name, whatever it looks like.
        if self.url or self.database:
            pairs.append(("dbname", self.url or ""))
        if self.database:
            pairs.append(("dbname", self.database))
        if self.schema:
            pairs.append(("options", self._options(self.schema)))
        # Files are UTF-8, and error positions count characters of what was sent.
        return [*pairs, ("client_encoding", "UTF8")]

    def connect(self, library: Any) -> Any:
        """Open a connection; raise `ConnectionFailed` in words that hold no secret."""
        pairs = self.parameters()
        array = ctypes.c_char_p * (len(pairs) + 1)
        keywords = array(*[key.encode() for key, _ in pairs], None)
        values = array(*[value.encode("utf-8", "surrogateescape") for _, value in pairs], None)
        handle = library.PQconnectdbParams(keywords, values, 1)
        if handle and library.PQstatus(handle) == libpq.CONNECTION_OK:
            return handle
        text = library.PQerrorMessage(handle).decode("utf-8", "replace") if handle else "out of memory"
        library.PQfinish(handle)
        raise self.failure(text)

    def describe(self) -> str:
        """Name the database without its secrets: `host:port/name as user`."""
        get = self._value
        host = get("host", "PGHOST") or get("hostaddr", "PGHOSTADDR") or "local socket"
        port = get("port", "PGPORT")
        name = self.database or get("dbname", "PGDATABASE") or get("user", "PGUSER") or "default database"
        user = get("user", "PGUSER")
        text = "{}{}/{}{}".format(host, ":" + port if port else "", name, " as " + user if user else "")
        return text + f", schema {self.schema}" if self.schema else text

    def redact(self, text: str) -> str:
        """Take every secret out of a text that somebody else wrote."""
        for secret in sorted(self._hidden, key=len, reverse=True):
            text = text.replace(secret, _HIDDEN)
        return text

    def failure(self, text: str) -> ConnectionFailed:
        """Turn libpq's report of a failed attempt into ours."""
        if self.url and _is_ambiguous(self.url):
            # libpq cut the URL in the wrong places, so its text may quote pieces of the password.
            return ConnectionFailed(
                "cannot connect with the given URL: "
                "its user or password seems to hold an unencoded character",
                advice=_ENCODE,
            )
        text = self.redact(text.strip())
        return ConnectionFailed(f"cannot connect to {self.describe()}: {text}", advice=_advice(text))

    def _options(self, schema: str) -> str:
        """Make the server options that put a schema first; a reset of the session comes back to them."""
        path = '"{}",public'.format(schema.replace('"', '""'))
        escaped = path.replace("\\", "\\\\").replace(" ", "\\ ")
        return "{} -c search_path={}".format(self._value("options", "PGOPTIONS") or "", escaped).strip()

    def _value(self, keyword: str, variable: str) -> str | None:
        return self.options.get(keyword) or (
            os.environ.get(variable) if "service" not in self.options else None
        )


_ENCODE = (
    "Percent-encode special characters in the user and password of a URL: "
    "@ is %40, / is %2F, : is %3A, # is %23, ? is %3F, % is %25, a space is %20."
)


def _parse(url: str) -> tuple[dict[str, str], set[str]]:
    """Read a connection string as libpq does, and which of its options libpq calls secret.

    Raise `ConnectionFailed` without quoting any of it.
    """
    if "://" in url and not url.startswith(_SCHEMES) and "=" not in url.split("://", 1)[0]:
        scheme = url.split("://", 1)[0]
        safe = scheme if scheme.replace("+", "").isalnum() and len(scheme) < 25 else "this one"
        raise ConnectionFailed(
            f"the database URL must start with postgresql://, not with {safe}://",
            advice="postgresql://USER:PASSWORD@HOST:5432/DATABASE",
        )
    if not (url.startswith(_SCHEMES) or "=" in url):
        if (
            "@" in url or ":" in url
        ):  # the name of a database may hold these, but a URL that lacks its head does
            raise ConnectionFailed(
                "the database URL must start with postgresql://",
                advice="postgresql://USER:PASSWORD@HOST:5432/DATABASE\n"
                "A name of a database with @ or : in it is given as  dbname='NAME'",
            )
        return {"dbname": url}, set()
    library = libpq.load()
    message = ctypes.c_void_p()
    parsed = library.PQconninfoParse(url.encode("utf-8", "surrogateescape"), ctypes.byref(message))
    if not parsed:
        # The message quotes what it could not read, which can be a piece of the password.
        library.PQfreemem(message)
        if url.startswith(_SCHEMES):
            raise ConnectionFailed("the database URL cannot be read", advice=_ENCODE)
        raise ConnectionFailed(
            "the connection string cannot be read: it is neither a URL nor a list of key=value",
            advice="Put single quotes around a value with spaces, and a backslash before a quote in it.",
        )
    found, secrets = {}, set()
    index = 0
    while parsed[index].keyword:
        option = parsed[index]
        if option.val:
            found[option.keyword.decode()] = option.val.decode("utf-8", "replace")
            if option.dispchar == b"*":
                secrets.add(option.keyword.decode())
        index += 1
    library.PQconninfoFree(parsed)
    return found, secrets


def _is_ambiguous(url: str) -> bool:
    """Tell whether a URL has an @ or / where libpq will not cut it as its writer meant."""
    if not url.startswith(_SCHEMES):
        return False
    rest = url.split("://", 1)[1].split("?", 1)[0]
    return "@" in rest and (rest.count("@") > 1 or "/" in rest.split("@", 1)[0])


def _advice(text: str) -> str:
    """Say what usually helps; libpq gives no code for a failed attempt, so this goes by the words."""
    for words, advice in _KNOWN:
        if words in text:
            return advice
    return 'Check the database URL and the network:  psql "$DATABASE_URL" -c "SELECT version();"'


_KNOWN = (
    (
        "password authentication failed",
        "Check user and password. " + _ENCODE,
    ),
    ("no password supplied", "Put the password into the URL, PGPASSWORD, or ~/.pgpass."),
    ("no pg_hba.conf entry", "The server's pg_hba.conf does not let this user in from here."),
    ("starting up", "The server is starting: try again, or give --wait SECONDS."),
    ("too many clients", "The server has no free connection: end some, or raise max_connections."),
    (
        "connection slots are reserved",
        "The server has no free connection: end some, or raise max_connections.",
    ),
    (
        "too many connections",
        "A run takes three connections at a time, a no-transaction file four: allow so many.",
    ),
    ("does not exist", "Create it first (createdb, createuser), or correct the name in the URL."),
    ("could not translate host name", "Check the host name in the URL."),
    ("timeout expired", "The host does not answer: check host, port and firewall, or give --wait SECONDS."),
    ("refused", "No server listens there: check host and port, or give --wait SECONDS while it starts."),
)

#: Failures that waiting does not cure.
LASTING = ("authentication failed", "no password supplied", "no pg_hba.conf entry", "does not exist")
