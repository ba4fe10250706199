"""`enterprise-ai authz diff|review|test|lint`: what keeps a tenant's rights in order."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enterprise_ai.cli.output import print_rows
from enterprise_ai.cli.permissions import warn_of_unknown
from enterprise_ai.cli.tenancy import find_user

if TYPE_CHECKING:
    import psycopg


def add_commands(command: Any) -> None:
    """Add the commands to the group; `command` makes the parser of one."""
    diff = command("diff", "show what a file of changes would turn, without making them", _diff)
    diff.add_argument("file", type=Path, help='JSON: a list of changes, or {"changes": […], "checks": […]}')
    test = command("test", "run the tenant's policy tests; exits with 1 when one fails", _test)
    lint = command("lint", "list what somebody should look at; exits with 1 on errors", _lint)
    for parser in (diff, test, lint):
        parser.add_argument("--as", dest="who", required=True, metavar="EMAIL|ID",
                            help="the user who asks, and who has to have permission.read")  # fmt: skip
    review = command("review", "show the access reviews and how far they are", _review)
    review.add_argument("--all", action="store_true", help="also those that are closed or cancelled")


def become(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> None:
    """Open the context of the user whom `--as` names, signed in with a second factor."""
    from enterprise_ai.identity import current, open_for

    context = current(conn)
    assert context is not None
    open_for(conn, context.tenant_id, find_user(conn, options.who).id, authentication_level=2)


def _diff(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.authz import Policies

    try:
        wanted = _wanted(json.loads(options.file.read_text(encoding="utf-8-sig")))
    except (OSError, ValueError) as error:
        print(f"enterprise-ai: {options.file} cannot be read: {error}", file=sys.stderr)
        return 2
    become(options, conn)
    found = Policies(conn).simulate(wanted["changes"], wanted.get("checks"))
    warn_of_unknown(conn, {check["permission"] for check in wanted.get("checks") or []})
    refused = [change for change in found.changes if change["outcome"] != "applied"]
    if options.json:
        print(json.dumps(asdict(found)))
    else:
        for change in refused:
            print(f"change {change['change']} is refused: {change['message']} ({change['sqlstate']})")
        for flip in found.flips:
            print(_flip(flip))
        for test in found.tests:
            print(f"test {json.dumps(test)}")
        print(f"{found.checked} checks, {len(found.flips)} of them turn, {len(refused)} changes are refused.")
    if refused:
        return 1
    return 3 if found.flips else 0


def _wanted(content: Any) -> dict[str, Any]:
    wanted = {"changes": content} if isinstance(content, list) else content
    if not isinstance(wanted, dict) or "changes" not in wanted or wanted.keys() - {"changes", "checks"}:
        raise ValueError('it is neither a list of changes nor {"changes": […], "checks": […]}')
    for things in (wanted["changes"], wanted.get("checks") or []):
        if not isinstance(things, list) or not all(isinstance(thing, dict) for thing in things):
            raise ValueError("changes and checks are lists of objects")
    return wanted


def _flip(flip: dict[str, Any]) -> str:
    before, after = flip["before"], flip["after"]
    where = f" on {flip['resource_id']}" if flip.get("resource_id") else ""
    return (
        f"{before['effect']} -> {after['effect']}  {flip['user_id']} {flip['permission']}{where}"
        f"  ({before['reason']} -> {after['reason']})"
    )


def _test(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.authz import Policies

    become(options, conn)
    tests = Policies(conn).run_tests()
    columns = ("is_passed", "name", "expected_effect", "expected_reason", "effect", "reason")
    print_rows(options, tests, columns, "There are no policy tests.")
    failed = sum(not test.is_passed for test in tests)
    if tests and not options.json:
        print(f"{len(tests) - failed} passed, {failed} failed.")
    return 1 if failed else 0


def _lint(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.authz import Policies

    become(options, conn)
    findings = Policies(conn).lint()
    print_rows(options, findings, ("severity", "finding", "message"), "There is nothing to look at.")
    return 1 if any(finding.severity == "error" for finding in findings) else 0


def _review(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.authz import Reviews

    reviews = Reviews(conn)
    rows = [
        review | asdict(reviews.progress(review["id"]))
        for review in map(asdict, reviews.list())
        if options.all or review["status"] == "open"
    ]
    if options.json:
        print(json.dumps(rows, default=str))
        return 0
    for row in rows:
        late = ", overdue" if row["is_overdue"] else ""
        due = f"{row['due_at']:%Y-%m-%d %H:%M}"
        print(f"{row['id']}  {row['name']}: {row['status']}{late}, due {due}; {row['undecided']} of {row['total']}"
              f" undecided, {row['kept']} kept, {row['revoked']} revoked")  # fmt: skip
    if not rows:
        print("There are no such reviews.")
    return 0
