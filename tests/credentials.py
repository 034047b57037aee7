"""Credentials of all kinds, made for a test, and the configuration of servers that ask for them."""

import base64
import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nkeys
import trustme


@dataclass(frozen=True)
class Key:
    """An nkey; `kind` is a prefix of the package nkeys."""

    kind: int = nkeys.PREFIX_BYTE_USER
    seed: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", nkeys.encode_seed(os.urandom(32), self.kind).decode())

    @property
    def public(self) -> str:
        return str(nkeys.from_seed(bytearray(self.seed.encode())).public_key.decode())

    def sign(self, text: str) -> str:
        return _encode(nkeys.from_seed(bytearray(self.seed.encode())).sign(text.encode()))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def make_jwt(issuer: Key, subject: Key, name: str, claims: Mapping[str, object], expires_at: int | None = None) -> str:
    """A JWT in the second version of the NATS format."""
    body: dict[str, object] = {
        "iat": int(time.time()),
        "iss": issuer.public,
        "sub": subject.public,
        "name": name,
        "nats": {"version": 2, **claims},
    }
    if expires_at is not None:
        body["exp"] = expires_at
    body["jti"] = hashlib.sha256(json.dumps(body).encode()).hexdigest()
    parts = [_encode(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, body)]
    signed = ".".join(parts)
    return f"{signed}.{issuer.sign(signed)}"


@dataclass(frozen=True)
class Operator:
    """An operator with an account, whose users have creds files, and a system account, which JetStream needs."""

    operator: Key = field(default_factory=lambda: Key(nkeys.PREFIX_BYTE_OPERATOR))
    account: Key = field(default_factory=lambda: Key(nkeys.PREFIX_BYTE_ACCOUNT))
    system: Key = field(default_factory=lambda: Key(nkeys.PREFIX_BYTE_ACCOUNT))

    def make_config(self) -> str:
        """What a server of this operator is configured with."""
        operator = make_jwt(self.operator, self.operator, "O", {"type": "operator"})
        accounts = (f"{key.public}: {self._make_account(key)}" for key in (self.account, self.system))
        preload = f"resolver: MEMORY\nresolver_preload: {{ {', '.join(accounts)} }}"
        return f"operator: {operator}\nsystem_account: {self.system.public}\n{preload}\n"

    def _make_account(self, key: Key) -> str:
        limits = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
        storage = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)
        if key is self.system:
            storage = {}
        claims = {"type": "account", "limits": {**limits, **storage, "wildcards": True}}
        return make_jwt(self.operator, key, "A", claims)

    def make_creds(self, expires_at: int | None = None, *, issuer: Key | None = None) -> str:
        """The text of a creds file for a new user."""
        user = Key()
        limits: dict[str, object] = {"type": "user", "subs": -1, "data": -1, "payload": -1}
        jwt = make_jwt(issuer or self.account, user, "U", limits, expires_at)
        return (
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            "************************* IMPORTANT *************************\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
        )


@dataclass(frozen=True)
class Certificate:
    """A certificate with its key, and the authority that signed it, as files."""

    ca: Path
    cert: Path
    key: Path


def write_certificate(directory: Path, ca: trustme.CA, leaf: trustme.LeafCert) -> Certificate:
    directory.mkdir(parents=True, exist_ok=True)
    files = Certificate(directory / "ca.pem", directory / "cert.pem", directory / "key.pem")
    ca.cert_pem.write_to_path(files.ca)
    leaf.cert_chain_pems[0].write_to_path(files.cert)
    leaf.private_key_pem.write_to_path(files.key)
    return files


def make_tls_config(files: Certificate, *, verify: bool = False) -> str:
    """`tls` of a server that shows this certificate; with `verify` it asks clients for one of the same authority."""
    text = f'cert_file: "{files.cert}", key_file: "{files.key}", ca_file: "{files.ca}", verify: {str(verify).lower()}'
    return f"tls {{ {text} }}\n"
