"""Client certificates: whom a scheme knows by one, and what it refuses."""

import base64
import gc
import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from app.edge import client_certificates
from app.edge.client_certificates import (
    MAX_FIELD,
    MAX_REMEMBERED,
    ClientCertificates,
    read_authorities,
)
from app.edge.identity import Identity, find_claim
from app.edge.request import Caller, PeerCertificate, Request
from app.errors import Unauthenticated
from app.formats.fields import Pair
from tests.certificates import BEFORE, FUTURE, LATER, PAST, Issuer, write_field

ISSUER, OTHER = Issuer(), Issuer()
BILLING = ISSUER.issue("billing")
BEHIND = Caller(address="192.0.2.7", scheme="https", lane="fast", peer="10.0.0.1", is_forwarded=True)
STRANGER = Caller(address="192.0.2.7", scheme="http", lane="fast")
FIELD: Pair = (b"client-cert", write_field(BILLING))


def connected(encoded: bytes = BILLING) -> Caller:
    """A caller who has shown this certificate in the handshake."""
    return Caller(
        address="192.0.2.7", scheme="https", lane="fast", certificate=PeerCertificate((), (), "01", "ab", encoded)
    )


def ask(
    fields: Sequence[Pair] = (FIELD,),
    *,
    caller: Caller = BEHIND,
    scheme: ClientCertificates | None = None,
    **rules: Any,
) -> Identity | None:
    scheme = scheme or ClientCertificates("machines", **rules)
    return scheme.identify(Request("GET", b"/", b"", fields, "1.1", 0.0, caller))


def refuse(*fields: Pair, **rules: Any) -> str:
    with pytest.raises(Unauthenticated) as caught:
        ask(fields or (FIELD,), **rules)
    assert caught.value.detail
    return caught.value.detail


def test_a_caller_is_known_by_the_certificate_of_its_connection_or_by_that_which_a_proxy_shows() -> None:
    for caller, fields in ((connected(), ()), (BEHIND, (FIELD,)), (BEHIND, ((b"client-cert", b"  " + FIELD[1]),))):
        known = ask(fields, caller=caller, scopes=["orders:read"])
        assert known is not None
        assert (known.scheme, known.subject, known.scopes) == ("machines", "billing", frozenset(("orders:read",)))


def test_what_a_stranger_writes_is_not_looked_at() -> None:
    assert ask(caller=STRANGER) is None
    assert ask(((b"client-cert", b"garbage"),), caller=STRANGER) is None
    other = ask((FIELD,), caller=connected(ISSUER.issue("shipping")))
    assert other is not None
    assert other.subject == "shipping"


def test_behind_a_proxy_only_the_header_counts() -> None:
    caller = Caller(
        address="192.0.2.7",
        scheme="https",
        lane="fast",
        certificate=PeerCertificate((), (), "01", "ab", BILLING),
        is_forwarded=True,
    )
    assert ask((), caller=caller) is None
    assert ask(((b"client-cert", b"::"),), caller=caller) is None


RICH = ISSUER.issue(
    subject=[
        (NameOID.COMMON_NAME, "billing"),
        (NameOID.ORGANIZATION_NAME, "Acme"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "a"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "b"),
        (NameOID.USER_ID, "u7"),
    ],
    alternatives=[
        x509.DNSName("a.example.com"),
        x509.DNSName("b.example.com"),
        x509.UniformResourceIdentifier("spiffe://prod/billing"),
        x509.RFC822Name("ops@example.com"),
    ],
)


@pytest.mark.parametrize(
    ("identity", "subject"),
    [
        ("subject.CN", "billing"),
        ("subject.O", "Acme"),
        ("subject.UID", "u7"),
        ("san.dns", "a.example.com"),
        ("san.uri", "spiffe://prod/billing"),
        ("san.email", "ops@example.com"),
    ],
)
def test_the_subject_of_a_caller_is_what_the_scheme_says(identity: str, subject: str) -> None:
    for caller in (BEHIND, connected(RICH)):
        known = ask(((b"client-cert", write_field(RICH)),), caller=caller, identity=identity)
        assert known is not None
        assert known.subject == subject


