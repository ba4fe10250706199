"""`enterprise-ai sso`, as an administrator runs it; providers and name servers are asked over loopback."""

from __future__ import annotations

import base64
import io
import json
import re
import shlex
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import dns.flags
import dns.message
import dns.rrset
import pytest

from enterprise_ai.cli import main
from enterprise_ai.identity.sso.certificates import new_key_and_certificate
from enterprise_ai.secrets import VARIABLE, SecretBox
from tests.conftest import ROOT
from tests.identity.conftest import Tenant, World
from tests.identity.sso.node import free_port, running

PAGES = ROOT / "docs" / "how-to" / "single-sign-on"
KEYS = "k1:" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def tenant(world: World) -> Tenant:
    return world.new_tenant("t" + uuid4().hex[:12])


@pytest.fixture
def run(
    world: World, tenant: Tenant, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Run a command of the group in a tenant of its own; returns (exit code, output, error)."""
    monkeypatch.setenv(VARIABLE, KEYS)

    def call(*words: str, given: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(given))
        url = world.server.url(world.name, "gateway_login")
        code = main(["sso", *words, "--tenant", str(tenant.id), "--database-url", url])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def made(run: Callable[..., tuple[int, str, str]]) -> Callable[..., Any]:
    """Run a command that must do and print JSON; returns what it says."""

    def call(*words: str, given: str = "") -> Any:
        code, out, err = run(*words, "--json", given=given)
        assert code == 0, err
        return json.loads(out)

    return call


@pytest.fixture
def oidc(made: Callable[..., Any]) -> str:
    """A provider that nobody asks."""
    made("add", "oidc", "company", "--issuer", "https://login.example.com", "--client-id", "app")
    return "company"


def test_an_openid_provider_from_its_set_up_to_its_end(run: Any, made: Any) -> None:
    words = ("--issuer", "https://login.example.com", "--client-id", "app", "--client-secret-file", "-")
    added = made(
        "add", "oidc", "company", *words, "--creates-users", "--claim", "external_id=oid", "--claim",
        "email_verified=", "--level-for", "mfa=2", "--scope", "openid", "--scope", "groups", given="first\n",
    )  # fmt: skip
    assert added["is_enabled"] is False

    code, _, err = run("add", "oidc", "company", *words, given="second")
    assert (code, "sso change" in err) == (1, True)
    made("change", "company", "--display-name", "The Company", "--no-creates-users", "--level-for", "otp=2")
    shown = made("show", "company")
    assert run("enable", "company")[:2] == (0, "Provider company is enabled.\n")
    listed = made("list")

    assert (shown["display_name"], shown["creates_users"], shown["scopes"]) == (
        "The Company", False, ["openid", "groups"],
    )  # fmt: skip
    assert shown["claim_names"]["external_id"] == "oid"
    assert "email_verified" not in shown["claim_names"]
    assert shown["authentication_levels"] == {"mfa": 2, "otp": 2}
    assert [(p["name"], p["is_enabled"]) for p in listed] == [("company", True)]
    assert "first" not in json.dumps([shown, listed])

    assert run("disable", "company")[0] == 0
    assert run("delete", "company")[0] == 2
    assert run("delete", "company", "--yes")[0] == 0
    assert made("list") == []
    assert run("show", "company")[0] == 1


def test_claims_that_people_must_bring_are_set_and_taken_back(run: Any, made: Any) -> None:
    words = ("--issuer", "https://accounts.example.com", "--client-id", "app")
    required = ("--require", "hd=acme.test", "--require", "hd=acme.example", "--require", "tid=t=1")
    made("add", "oidc", "public", *words, *required)
    assert made("show", "public")["required_claims"] == {"hd": ["acme.test", "acme.example"], "tid": ["t=1"]}
    made("change", "public", "--require", "hd=acme.test")
    assert made("show", "public")["required_claims"] == {"hd": ["acme.test"], "tid": ["t=1"]}
    made("change", "public", "--require", "tid=")
    made("change", "public", "--display-name", "Public")
    assert made("show", "public")["required_claims"] == {"hd": ["acme.test"]}
    made("change", "public", "--require", "hd=")
    assert made("show", "public")["required_claims"] == {}
    with pytest.raises(SystemExit):
        run("change", "public", "--require", "hd")


def test_secrets_are_replaced_and_sealed_anew(
    run: Any, oidc: str, world: World, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stored() -> tuple[Any, bytes]:
        with world.owner(tenant) as conn:
            return conn.execute("select id, client_secret from identity.sso_providers").fetchone()

    assert run("secret", oidc, "--client-secret-file", "-", given="s3cret\n")[0] == 0
    provider, first = stored()
    assert SecretBox({"k1": bytes(range(32))}).open(first, tenant.id, provider, "client_secret") == b"s3cret"

    new = "k2:" + base64.b64encode(bytes(32)).decode()
    monkeypatch.setenv(VARIABLE, f"{new},{KEYS}")
    assert run("reseal")[:2] == (0, "1 providers were sealed anew.\n")
    assert SecretBox({"k2": bytes(32)}).open(stored()[1], tenant.id, provider, "client_secret") == b"s3cret"
    assert run("reseal")[1] == "0 providers were sealed anew.\n"

    monkeypatch.delenv(VARIABLE)
    code, _, err = run("secret", oidc, "--client-secret-file", "-", given="x")
    assert (code, VARIABLE in err) == (1, True)
    assert run("list")[0] == 0  # what needs no secret needs no key


def test_a_provider_is_tried_before_people_are_sent_there(run: Any, made: Any) -> None:
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    client = {"client_id": "app", "client_secret": "s" * 32, "redirect_uris": ["https://app.example.com/cb"]}
    made(
        "add",
        "oidc",
        "real",
        "--issuer",
        issuer,
        "--client-id",
        "app",
        "--client-secret-file",
        "-",
        given="s",
    )
    assert run("test", "real", "--allow-loopback")[0] == 1  # nobody is there

    with running("oidc.mjs", str(port), json.dumps(client), "/dev/null"):
        found = {row["what"]: row for row in made("test", "real", "--allow-loopback")}
        refused, out, _ = run("test", "real")

    assert all(row["is_good"] for row in found.values())
    assert found["token endpoint"]["found"] == f"{issuer}/token"
    assert (found["PKCE"]["found"], found["signing keys"]["found"]) == ("S256", "1")
    assert (refused, "not an https address" in out) == (1, True)


def test_the_addresses_of_plain_oauth_are_looked_at(run: Any, made: Any) -> None:
    endpoints = [
        word
        for name in ("authorization", "token", "userinfo")
        for word in (f"--{name}-endpoint", f"http://127.0.0.1:9/{name}")
    ]
    code, _, _ = run(
        "add", "oauth2", "plain", "--issuer", "https://id.example", "--client-id", "a", *endpoints
    )

    assert code == 0
    assert run("test", "plain", "--allow-loopback")[0] == 0
    assert run("test", "plain")[0] == 1


def test_a_provider_that_serves_everybody_makes_no_users_of_strangers(run: Any, made: Any) -> None:
    def people() -> dict[str, Any]:
        code, out, _ = run("test", "public", "--allow-loopback", "--json")
        finding = {row["what"]: row for row in json.loads(out)}["people"]
        assert code == (0 if finding["is_good"] else 1)
        return finding

    endpoints = [
        word
        for name in ("authorization", "token", "userinfo")
        for word in (f"--{name}-endpoint", f"http://127.0.0.1:9/{name}")
    ]
    made("add", "oauth2", "public", "--issuer", "https://github.com", "--client-id", "a", *endpoints)
    assert people()["is_good"]
    made("change", "public", "--creates-users")
    assert not people()["is_good"]
    made("change", "public", "--require", "company=acme", "--require", "company=acme.example")
    assert people()["found"] == "who brings company acme or acme.example"


@pytest.fixture
def metadata(tmp_path: Path) -> Path:
    """What a SAML provider publishes, with a certificate of today."""
    _, certificate = new_key_and_certificate("idp")
    body = "".join(certificate.splitlines()[1:-1])
    binding = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
    path = tmp_path / "metadata.xml"
    path.write_text(
        f"""<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="https://idp.test/saml">
        <IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">
        <KeyDescriptor use="signing"><KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data><X509Certificate>
        {body}</X509Certificate></X509Data></KeyInfo></KeyDescriptor>
        <SingleLogoutService Binding="{binding}" Location="http://127.0.0.1:9/slo"/>
        <SingleSignOnService Binding="{binding}" Location="http://127.0.0.1:9/sso"/>
        </IDPSSODescriptor></EntityDescriptor>"""
    )
    return path


def test_a_saml_provider_comes_by_its_metadata(run: Any, made: Any, metadata: Path) -> None:
    made(
        "add", "saml", "adfs", "--metadata", str(metadata), "--entity-id", "https://app.example.com", "--sign-requests",
        "--claim", "email=mail",
    )  # fmt: skip
    shown = made("show", "adfs")
    ours = run("metadata", "adfs", "--acs-url", "https://app.example.com/acs")
    found = {row["what"]: row for row in made("test", "adfs", "--allow-loopback")}

    assert (shown["issuer"], shown["single_logout_url"]) == (
        "https://idp.test/saml",
        "http://127.0.0.1:9/slo",
    )
    assert len(shown["signing_certificates"]) == 1
    assert (ours[0], 'entityID="https://app.example.com"' in ours[1], "X509Certificate" in ours[1]) == (
        0,
        True,
        True,
    )
    assert all(row["is_good"] for row in found.values())
    assert found["our certificate"]["found"] == "is of our key"


def test_a_new_certificate_comes_by_new_metadata(run: Any, made: Any, metadata: Path) -> None:
    made("add", "saml", "adfs", "--metadata", str(metadata), "--entity-id", "app")
    before = made("show", "adfs")["signing_certificates"]
    _, certificate = new_key_and_certificate("next")
    text = metadata.read_text()
    descriptor = text[text.index("<KeyDescriptor") : text.index("</KeyDescriptor>") + len("</KeyDescriptor>")]
    start, end = descriptor.index("<X509Certificate>") + 17, descriptor.index("</X509Certificate>")
    another = descriptor[:start] + "".join(certificate.splitlines()[1:-1]) + descriptor[end:]
    metadata.write_text(text.replace(descriptor, descriptor + another))

    assert made("change", "adfs", "--metadata", str(metadata))["name"] == "adfs"

    after = made("show", "adfs")["signing_certificates"]
    assert after[0] == before[0]
    assert len(after) == 2


@pytest.mark.parametrize("text", ["", "no XML", "<a/>", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'])
def test_what_is_no_metadata_sets_nothing_up(run: Any, made: Any, tmp_path: Path, text: str) -> None:
    path = tmp_path / "metadata.xml"
    path.write_text(text)

    code, _, err = run("add", "saml", "adfs", "--metadata", str(path), "--entity-id", "app")

    assert (code, "metadata" in err) == (1, True)
    assert made("list") == []
    code, _, err = run("add", "saml", "adfs", "--metadata", str(tmp_path / "none"), "--entity-id", "app")
    assert (code, "No such file" in err) == (1, True)


@pytest.fixture
def nameserver() -> Iterator[tuple[str, list[str]]]:
    """A name server on loopback that says the texts in the list, whatever domain it is asked about."""
    texts: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                packet, sender = listener.recvfrom(4096)
                if not packet:
                    return
                question = dns.message.from_wire(packet)
                answer = dns.message.make_response(question)
                answer.flags |= dns.flags.AA | dns.flags.RA
                if texts:
                    quoted = [json.dumps(text) for text in texts]
                    answer.answer.append(
                        dns.rrset.from_text(question.question[0].name, 60, "IN", "TXT", *quoted)
                    )
                listener.sendto(answer.to_wire(), sender)

        thread = threading.Thread(target=serve)
        thread.start()
        address = "{}:{}".format(*listener.getsockname())
        yield address, texts
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stop:
            stop.sendto(b"", listener.getsockname())
        thread.join()


def test_a_domain_counts_once_its_record_is_there(
    run: Any, made: Any, oidc: str, nameserver: tuple[str, list[str]]
) -> None:
    address, texts = nameserver
    domain = f"corp{free_port()}.example"
    claimed = made("domain", "add", oidc, domain.upper())
    assert (claimed["domain"], claimed["type"]) == (domain, "TXT")

    assert run("domain", "verify", domain, "--nameserver", address)[0] == 1
    texts.append("v=spf1 -all")
    assert run("domain", "verify", domain, "--nameserver", address)[0] == 1
    assert made("show", oidc)["domains"][0]["verified_at"] is None
    texts.append(claimed["text"])
    assert run("domain", "verify", domain, "--nameserver", address, "--enforce")[0] == 0

    (shown,) = made("show", oidc)["domains"]
    assert (shown["verified_at"] is not None, shown["is_enforced"]) == (True, True)
    assert run("domain", "release", domain)[0] == 0
    assert run("domain", "release", domain)[0] == 1


def test_claims_stand_for_roles(run: Any, made: Any, oidc: str) -> None:
    added = made("role", "add", oidc, "--claim", "groups", "--value", "admins", "--role", "security_admin")
    assert run("role", "add", oidc, "--claim", "groups", "--value", "admins", "--role", "nobody")[0] == 1

    (shown,) = made("show", oidc)["roles"]
    assert (shown["id"], shown["claim_value"], shown["role"]) == (added["id"], "admins", "security_admin")
    assert run("role", "remove", added["id"])[0] == 0
    assert run("role", "remove", added["id"])[0] == 1
    assert made("show", oidc)["roles"] == []


def test_what_does_not_fit_is_a_matter_of_usage(run: Any) -> None:
    for words in (("--level-for", "mfa=9"), ("--claim", "email"), ("--level", "4")):
        with pytest.raises(SystemExit) as stopped:
            run("add", "oidc", "x", "--issuer", "https://i.example", "--client-id", "a", *words)
        assert stopped.value.code == 2


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_the_commands_of_the_pages_do_what_they_say(run: Any, made: Any, metadata: Path, page: Path) -> None:
    """Each `sso add` and `sso role add` of a page runs in turn; names in capitals are the reader's to fill in."""
    text = page.read_text().replace("\\\n", " ")
    commands = re.findall(r"enterprise-ai sso (add [^`\n]+)", text) + re.findall(
        r"sso (role add [^`\n]+)", text
    )
    for command in commands:
        if " NAME " in command:
            continue
        words = shlex.split(
            command.replace("--tenant acme", "").replace(
                "https://idp.example.com/metadata.xml", str(metadata)
            )
        )
        code, _, err = run(*words, given="secret")
        assert (code, err) == (0, ""), command
    names = {provider["name"] for provider in made("list")}
    assert len(names) == (page.stem != "README")
    for name in names:
        assert run("enable", name)[0] == 0
