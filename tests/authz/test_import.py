"""Rights from Casbin and OpenFGA: they decide here as they did there, or are refused with a reason."""

from __future__ import annotations

import itertools
import json

import casbin
import pytest

from enterprise_ai.cli import main
from enterprise_ai.client import connect
from tests.authz.people import House

MODEL = """
[request_definition]
r = sub, {dom}obj, act
[policy_definition]
p = sub, {dom}obj, act, eft
[role_definition]
g = _, _{under}
[policy_effect]
e = some(where (p.eft == allow)){deny}
[matchers]
m = g(r.sub, p.sub{rdom}) && {same}r.obj == p.obj && r.act == p.act
"""
DENY = " && !some(where (p.eft == deny))"


def model(*, domains=False, deny=DENY):
    parts = {"dom": "dom, ", "under": ", _", "rdom": ", r.dom", "same": "r.dom == p.dom && "}
    return MODEL.format(deny=deny, **(parts if domains else dict.fromkeys(parts, "")))


@pytest.fixture(scope="module")
def shared(world):
    with connect(world.server.url(world.name, "app_login")) as client:
        yield world, client


class Imports:
    def __init__(self, shared, folder, capsys):
        self.house, self.folder, self.capsys = House(*shared), folder, capsys
        self.people = {name: self.house.person() for name in ("ada", "bob", "eve")}
        self.email = {}
        with self.house.world.owner(self.house.tenant) as conn:
            self.email = {
                name: conn.execute("select email from identity.users where id = %s", [id_]).fetchone()[0]
                for name, id_ in self.people.items()
            }

    def write(self, name, content):
        (self.folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return str(self.folder / name)

    def run(self, *arguments):
        url = self.house.world.server.url(self.house.world.name, "migrator")
        tenant = str(self.house.tenant.id)
        code = main(["authz", "import", *arguments, "--tenant", tenant, "--database-url", url])
        return code, *self.capsys.readouterr()

    def casbin(self, conf, policy, *options):
        self.write("model.conf", conf)
        return self.run("casbin", self.write("policy.csv", policy.format(**self.email)), *options)

    def decides(self, name, permission, resource=None):
        with self.house.world.owner(self.house.tenant) as conn:
            return conn.execute(
                "select authz.check(%s, %s, %s)", [permission, resource, self.people[name]]
            ).fetchone()[0]


@pytest.fixture
def imports(shared, tmp_path, capsys):
    return Imports(shared, tmp_path, capsys)


POLICY = """
# roles above roles, a direct grant, a deny that is inherited
p, reader, document, read, allow
p, writer, document, update, allow
p, writer, conversation, read, allow
p, {bob}, analytics, read, allow
p, reader, conversation, read, deny
g, writer, reader
g, {ada}, writer
g, {bob}, reader
"""


@pytest.mark.parametrize("deny", [DENY, ""])
def test_casbin_and_the_database_decide_alike(imports, deny):
    code, out, err = imports.casbin(model(deny=deny), POLICY)
    assert (code, err) == (0, "")
    assert "roles         2" in out
    peer = casbin.Enforcer(str(imports.folder / "model.conf"), str(imports.folder / "policy.csv"))
    objects, actions = ("document", "conversation", "analytics"), ("read", "update")
    answers = {}
    for name, kind, action in itertools.product(imports.people, objects, actions):
        answers[name, kind, action] = imports.decides(name, f"{kind}.{action}")
        assert answers[name, kind, action] == peer.enforce(imports.email[name], kind, action)
    assert {True, False} == set(answers.values())
    assert answers["ada", "conversation", "read"] == (deny == "")


def test_casbin_domains_are_tenants(imports):
    policy = """
p, reader, acme, document, read, allow
p, reader, other, document, update, allow
p, {bob}, other, document, read, allow
g, {ada}, reader, acme
g, {bob}, reader, other
"""
    assert imports.casbin(model(domains=True), policy, "--domain", "acme")[0] == 0
    peer = casbin.Enforcer(str(imports.folder / "model.conf"), str(imports.folder / "policy.csv"))
    for name, action in itertools.product(imports.people, ("read", "update")):
        expected = peer.enforce(imports.email[name], "acme", "document", action)
        assert imports.decides(name, f"document.{action}") == expected
    assert imports.decides("ada", "document.read")


def test_casbin_on_single_things(imports):
    one, other = imports.house.document(), imports.house.document()
    policy = f"p, {{ada}}, document:{one}, read, allow\np, {{ada}}, document:{other}, read, deny\n"
    assert imports.casbin(model(), policy)[0] == 0
    peer = casbin.Enforcer(str(imports.folder / "model.conf"), str(imports.folder / "policy.csv"))
    for name, thing in itertools.product(imports.people, (one, other)):
        expected = peer.enforce(imports.email[name], f"document:{thing}", "read")
        assert imports.decides(name, "document.read", thing) == expected


def test_a_dry_run_counts_and_leaves_nothing(imports):
    code, out, _ = imports.casbin(model(), POLICY, "--dry-run", "--json")
    assert (code, json.loads(out)) == (
        0, {"dry_run": True, "roles": 2, "inheritances": 1, "assignments": 2, "members": 0, "grants": 5},
    )  # fmt: skip
    assert not imports.decides("ada", "document.read")
    assert imports.casbin(model(), POLICY)[0] == 0
    assert imports.decides("ada", "document.read")


@pytest.mark.parametrize(
    ("conf", "policy", "said"),
    [
        (model(), "p, {ada}, secret, read, allow", "There is no permission secret.read"),
        (model(), "p, nobody@x.test, document, read, allow", "Nobody in the tenant is nobody@x.test"),
        (model(), "p, {ada}, document:x, read, allow", "neither a type nor type:id"),
        (model(), "p, {ada}, *, read, allow", "* stands for many"),
        (model(), "p, {ada}, document, read, perhaps", "neither allows nor denies"),
        (model(), "p, {ada}, document, read", "too long or too short"),
        (model(), "g, {ada}, viewer\np, viewer, document, read, allow", "the role viewer"),
        (model(), "g, {ada}, Chief", "unlike Chief"),
        (model(), "g, {ada}, {bob}\np, {bob}, document, read, allow", "Names of roles"),
        (model(), "g2, {ada}, x", "nothing of lines that begin with g2"),
        (model(), "p, {ada}, document, read, allow\n"
                  "p, {ada}, document:01890000-0000-7000-8000-000000000000, read, deny", "on single ones"),
        (model(), "p, {ada}, document:01890000-0000-7000-8000-000000000000, read, allow", "There is no document 0189"),
        (model(domains=True), "", "say with --domain"),
        (model().replace("r.obj == p.obj", "keyMatch(r.obj, p.obj)"), "", "The matcher is not"),
        (model(deny="").replace("some(where (p.eft == allow))", "!some(where (p.eft == deny))"), "", "a deny wins"),
        (model(deny="").replace("some(where (p.eft == allow))", "priority(p.eft) || deny"), "", "The effect priority"),
        (model().replace("g = _, _", "g = _, _\ng2 = _, _"), "", "role_definition.g2"),
        (model().replace("r = sub, obj, act", "r = sub, obj, act, time"), "", "have sub, obj and act"),
        ("nonsense", "", "is no model of Casbin"),
    ],
)  # fmt: skip
def test_what_casbin_means_otherwise_is_refused(imports, conf, policy, said):
    code, out, err = imports.casbin(conf, policy)
    assert (code, out) == (1, "")
    assert said in err
    assert "nothing has been changed" in err


def test_a_domain_that_the_policy_does_not_have_is_refused(imports):
    policy = "p, reader, acme, document, read, allow\ng, {ada}, reader, acme"
    code, _, err = imports.casbin(model(domains=True), policy, "--domain", "acne")
    assert (code, "The policy has no domain acne, it has acme" in err) == (1, True)


def test_files_that_are_no_text_are_refused_and_a_byte_order_mark_is_not(imports):
    conf = imports.write("model.conf", model())
    policy = imports.folder / "policy.csv"
    policy.write_bytes(b"\xff\xfe\x00")
    code, _, err = imports.run("casbin", str(policy))
    assert (code, "is no policy of Casbin" in err) == (1, True)
    code, _, err = imports.run("casbin", conf, "--model", str(policy))
    assert (code, "is no model of Casbin" in err) == (1, True)
    policy.write_bytes(f"\ufeffp, {imports.email['ada']}, document, read, allow".encode())
    assert imports.run("casbin", str(policy))[0] == 0
    assert imports.decides("ada", "document.read")


def test_a_circle_of_roles_is_refused_whole(imports):
    code, _, err = imports.casbin(model(), "g, one, two\ng, two, one\np, {ada}, document, read, allow")
    assert code == 1
    assert "Role two cannot inherit from role one, which inherits from it" in err
    assert not imports.decides("ada", "document.read")


def test_tuples_become_grants_groups_and_roles(imports):
    document, other = imports.house.document(), imports.house.document()
    ada, bob, eve = (f"user:{imports.email[name]}" for name in ("ada", "bob", "eve"))

    def of(user, relation, thing):
        return {"user": user, "relation": relation, "object": thing}

    tuples = [
        of(ada, "read", f"document:{document}"),
        {"key": of("group:staff#member", "editor", f"document:{other}"), "timestamp": "2026-01-01T00:00:00Z"},
        of(bob, "member", "group:staff"),
        of("role:chief#assignee", "assignee", "role:clerk"),
        of("role:clerk#assignee", "read", f"document:{document}"),
        of(eve, "assignee", "role:chief"),
    ]
    path = imports.write("tuples.json", {"tuples": tuples})
    code, _, err = imports.run("openfga", path, "--relation", "editor=read,update")
    assert (code, err) == (0, "")
    may = {
        (name, action, thing)
        for name in imports.people
        for action in ("read", "update", "delete")
        for thing in ("document", "other")
        if imports.decides(name, f"document.{action}", {"document": document, "other": other}[thing])
    }
    assert may == {
        ("ada", "read", "document"), ("eve", "read", "document"), ("bob", "read", "other"), ("bob", "update", "other"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("tuples", "said"),
    [
        ([{"user": "user:*", "relation": "read", "object": "document:x"}], "it can be given to"),
        ([{"user": "team:x#member", "relation": "read", "object": "document:x"}], "it can be given to"),
        ([{"user": "user:ada", "relation": "read", "object": "document:x"}], "no id"),
        ([{"user": "user:ada", "relation": "read"}], "no tuple"),
        ([{"user": "group:a#member", "relation": "member", "object": "group:b"}], "only people are members"),
        ([{"user": "user:ada", "relation": "read", "object": "document:x", "condition": {"name": "c"}}], "a condition"),
        ("{", "no JSON"),
        ({"model": {}}, "no list of tuples"),
        ([{"user": "user:ada", "relation": "member", "object": "group:b"}], "Nobody in the tenant is ada"),
    ],
)  # fmt: skip
def test_what_openfga_means_otherwise_is_refused(imports, tuples, said):
    code, _, err = imports.run("openfga", imports.write("tuples.json", tuples))
    assert code == 1
    assert said.replace("no id", "an id") in err


def test_a_file_that_is_not_there_is_a_matter_of_usage(imports):
    assert imports.run("openfga", str(imports.folder / "gone.json"))[0] == 2


def test_what_is_there_already_is_named_and_relations_add_up(imports):
    document = imports.house.document()
    said = {"user": f"user:{imports.email['ada']}", "relation": "editor", "object": f"document:{document}"}
    path = imports.write("tuples.json", [said])
    relations = ("--relation", "editor=read", "--relation", "editor=update")
    assert imports.run("openfga", path, *relations)[0] == 0
    assert imports.decides("ada", "document.read", document)
    assert imports.decides("ada", "document.update", document)
    code, _, err = imports.run("openfga", path, *relations)
    assert (code, f"has already allow of document.read on {document}; nothing" in err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("openfga", "x", "--domain", "d"), "--domain means nothing for openfga"),
        (("casbin", "x", "--relation", "a=b"), "--relation means nothing for casbin"),
    ],
)
def test_options_of_the_other_kind_are_refused(imports, arguments, said):
    code, _, err = imports.run(*arguments)
    assert (code, said in err) == (2, True)
