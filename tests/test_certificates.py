from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from app.certificates import Certificate, CertificateFiles
from tests.certificates import BEFORE, FUTURE, LATER, PAST, Authority

OTHER = trustme.CA()


def read(settings: dict[str, Path]) -> Certificate:
    return CertificateFiles(settings["tls_cert"], settings["tls_key"]).read()


def encrypt(pem: bytes) -> bytes:
    key = load_pem_private_key(pem, None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))


def write_other_key(path: Path, kind: trustme.KeyType = trustme.KeyType.ECDSA) -> None:
    path.write_bytes(OTHER.issue_cert("localhost", key_type=kind).private_key_pem.bytes())


HURTS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no certificate": ("tls_cert", Path.unlink, "there is no such file"),
    "no key": ("tls_key", Path.unlink, "there is no such file"),
    "no authorities": ("tls_client_ca", Path.unlink, "there is no such file"),
    "an empty certificate": ("tls_cert", lambda path: path.write_bytes(b""), "the file is empty"),
    "an empty key": ("tls_key", lambda path: path.write_bytes(b""), "the file is empty"),
    "an empty list of authorities": ("tls_client_ca", lambda path: path.write_bytes(b""), "the file is empty"),
    "bytes for a certificate": (
        "tls_cert",
        lambda path: path.write_bytes(bytes(range(256))),
        "must be a file with a certificate in PEM form",
    ),
    "a key for a certificate": (
        "tls_cert",
        lambda path: path.write_bytes(path.with_name("key.pem").read_bytes()),
        "must be a file with a certificate in PEM form",
    ),
    "a certificate that was cut short": (
        "tls_cert",
        lambda path: path.write_bytes(path.read_bytes()[:200]),
        "must be a file with a certificate in PEM form",
    ),
    "a certificate for a key": (
        "tls_key",
        lambda path: path.write_bytes(path.with_name("cert.pem").read_bytes()),
        "must be a file with a private key in PEM form",
    ),
    "a key for authorities": (
        "tls_client_ca",
        lambda path: path.write_bytes(path.with_name("key.pem").read_bytes()),
        "must be a file with certificates of authorities in PEM form",
    ),
    "another key": (
        "tls_key",
        write_other_key,
        "this is the key of another certificate than that of GATEWAY_TLS_CERT",
    ),
    "another kind of key": (
        "tls_key",
        lambda path: write_other_key(path, trustme.KeyType.RSA),
        "this is the key of another certificate than that of GATEWAY_TLS_CERT",
    ),
    "an encrypted key": (
        "tls_key",
        lambda path: path.write_bytes(encrypt(path.read_bytes())),
        "the key is encrypted; give one that is not encrypted",
    ),
}


@pytest.mark.parametrize("hurt", HURTS)
def test_files_that_can_t_be_used_are_refused_by_setting_and_name(tmp_path: Path, hurt: str) -> None:
    authority = Authority(tmp_path)
    settings = {**authority.write(), **authority.write_client_ca()}
    field, break_file, words = HURTS[hurt]
    break_file(settings[field])
    files = CertificateFiles(settings["tls_cert"], settings["tls_key"], settings["tls_client_ca"])
    (fault,) = files.find_faults()
    assert fault == f"GATEWAY_{field.upper()} '{settings[field]}': {words}"


def test_a_folder_in_the_place_of_each_file_is_told_for_each(tmp_path: Path) -> None:
    faults = CertificateFiles(tmp_path, tmp_path, tmp_path).find_faults()
    assert [fault.partition(" ")[0] for fault in faults] == [
        "GATEWAY_TLS_CERT",
        "GATEWAY_TLS_KEY",
        "GATEWAY_TLS_CLIENT_CA",
    ]
    assert all(fault.endswith(": must be the path of a file") for fault in faults)


def test_a_certificate_out_of_its_time_is_used_with_a_warning(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    good = read(authority.write())
    old = read(authority.write(authority.ca.issue_cert("localhost", not_before=PAST, not_after=BEFORE)))
    early = read(authority.write(authority.ca.issue_cert("localhost", not_before=LATER, not_after=FUTURE)))
    assert good.find_warning() is None
    assert old.find_warning() == "the certificate expired on 2002-01-01"
    assert early.find_warning() == "the certificate is not valid before 2901-01-01"


def test_one_file_may_have_the_certificate_and_its_key(tmp_path: Path) -> None:
    leaf = trustme.CA().issue_cert("localhost")
    both = tmp_path / "both.pem"
    both.write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
    assert not CertificateFiles(both, both).find_faults()


@pytest.mark.parametrize("kind", trustme.KeyType)
def test_keys_of_any_kind_are_taken(tmp_path: Path, kind: trustme.KeyType) -> None:
    authority = Authority(tmp_path)
    assert read(authority.write(authority.ca.issue_cert("localhost", key_type=kind))).find_warning() is None


def test_a_worker_gets_what_its_parent_has_read_and_no_text_shows_the_key(tmp_path: Path) -> None:
    certificate = read(Authority(tmp_path).write())
    assert Certificate.unpack(certificate.pack()) == certificate
    assert "PRIVATE" not in repr(certificate)
