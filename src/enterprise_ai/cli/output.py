"""How commands print rows and ask before what cannot be undone."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="one JSON document")


def print_rows(options: argparse.Namespace, rows: Sequence[Any], columns: Sequence[str], empty: str) -> None:
    """Print dataclasses as a table of some of their fields, or with `--json` all of them."""
    if options.json:
        print(json.dumps([asdict(row) for row in rows], default=str))
        return
    if not rows:
        print(empty)
        return
    cells = [[_cell(getattr(row, column)) for column in columns] for row in rows]
    _print_table([[column.replace("_", " ") for column in columns], *cells])


def print_facts(options: argparse.Namespace, facts: Mapping[str, Any]) -> None:
    """Print one thing: a line for each of its facts, or with `--json` an object."""
    if options.json:
        print(json.dumps(facts, default=str))
        return
    _print_table([[name.replace("_", " "), _cell(fact)] for name, fact in facts.items()])


def confirmed(options: argparse.Namespace, what: str) -> bool:
    """Ask before something that cannot be undone, unless `--yes` was given; say so when there is nobody to ask."""
    if options.yes:
        return True
    if not sys.stdin.isatty():
        print(f"enterprise-ai: {what} needs a confirmation: add --yes.", file=sys.stderr)
        return False
    print(f"{what}? [y/N] ", end="", flush=True)
    if sys.stdin.readline().strip().lower() == "y":
        return True
    print("Nothing was changed.")
    return False


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value)) or "-"
    return str(value)


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
