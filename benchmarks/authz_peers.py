"""The same questions to others: pycasbin and Cedar in process, Cerbos over HTTP on loopback.

Each is given what the roles of one tenant carry, and is asked for a permission on its type as such. Facts travel
as each wants them: Casbin and Cedar hold all users and roles, Cerbos is told the user's roles by whoever asks.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TOOLS = Path(__file__).resolve().parent / "tools" / "authz"
CERBOS = TOOLS / "node_modules" / "@cerbos" / "cerbos-linux-x64" / "cerbos-linux-x64"
CARRIED = """
select r.role_id::text, p.name from authz.role_permissions as r join authz.permissions as p on p.id = r.permission_id
where not r.only_own
"""
ABOVE = """
select role_id::text, parent_id::text from authz.role_inheritance
union all select user_id::text, role_id::text from authz.user_roles
"""
Question = tuple[str, str]


def install() -> None:
    """Install what there is to install; Cerbos is left out where npm is not there."""
    subprocess.run([sys.executable, "-m", "venv", str(TOOLS)], check=True)
    subprocess.run([str(TOOLS / "bin" / "pip"), "install", "-q", "casbin", "cedarpy"], check=True)
    subprocess.run(
        ["npm", "install", "--silent", "--prefix", str(TOOLS), "@cerbos/cerbos-linux-x64"], check=False
    )


class Facts:
    """What one tenant's roles carry, and who has which."""

    def __init__(self, conn: Any) -> None:
        self.carried = [tuple(row) for row in conn.execute(CARRIED)]
        self.above: dict[str, set[str]] = {}
        for heir, parent in conn.execute(ABOVE):
            self.above.setdefault(heir, set()).add(parent)

    def all_above(self, name: str) -> set[str]:
        found: set[str] = set()
        todo = [name]
        while todo:
            todo += (new := self.above.get(todo.pop(), set()) - found)
            found |= new
        return found


def casbin(facts: Facts, asked: list[Question]) -> tuple[float, list[bool]]:
    """Seconds for all, and the answers, of a warm FastEnforcer."""
    import casbin as peer

    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(
            "[request_definition]\nr = sub, act\n[policy_definition]\np = sub, act\n[role_definition]\ng = _, _\n"
            "[policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\nm = g(r.sub, p.sub) && r.act == p.act\n"
        )
        file.flush()
        enforcer = peer.FastEnforcer(file.name, cache_key_order=[1])
    enforcer.add_policies([list(row) for row in facts.carried])
    enforcer.add_grouping_policies(
        [[heir, p] for heir, parents in facts.above.items() for p in sorted(parents)]
    )
    for question in asked[:20]:
        enforcer.enforce(*question)
    started = time.perf_counter()
    answers = [enforcer.enforce(*question) for question in asked]
    return time.perf_counter() - started, answers


def cedar(facts: Facts, asked: list[Question]) -> tuple[float, list[bool]]:
    """The same of Cedar by one batch, so that policies and entities are parsed once; that is counted."""
    import cedarpy as peer

    of_role: dict[str, list[str]] = {}
    for role, permission in facts.carried:
        of_role.setdefault(role, []).append(f'Action::"{permission}"')
    policies = "\n".join(
        f'permit (principal in Role::"{role}", action in [{", ".join(actions)}], resource);'
        for role, actions in of_role.items()
    )
    roles = {role for role, _ in facts.carried} | {p for parents in facts.above.values() for p in parents}

    def uid(name: str) -> dict[str, str]:
        return {"type": "Role" if name in roles else "User", "id": name}

    entities = [
        {"uid": uid(name), "attrs": {}, "parents": [uid(p) for p in sorted(facts.above.get(name, ()))]}
        for name in sorted(roles | facts.above.keys())
    ]
    requests = [
        {
            "principal": f'User::"{user}"',
            "action": f'Action::"{permission}"',
            "resource": 'Type::"any"',
            "context": {},
        }
        for user, permission in asked
    ]
    started = time.perf_counter()
    found = peer.is_authorized_batch(requests, policies, entities)
    return time.perf_counter() - started, [result.allowed for result in found]


