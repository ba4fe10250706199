"""A sealed secret opens with its key, in its place, and nowhere else."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enterprise_ai.secrets import VARIABLE, SecretBox, SecretKeyMissing, SecretNotGenuine

OLD, NEW = b"o" * 32, b"n" * 32
PLACE = ("tenant", "user", "totp")


@given(st.binary(max_size=200), st.lists(st.text(max_size=5), max_size=3))
def test_what_is_sealed_opens_where_it_belongs(secret, place):
    box = SecretBox({"new": NEW})
    sealed = box.seal(secret, *place)
    assert box.open(sealed, *place) == secret
    assert len(secret) < 8 or secret not in sealed
    assert box.seal(secret, *place) != sealed


@pytest.mark.parametrize(
    "place", [(), ("tenant", "user"), ("tenant", "other", "totp"), ("tenantuser", "totp"), (*PLACE, "")]
)
def test_it_does_not_open_elsewhere(place):
    box = SecretBox({"new": NEW})
    with pytest.raises(SecretNotGenuine):
        box.open(box.seal(b"seed", *PLACE), *place)


def test_no_changed_byte_goes_unnoticed():
    box = SecretBox({"new": NEW})
    sealed = box.seal(b"seed", *PLACE)
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises((SecretNotGenuine, SecretKeyMissing)):
            box.open(bytes(changed), *PLACE)
    for length in range(len(sealed)):
        with pytest.raises((SecretNotGenuine, SecretKeyMissing)):
            box.open(sealed[:length], *PLACE)


def test_keys_rotate():
    sealed = SecretBox({"old": OLD}).seal(b"seed", *PLACE)
    both = SecretBox({"new": NEW, "old": OLD})
    assert both.open(sealed, *PLACE) == b"seed"
    assert not both.is_current(sealed)
    again = both.resealed(sealed, *PLACE)
    assert both.is_current(again)
    assert SecretBox({"new": NEW}).open(again, *PLACE) == b"seed"
    with pytest.raises(SecretKeyMissing, match="'old'"):
        SecretBox({"new": NEW}).open(sealed, *PLACE)
    with pytest.raises(SecretNotGenuine):
        SecretBox({"old": NEW}).open(sealed, *PLACE)


def test_keys_come_from_the_environment(monkeypatch):
    monkeypatch.setenv(
        VARIABLE, f"new:{base64.b64encode(NEW).decode()}, old:{base64.b64encode(OLD).decode()}"
    )
    box = SecretBox.from_environment()
    assert box.open(SecretBox({"old": OLD}).seal(b"seed"), *()) == b"seed"
    assert box.is_current(SecretBox({"new": NEW}).seal(b"seed"))


@pytest.mark.parametrize(("value", "said"), [
    ("", "openssl rand"), ("k1:short", "not base64|32 bytes"), ("k1:!!!", "not base64"), ("k1", "32 bytes"),
    (":" + base64.b64encode(NEW).decode(), "is not one"),
])  # fmt: skip
def test_bad_keys_are_refused(monkeypatch, value, said):
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(SecretKeyMissing, match=said):
        SecretBox.from_environment()
    with pytest.raises(SecretKeyMissing):
        SecretBox({"new": NEW}, seal_with="old")
