"""SAML 2.0 against an identity provider that others wrote, and what attackers make of its answers."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from lxml import etree

from enterprise_ai.identity import errors as e
from enterprise_ai.identity import open_for, open_session
from enterprise_ai.identity.sso import Providers, SingleSignOn, Web
from enterprise_ai.identity.sso.errors import AnswerRefused
from tests.identity.sso.browser import CALLBACK, Browser, form
from tests.identity.sso.node import free_port, running

US, IDP = "urn:test:us", "urn:test:idp"
NAMES = {
    "p": "urn:oasis:names:tc:SAML:2.0:protocol",
    "a": "urn:oasis:names:tc:SAML:2.0:assertion",
    "s": "http://www.w3.org/2000/09/xmldsig#",
}
EMAIL = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress"


def key_and_certificate(name: str) -> tuple[str, str, str]:
    """A new RSA key, a certificate for it, and its public key, as PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - dt.timedelta(1)).not_valid_after(now + dt.timedelta(30))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    return (
        key.private_bytes(pem, *plain).decode(),
        certificate.public_bytes(pem).decode(),
        public.decode(),
    )


class IdentityProvider:
    """The provider as it runs, and the keys of it and of us."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self.key, self.certificate, _ = key_and_certificate("idp")
        self.our_key, self.our_certificate, our_public = key_and_certificate("us")
        for name, text in (("idp.key", self.key), ("idp.crt", self.certificate),
                           ("sp.crt", self.our_certificate), ("sp.pub", our_public)):  # fmt: skip
            (folder / name).write_text(text)


@pytest.fixture(scope="module")
def idp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    port, folder = free_port(), tmp_path_factory.mktemp("idp")
    provider = IdentityProvider(folder, port)
    with running("saml.mjs", str(port), str(folder), CALLBACK):
        yield provider


@pytest.fixture(scope="module")
def sso(secrets):
    return SingleSignOn(secrets, web=Web(allow_loopback=True))


@pytest.fixture
def conn(gate):
    with contextlib.closing(gate.world.connect("gateway")) as connection:
        yield connection


def save(gate, secrets, idp, signing_key: str | None = None, **settings: Any):
    values = {
        "protocol": "saml", "issuer": IDP, "client_id": US, "is_enabled": True, "creates_users": True,
        "single_sign_on_url": idp.url, "signing_certificates": [idp.certificate], "claim_names": {"email": EMAIL},
        **settings,
    }  # fmt: skip
    with gate.world.connect("gateway") as conn:
        open_for(conn, gate.tenant.id)
        return Providers(conn, secrets).save("corp", signing_key=signing_key, **values)


@pytest.fixture
def provider(gate, secrets, idp):
    return save(gate, secrets, idp)


def begin(sso, conn, gate, **options: Any):
    return sso.begin(conn, gate.tenant.id, "corp", redirect_uri=CALLBACK, return_to="/inbox", **options)


def answered(begun, **options: Any) -> dict[str, str]:
    """What the provider, told to behave so, has the browser post to us."""
    page = Browser().get(begun.url + "&" + urlencode({"options": json.dumps(options)}), timeout=10).text
    action, fields = form(page)
    assert html.unescape(action) == CALLBACK
    return fields


def sign_in(sso, conn, gate, **options: Any):
    begun = begin(sso, conn, gate)
    return sso.complete(conn, answered(begun, **options), begun.browser_token)


def refused(sso, conn, begun, answer, match: str | None = None) -> None:
    with pytest.raises(AnswerRefused, match=match):
        sso.complete(conn, answer, begun.browser_token)


def nobody_came(gate) -> bool:
    return gate.owner("select email from identity.users") == []


# What is believed


def test_somebody_signs_in_and_has_a_session(gate, sso, conn, provider):
    signed_in = sign_in(sso, conn, gate)
    assert (signed_in.return_to, signed_in.proved.subject) == ("/inbox", "ada")
    session = sso.start_session(conn, signed_in)
    with gate.world.connect("app") as app:
        assert open_session(app, session.token).user_id == signed_in.user_id
    assert gate.owner("select email from identity.users") == [("ada@corp.test",)]


def test_an_attribute_becomes_a_role(gate, sso, conn, provider):
    name = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name"
    gate.call("select identity.map_sso_role(%s, %s, 'Ada', 'viewer')", [provider, name])
    assert gate.roles_of(sign_in(sso, conn, gate).user_id) == {"viewer"}


def test_an_encrypted_assertion_is_opened_with_our_key(gate, secrets, sso, conn, idp):
    save(gate, secrets, idp, signing_key=idp.our_key, signing_certificate=idp.our_certificate)
    assert sign_in(sso, conn, gate, encrypt=True).proved.subject == "ada"


def test_a_signed_response_around_a_signed_assertion_is_fine(gate, sso, conn, provider):
    assert sign_in(sso, conn, gate, signResponse=True).proved.subject == "ada"


def test_our_request_is_signed_where_we_have_a_key(gate, secrets, sso, conn, idp):
    save(gate, secrets, idp, signing_key=idp.our_key, signing_certificate=idp.our_certificate)
    # As it was sent, for the signature covers the encoded text.
    sent = dict(part.split("=", 1) for part in urlsplit(begin(sso, conn, gate).url).query.split("&"))
    signed = "&".join(f"{name}={sent[name]}" for name in ("SAMLRequest", "RelayState", "SigAlg"))
    certificate = x509.load_pem_x509_certificate(idp.our_certificate.encode())
    certificate.public_key().verify(
        base64.b64decode(unquote(sent["Signature"])), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
    )


def test_our_metadata_says_who_we_are_and_where_answers_go(gate, secrets, sso, conn, idp):
    save(gate, secrets, idp, signing_key=idp.our_key, signing_certificate=idp.our_certificate)
    text = sso.saml_metadata(conn, gate.tenant.id, "corp", acs_url=CALLBACK)
    root = etree.fromstring(text.encode())
    metadata = {**NAMES, "m": "urn:oasis:names:tc:SAML:2.0:metadata"}
    assert root.get("entityID") == US
    (service,) = root.findall(".//m:AssertionConsumerService", metadata)
    assert service.get("Location") == CALLBACK
    assert root.find("m:SPSSODescriptor", metadata).get("WantAssertionsSigned") == "true"
    certificate = root.findtext(".//s:X509Certificate", namespaces=metadata)
    assert "".join(certificate.split()) in idp.our_certificate.replace("\n", "")
    assert "PRIVATE" not in text


def test_certificates_roll_over(gate, secrets, sso, conn, idp):
    key, certificate, _ = key_and_certificate("idp, next year")
    save(gate, secrets, idp, signing_certificates=[idp.certificate, certificate])
    assert sign_in(sso, conn, gate).proved.subject == "ada"
    assert sign_in(sso, conn, gate, key=key, cert=certificate).proved.subject == "ada"
    save(gate, secrets, idp, signing_certificates=[certificate])
    begun = begin(sso, conn, gate)
    refused(sso, conn, begun, answered(begun))


def test_the_authentication_context_gives_the_level(gate, secrets, sso, conn, idp):
    context = "https://refeds.org/profile/mfa"
    save(gate, secrets, idp, authentication_levels={context: 2})
    assert sign_in(sso, conn, gate).authentication_level == 1
    assert sign_in(sso, conn, gate, authnContextClassRef=context).authentication_level == 2


# What is not


@pytest.mark.parametrize("options", [
    {"audience": "urn:test:somebody-else"},
    {"recipient": "https://evil.test/back"},
    {"destination": "https://evil.test/back"},
    {"inResponseTo": "_another"},
    {"lifetimeInSeconds": -600},
    {"issuer": "urn:test:another-idp"},
    {"signatureAlgorithm": "rsa-sha1", "digestAlgorithm": "sha1"},
    {"nameIdentifierFormat": "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"},
], ids=lambda options: next(iter(options)))  # fmt: skip
def test_what_is_for_another_or_out_of_date_is_refused(gate, sso, conn, provider, options):
    begun = begin(sso, conn, gate)
    refused(sso, conn, begun, answered(begun, **options))
    assert nobody_came(gate)


def test_another_key_is_refused_although_its_certificate_comes_along(gate, sso, conn, provider):
    key, certificate, _ = key_and_certificate("evil")
    begun = begin(sso, conn, gate)
    refused(sso, conn, begun, answered(begun, key=key, cert=certificate))


def test_a_failure_at_the_provider_is_told(gate, sso, conn, provider):
    begun = begin(sso, conn, gate)
    answer = altered(answered(begun), lambda root: root.find(".//p:StatusCode", NAMES).set(
        "Value", "urn:oasis:names:tc:SAML:2.0:status:Responder"))  # fmt: skip
    refused(sso, conn, begun, answer)


def test_an_answer_works_once_and_for_its_own_sign_in_only(gate, sso, conn, provider):
    first, second = begin(sso, conn, gate), begin(sso, conn, gate)
    answer = answered(first)
    # The assertion of one sign-in under the state of another.
    refused(
        sso, conn, second, {**answer, "RelayState": parse_qs(urlsplit(second.url).query)["RelayState"][0]}
    )
    sso.complete(conn, answer, first.browser_token)
    with pytest.raises(e.SsoRequestNotFound):
        sso.complete(conn, answer, first.browser_token)


def test_what_nobody_asked_for_is_refused(gate, sso, conn, provider):
    answer = answered(begin(sso, conn, gate))
    for state in ({}, {"RelayState": "https://evil.test/"}, {"RelayState": "/inbox"}):
        with pytest.raises(e.SsoRequestNotFound):
            sso.complete(conn, {"SAMLResponse": answer["SAMLResponse"], **state}, None)


@pytest.mark.parametrize("answer", ["", "no base64 at all!", base64.b64encode(b"<no").decode(),
                                    base64.b64encode(b"<p/>").decode(), "A" * 200])  # fmt: skip
def test_what_is_no_answer_at_all_is_refused(gate, sso, conn, provider, answer):
    begun = begin(sso, conn, gate)
    refused(sso, conn, begun, {**answered(begun), "SAMLResponse": answer})


# What attackers make of an answer that is in order


def altered(answer: dict[str, str], change: Any) -> dict[str, str]:
    root = etree.fromstring(base64.b64decode(answer["SAMLResponse"]))
    changed = change(root)
    root = changed if changed is not None and hasattr(changed, "tag") else root
    return {**answer, "SAMLResponse": base64.b64encode(etree.tostring(root)).decode()}


def evil_twin(assertion: Any, *, same_id: bool = False) -> Any:
    """The assertion as an attacker wishes it: for eve, and without a signature."""
    twin = etree.fromstring(etree.tostring(assertion))
    twin.remove(twin.find("s:Signature", NAMES))
    twin.find(".//a:NameID", NAMES).text = "eve"
    if not same_id:
        twin.set("ID", "_evil")
    return twin


def unsigned(root: Any) -> None:
    assertion = root.find("a:Assertion", NAMES)
    assertion.remove(assertion.find("s:Signature", NAMES))


def renamed(root: Any) -> None:
    root.find(".//a:NameID", NAMES).text = "eve"


def another_before(root: Any) -> None:
    assertion = root.find("a:Assertion", NAMES)
    assertion.addprevious(evil_twin(assertion))


def another_behind(root: Any) -> None:
    assertion = root.find("a:Assertion", NAMES)
    assertion.addnext(evil_twin(assertion))


def the_same_id_before(root: Any) -> None:
    assertion = root.find("a:Assertion", NAMES)
    assertion.addprevious(evil_twin(assertion, same_id=True))


def wrapped_in_its_signature(root: Any) -> None:
    """The signed assertion moves into the signature of one that is for eve."""
    assertion = root.find("a:Assertion", NAMES)
    twin = evil_twin(assertion)
    root.replace(assertion, twin)
    signature = assertion.find("s:Signature", NAMES)
    outer = etree.fromstring(etree.tostring(signature))
    etree.SubElement(outer, f"{{{NAMES['s']}}}Object").append(assertion)
    twin.insert(1, outer)


def wrapped_in_extensions(root: Any) -> None:
    assertion = root.find("a:Assertion", NAMES)
    root.replace(assertion, evil_twin(assertion))
    extensions = etree.Element(f"{{{NAMES['p']}}}Extensions")
    extensions.append(assertion)
    root.insert(1, extensions)


def wrapped_in_another(root: Any) -> None:
    """The signed assertion becomes a child of one that is for eve, and keeps its own signature."""
    assertion = root.find("a:Assertion", NAMES)
    twin = evil_twin(assertion)
    root.replace(assertion, twin)
    twin.append(assertion)


def wrapped_in_a_response(root: Any) -> Any:
    """The whole answer within another one, whose assertion is for eve."""
    outer = etree.fromstring(etree.tostring(root))
    assertion = outer.find("a:Assertion", NAMES)
    outer.replace(assertion, evil_twin(assertion))
    outer.append(root)
    return outer


@pytest.mark.parametrize("attack", [
    unsigned, renamed, another_before, another_behind, the_same_id_before, wrapped_in_its_signature,
    wrapped_in_extensions, wrapped_in_another, wrapped_in_a_response,
])  # fmt: skip
@pytest.mark.parametrize("is_response_signed", [False, True])
def test_no_signature_covers_what_it_was_not_made_for(gate, sso, conn, provider, attack, is_response_signed):
    begun = begin(sso, conn, gate)
    refused(sso, conn, begun, altered(answered(begun, signResponse=is_response_signed), attack))
    assert nobody_came(gate)


def test_a_comment_cuts_no_name_short(gate, sso, conn, provider):
    """Canonical XML leaves comments out, so the signature still holds: then all of the name must be read."""
    begun = begin(sso, conn, gate)

    def comment(root: Any) -> None:
        name = root.find(".//a:NameID", NAMES)
        assert name.text == "ada.evil"
        name.text = "ada"
        name.append(etree.Comment("x"))
        name[0].tail = ".evil"

    answer = altered(answered(begun, user={"id": "ada.evil"}), comment)
    try:
        assert sso.complete(conn, answer, begun.browser_token).proved.subject == "ada.evil"
    except AnswerRefused:
        assert nobody_came(gate)


@pytest.mark.parametrize("declaration", [
    '<!DOCTYPE r [<!ENTITY name SYSTEM "file:///etc/passwd">]>',
    '<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY name "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>',
    '<!DOCTYPE r SYSTEM "http://127.0.0.1:9/r.dtd">',
])  # fmt: skip
def test_entities_are_not_expanded(gate, sso, conn, provider, declaration):
    begun = begin(sso, conn, gate)
    answer = answered(begun)
    text = declaration + base64.b64decode(answer["SAMLResponse"]).decode().replace(">ada<", ">&name;<")
    refused(sso, conn, begun, {**answer, "SAMLResponse": base64.b64encode(text.encode()).decode()})
    assert nobody_came(gate)


# Signing out


def test_signing_out_here_goes_on_to_the_provider(gate, secrets, sso, conn, idp):
    save(gate, secrets, idp, single_logout_url=idp.url + "logout")
    signed_in = sign_in(sso, conn, gate)
    session = sso.start_session(conn, signed_in)
    url = sso.sign_out.of_session(
        conn, gate.tenant.id, signed_in.user_id, session.id, return_to="http://127.0.0.1:9/left"
    )
    assert url.startswith(idp.url + "logout?SAMLRequest=")
    with gate.world.connect("app") as app, pytest.raises(e.SessionOver):
        open_session(app, session.token)


def test_the_channels_of_openid_connect_end_nothing_of_saml(gate, sso, conn, provider):
    with pytest.raises(AnswerRefused, match="no OpenID Connect"):
        sso.sign_out.by_front_channel(conn, gate.tenant.id, "corp", iss=IDP, sid="_session1")