def cerbos(facts: Facts, asked: list[Question]) -> tuple[float, list[bool]]:
    """The same of Cerbos, a request a check on one connection."""
    with tempfile.TemporaryDirectory() as folder, _serving(Path(folder), facts) as conn:
        bodies = [_body(facts, user, permission) for user, permission in asked]
        _ask(conn, bodies[0])
        started = time.perf_counter()
        answers = [_ask(conn, body) for body in bodies]
        return time.perf_counter() - started, [
            answer["results"][0]["actions"][permission] == "EFFECT_ALLOW"
            for answer, (_, permission) in zip(answers, asked, strict=True)
        ]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def _serving(folder: Path, facts: Facts) -> Iterator[http.client.HTTPConnection]:
    (folder / "policies").mkdir()
    carried: dict[str, dict[str, set[str]]] = {}
    for role, permission in facts.carried:
        carried.setdefault(permission.split(".")[0], {}).setdefault(permission, set()).add(role)
    for kind, actions in carried.items():
        rules = [
            {"actions": [action], "effect": "EFFECT_ALLOW", "roles": sorted(roles)}
            for action, roles in actions.items()
        ]
        policy = {
            "apiVersion": "api.cerbos.dev/v1",
            "resourcePolicy": {"resource": kind, "version": "default", "rules": rules},
        }
        (folder / "policies" / f"{kind}.json").write_text(json.dumps(policy))
    http_port, grpc_port = _free_port(), _free_port()
    config = {
        "server": {
            "httpListenAddr": f"127.0.0.1:{http_port}",
            "grpcListenAddr": f"127.0.0.1:{grpc_port}",
        },
        "storage": {"driver": "disk", "disk": {"directory": str(folder / "policies")}},
        "telemetry": {"disabled": True},
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    server = subprocess.Popen(
        [str(CERBOS), "server", "--config", str(folder / "config.yaml"), "--log-level", "error"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        give_up = time.monotonic() + 60
        while True:
            conn = http.client.HTTPConnection("127.0.0.1", http_port)
            try:
                conn.request("GET", "/_cerbos/health")
                conn.getresponse().read()
                break
            except OSError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.1)
        yield conn
        conn.close()
    finally:
        server.terminate()
        server.wait()


def _body(facts: Facts, user: str, permission: str) -> bytes:
    return json.dumps(
        {
            "principal": {"id": user, "roles": sorted(facts.all_above(user)) or ["nobody"]},
            "resources": [
                {"resource": {"kind": permission.split(".")[0], "id": "any"}, "actions": [permission]}
            ],
        }
    ).encode()


def _ask(conn: http.client.HTTPConnection, body: bytes) -> Any:
    conn.request("POST", "/api/check/resources", body, {"Content-Type": "application/json"})
    return json.loads(conn.getresponse().read())


def measure(conn: Any, asked: list[Question], truth: list[bool], ours: float) -> None:
    """Print what each takes for a check, how much longer than `ours` microseconds, and whether it answers the same."""
    sys.path += [str(path) for path in (TOOLS / "lib").glob("python*/site-packages")]
    facts = Facts(conn)
    for name, ask in (("pycasbin, warm", casbin), ("Cedar, one batch", cedar), ("Cerbos, HTTP", cerbos)):
        if ask is cerbos and not CERBOS.exists():
            print(f"  {name:26} is not installed")
            continue
        seconds, answers = ask(facts, asked)
        each = 1e6 * seconds / len(asked)
        differ = sum(a != b for a, b in zip(answers, truth, strict=True))
        print(f"  {name:26} {1e6 / each:9,.0f}/s  {each:8.1f} µs wall  {each / ours:6.1f} times a check;"
              f" {differ} of {len(asked)} answers differ", flush=True)  # fmt: skip