def test_the_names_in_a_certificate_are_claims() -> None:
    known = ask(((b"client-cert", write_field(RICH)),))
    assert known is not None
    for path, value in {
        "sub": "billing",
        "subject.O": "Acme",
        "subject.OU": ["a", "b"],
        "san.dns": ["a.example.com", "b.example.com"],
        "san.uri": ["spiffe://prod/billing"],
        "serial": "A1B",
    }.items():
        assert find_claim(known.claims, path) == value
    assert len(str(known.claims["fingerprint"])) == 64


def test_of_several_names_the_first_one_that_is_allowed_is_the_subject() -> None:
    field = (b"client-cert", write_field(RICH))
    known = ask((field,), identity="san.dns", allow=["x.example.com", "b.example.com"])
    assert known is not None
    assert known.subject == "b.example.com"
    assert "not accepted here" in refuse(field, identity="san.dns", allow=["x.example.com", "example.com"])
    assert "not accepted here" in refuse(allow=["Billing", "billing "])


def test_an_authority_of_the_scheme_must_have_signed_it() -> None:
    authorities = read_authorities(ISSUER.pem)
    assert ask(authorities=authorities)
    forged = (b"client-cert", write_field(OTHER.issue("billing")))  # its issuer has the same name
    assert "another authority" in refuse(forged, authorities=authorities)
    assert "another authority" in refuse(authorities=read_authorities(Issuer(name="Others").pem))
    assert ask(authorities=read_authorities(OTHER.pem + ISSUER.pem))


def change(place: int) -> Pair:
    changed = bytearray(BILLING)
    changed[place] ^= 0xFF
    return (b"client-cert", write_field(bytes(changed)))


