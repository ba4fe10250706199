# ruff: noqa: PTH118, PTH208  pathlib would cost a tenth of a no-op run
"""How to call libpq, the C library inside every PostgreSQL driver, without importing the driver.

The engine needs more than DB-API offers: one result per statement of a message, notices with their fields
as they arrive, COPY data in a stream, cancel.  Both psycopg2 and psycopg 3 carry libpq; loading it from
there gives the same engine on either, and starts in a tenth of the time that importing them takes.
"""

from __future__ import annotations

import ctypes
import os
import sys
from _frozen_importlib_external import PathFinder  # `importlib.machinery` would have to be loaded
from ctypes import POINTER, Structure, c_char_p, c_int, c_void_p

from .errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator

# ExecStatusType
EMPTY_QUERY, COMMAND_OK, TUPLES_OK, COPY_OUT, COPY_IN = 0, 1, 2, 3, 4
FATAL_ERROR, SINGLE_TUPLE = 7, 9
CONNECTION_OK = 0
# PGTransactionStatusType
IDLE, ACTIVE, IN_TRANSACTION, IN_ERROR, UNKNOWN = 0, 1, 2, 3, 4

#: The fields of an error or a notice, by the letters of the wire protocol.
FIELDS = {
    "severity": "V",
    "sqlstate": "C",
    "message": "M",
    "detail": "D",
    "hint": "H",
    "position": "P",
    "internal_position": "p",
    "internal_query": "q",
    "context": "W",
    "schema": "s",
    "table": "t",
    "column": "c",
    "datatype": "d",
    "constraint": "n",
}

NoticeReceiver = ctypes.CFUNCTYPE(None, c_void_p, c_void_p)


class ConninfoOption(Structure):
    """PQconninfoOption: one connection parameter and its value."""

    _fields_ = (
        ("keyword", c_char_p),
        ("envvar", c_char_p),
        ("compiled", c_char_p),
        ("val", c_char_p),
        ("label", c_char_p),
        ("dispchar", c_char_p),
        ("dispsize", c_int),
    )


_SIGNATURES = {
    "PQlibVersion": (c_int,),
    "PQconninfoParse": (POINTER(ConninfoOption), c_char_p, POINTER(c_void_p)),
    "PQconninfo": (POINTER(ConninfoOption), c_void_p),
    "PQconninfoFree": (None, POINTER(ConninfoOption)),
    "PQfreemem": (None, c_void_p),
    "PQconnectdbParams": (c_void_p, POINTER(c_char_p), POINTER(c_char_p), c_int),
    "PQstatus": (c_int, c_void_p),
    "PQerrorMessage": (c_char_p, c_void_p),
    "PQfinish": (None, c_void_p),
    "PQsocket": (c_int, c_void_p),
    "PQbackendPID": (c_int, c_void_p),
    "PQserverVersion": (c_int, c_void_p),
    "PQparameterStatus": (c_char_p, c_void_p, c_char_p),
    "PQtransactionStatus": (c_int, c_void_p),
    "PQsendQuery": (c_int, c_void_p, c_char_p),
    "PQsetSingleRowMode": (c_int, c_void_p),
    "PQsetnonblocking": (c_int, c_void_p, c_int),
    "PQflush": (c_int, c_void_p),
    "PQconsumeInput": (c_int, c_void_p),
    "PQisBusy": (c_int, c_void_p),
    "PQgetResult": (c_void_p, c_void_p),
    "PQclear": (None, c_void_p),
    "PQresultStatus": (c_int, c_void_p),
    "PQresultErrorField": (c_char_p, c_void_p, c_int),
    "PQntuples": (c_int, c_void_p),
    "PQnfields": (c_int, c_void_p),
    "PQgetvalue": (c_char_p, c_void_p, c_int, c_int),
    "PQgetisnull": (c_int, c_void_p, c_int, c_int),
    "PQputCopyData": (c_int, c_void_p, c_char_p, c_int),
    "PQputCopyEnd": (c_int, c_void_p, c_char_p),
    "PQgetCopyData": (c_int, c_void_p, POINTER(c_void_p), c_int),
    "PQsetNoticeReceiver": (c_void_p, c_void_p, NoticeReceiver, c_void_p),
    "PQgetCancel": (c_void_p, c_void_p),
    "PQcancel": (c_int, c_void_p, c_char_p, c_int),
    "PQfreeCancel": (None, c_void_p),
}

_loaded: Any = None


def load() -> Any:
    """Return libpq with every signature declared; raise `UsageError` when no driver brings it."""
    global _loaded
    if _loaded is None:
        _loaded = _declare(_open())
    return _loaded


def _open() -> Any:
    for path in _candidates():
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        if hasattr(library, "PQsetSingleRowMode"):  # a static build may hide the symbols
            return library
    raise UsageError(
        f"no PostgreSQL driver is installed for {sys.executable}",
        advice="pip install psycopg2-binary    (or: pip install 'psycopg[binary]')",
    )


def _candidates() -> Iterator[str]:
    """Name the files that hold libpq or depend on it: the drivers' own first, then the system's."""
    for package, stem in (("psycopg_binary", "pq."), ("psycopg_c", "pq."), ("psycopg2", "_psycopg.")):
        spec = PathFinder.find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            for name in sorted(os.listdir(folder)):
                if name.startswith(stem) and name.endswith((".so", ".dylib")):
                    yield os.path.join(folder, name)
    yield "libpq.so.5"
    yield "libpq.5.dylib"
    from ctypes.util import find_library

    found = find_library("pq")
    if found:
        yield found


def _declare(library: Any) -> Any:
    for name, (result, *arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


def fields(library: Any, result: int) -> dict[str, str]:
    """Read the fields of an error or notice out of a result."""
    found = {}
    for name, letter in FIELDS.items():
        value = library.PQresultErrorField(result, ord(letter))
        if value is not None:
            found[name] = value.decode("utf-8", "replace")
    return found