HOSTILE: dict[str, tuple[list[Pair], str]] = {
    "no colons": ([(b"client-cert", FIELD[1].strip(b":"))], "can't be read"),
    "one colon": ([(b"client-cert", b":")], "can't be read"),
    "no colon at the end": ([(b"client-cert", FIELD[1][:-1])], "can't be read"),
    "broken base64": ([(b"client-cert", b":%%%%:")], "can't be read"),
    "base64 of another alphabet": (
        [(b"client-cert", b":" + base64.urlsafe_b64encode(b"\xff\xfe" * 30) + b":")],
        "read",
    ),
    "base64 with a blank in it": ([(b"client-cert", FIELD[1][:9] + b" " + FIELD[1][9:])], "can't be read"),
    "base64 without its padding": ([(b"client-cert", b":QUI:")], "can't be read"),
    "a parameter": ([(b"client-cert", FIELD[1] + b";a=b")], "can't be read"),
    "a text": ([(b"client-cert", b'"billing"')], "can't be read"),
    "a name": ([(b"client-cert", b"CN=billing")], "can't be read"),
    "PEM": ([(b"client-cert", b"-----BEGIN CERTIFICATE-----")], "can't be read"),
    "PEM inside": ([(b"client-cert", write_field(ISSUER.pem))], "can't be read"),
    "garbage": ([(b"client-cert", write_field(b"\x00" * 100))], "can't be read"),
    "a length that lies": ([(b"client-cert", write_field(b"\x30\x84\xff\xff\xff\xff"))], "can't be read"),
    "half of it": ([(b"client-cert", write_field(BILLING[: len(BILLING) // 2]))], "can't be read"),
    "more behind it": ([(b"client-cert", write_field(BILLING + b"\x00"))], "can't be read"),
    "another tag": ([change(0)], "can't be read"),
    "NUL": ([(b"client-cert", b"\x00")], "can't be read"),
    "two fields": ([FIELD, FIELD], "more than one"),
    "two fields, one empty": ([FIELD, (b"client-cert", b"")], "more than one"),
    "a list": ([(b"client-cert", FIELD[1] + b", " + FIELD[1])], "can't be read"),
    "too long": ([(b"client-cert", b":" + b"A" * MAX_FIELD + b":")], f"more than {MAX_FIELD} bytes"),
    "expired": ([(b"client-cert", write_field(ISSUER.issue("billing", end=BEFORE)))], "has expired"),
    "not valid yet": ([(b"client-cert", write_field(ISSUER.issue("billing", begin=LATER)))], "not valid yet"),
    "no subject": ([(b"client-cert", write_field(ISSUER.issue()))], "no usable subject.CN"),
    "two names": ([(b"client-cert", write_field(ISSUER.issue("billing", "admin")))], "more than one subject.CN"),
    "a name with a line break": (
        [(b"client-cert", write_field(ISSUER.issue("a\r\nX-User: root")))],
        "no usable subject.CN",
    ),
    "a name with a NUL": ([(b"client-cert", write_field(ISSUER.issue("billing\x00evil")))], "no usable subject.CN"),
    "a blank name": ([(b"client-cert", write_field(ISSUER.issue(" ")))], "no usable subject.CN"),
    "a blank behind it": ([(b"client-cert", write_field(ISSUER.issue("billing ")))], "no usable subject.CN"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_right_certificate_is_refused(name: str) -> None:
    fields, detail = HOSTILE[name]
    assert detail in refuse(*fields)


def test_no_change_of_one_byte_makes_anything_but_a_refusal_or_a_certificate() -> None:
    authorities = read_authorities(ISSUER.pem)
    for place in range(0, len(BILLING), 7):
        assert refuse(change(place), authorities=authorities)


def test_a_certificate_that_is_remembered_is_refused_once_it_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    scheme = ClientCertificates("machines")
    assert ask(scheme=scheme) is ask(scheme=scheme)
    monkeypatch.setattr("time.time", lambda: FUTURE.timestamp() + 1)
    assert "has expired" in refuse(scheme=scheme)
    monkeypatch.setattr("time.time", lambda: PAST.timestamp() - 1)
    assert "not valid yet" in refuse(scheme=scheme)


def test_so_many_certificates_are_remembered_and_of_wrong_ones_nothing() -> None:
    scheme = ClientCertificates("machines")
    for number in range(MAX_REMEMBERED + 5):
        ask(((b"client-cert", write_field(ISSUER.issue(f"m{number}"))),), scheme=scheme)
    for name, (fields, _) in HOSTILE.items():
        if name not in ("expired", "not valid yet"):
            refuse(*fields, scheme=scheme)
    names = [x509.DNSName(f"{number}.example.com") for number in range(MAX_FIELD // 10)]
    assert ask((), caller=connected(ISSUER.issue("long", alternatives=names)), scheme=scheme)
    assert len(scheme._known) == MAX_REMEMBERED
    assert max(map(len, scheme._known)) <= MAX_FIELD


def test_the_memory_for_right_certificates_is_bounded_whatever_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_certificates, "MAX_BYTES", 1 << 20)
    scheme = ClientCertificates("machines")
    names = [x509.DNSName("ab")] * 1_200
    shown = write_field(ISSUER.issue("m0000", alternatives=names))
    tracemalloc.start()
    for number in range(100):
        value = base64.b64encode(base64.b64decode(shown.strip(b":")).replace(b"m0000", b"m%04d" % number))
        assert ask(((b"client-cert", b":%b:" % value),), scheme=scheme)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert scheme._known
    assert grown < 2 << 20


def test_a_scheme_is_described_as_mutual_tls() -> None:
    assert ClientCertificates("machines").describe() == {"type": "mutualTLS"}
    told = ClientCertificates("machines", description="Ask us.").describe()
    assert told == {"type": "mutualTLS", "description": "Ask us."}


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "must be a file with certificates"),
        (b"garbage", "must be a file with certificates"),
        (ISSUER.pem.replace(b"M", b"N", 3), "must be a file with certificates"),
        (BILLING, "must be a file with certificates"),
    ],
)
def test_a_file_without_authorities_is_refused(data: bytes, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_authorities(data)


def test_the_certificate_of_a_caller_is_no_authority() -> None:
    leaf = x509.load_der_x509_certificate(BILLING)
    with pytest.raises(ValueError, match="could sign others"):
        read_authorities(ISSUER.pem + leaf.public_bytes(Encoding.PEM))
