"""What hostile callers send (keys, tokens, origins, headers of proxies, certificates), and what each must be answered.

127.0.0.1 is a proxy that is trusted, 127.0.0.2 a stranger. The service behind the routes of ROUTES answers with what it
got. Nobody but APP may read answers from a page.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import trustme

from app.edge.api_keys import digest_key, make_key
from tests.edge.test_bearer import HOSTILE as TOKENS
from tests.edge.test_cors import APP
from tests.edge.test_cors import HOSTILE as ORIGINS
from tests.http.test_behind_proxies import ANNOUNCEMENTS, CALLER, EVIL, PROXY, STRANGER, XFF, F
from tests.http.test_behind_proxies import HOSTILE as FORWARDED
from tests.http.test_client_certificates import FIELD
from tests.http.test_client_certificates import HOSTILE as FIELDS
from tests.http.test_tls import HOSTILE as CERTIFICATES
from tests.issuer import make_claims, sign

KNOWN, OLD = make_key(), make_key()
KEYS = f"""\
version: 1
keys:
  - {{name: partner, sha256: {digest_key(KNOWN.encode())}, scopes: [orders:read], claims: {{tenant: acme}}}}
  - {{name: old, sha256: {digest_key(OLD.encode())}, scopes: [orders:write], expires: 2020-01-01}}
"""
ROUTES = f"""\
version: 1
auth:
  partners: {{type: api-key, header: X-API-Key, file: keys.yaml}}
  widgets: {{type: api-key, query: api_key, file: keys.yaml}}
  shops: {{type: api-key, cookie: session, file: keys.yaml}}
  users: {{type: jwt, issuer: 'https://id.example.com/', audience: orders, jwks_file: keys.json}}
  machines: {{type: client-certificate}}
  services: {{type: client-certificate, allow: [billing], ca: ca.pem}}
cors: {{allow_origins: {APP}, allow_credentials: true}}
rate_limits:
  few: {{average: 1, period: 1h}}
defaults:
  auth: none
  identity: {{X-Client-Ip: ip, X-User: sub, X-Tenant: claims.tenant, X-Scopes: scopes}}
routes:
  - {{name: key, method: [GET, POST], path: /key, subject: h.key, auth: partners}}
  - {{name: query, method: GET, path: /query, subject: h.query, auth: widgets}}
  - {{name: cookie, method: GET, path: /cookie, subject: h.cookie, auth: shops}}
  - {{name: token, method: [GET, POST], path: /token, subject: h.token, auth: users}}
  - {{name: certificate, method: GET, path: /certificate, subject: h.certificate, auth: machines}}
  - {{name: service, method: GET, path: /service, subject: h.service, auth: services}}
  - {{name: any, method: GET, path: /any, subject: h.any, auth: {{any: [partners, widgets, shops, users, machines]}}}}
  - name: write
    method: POST
    path: /write
    subject: h.write
    auth: {{any: [partners, users], scopes: ['orders:write']}}
  - name: own
    method: GET
    path: /own
    subject: 'h.{{tenant}}'
    params: {{tenant: {{in: claim}}}}
    auth: {{any: [partners, users], claims: {{tenant: other}}}}
  - name: mine
    method: GET
    path: /mine
    subject: 'h.mine.{{tenant}}'
    params: {{tenant: {{in: claim}}}}
    auth: users
  - {{name: few, method: GET, path: /few, subject: h.few, auth: partners, rate_limit: few}}
  - {{name: guarded, method: GET, path: /guarded, subject: h.guarded, allow_from: 192.0.2.0/24}}
  - name: told
    method: [GET, PUT]
    path: /told
    subject: h.told
    headers: [forwarded, x-forwarded-for, x-forwarded-host]
"""
OTHERS = trustme.CA()
"""An authority that nobody trusts."""

Issue = Callable[[trustme.CA], trustme.LeafCert | None]
"""The certificate that a caller shows, by the authority that the gateway trusts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A request, and its answer. `status` 0 says that the connection is closed without one. `announces` are bytes of
    the PROXY protocol, `shows` is the certificate of a handshake: each has a gateway of its own. `{n}` in a field
    counts the `times` that it is sent; the last answer counts. It has `has`, and none of `lacks`."""

    kind: str
    name: str
    status: int
    target: str
    fields: tuple[str, ...] = ()
    method: str = "GET"
    source: str = STRANGER
    times: int = 1
    announces: bytes | None = None
    shows: Issue | None = None
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


def write_request(row: Row, number: int = 0) -> bytes:
    """Its bytes."""
    fields = (field.replace("{n}", str(number)) for field in row.fields)
    lines = (f"{row.method} {row.target} HTTP/1.1", "Host: t", *fields, "Connection: close", "", "")
    return (row.announces or b"") + "\r\n".join(lines).encode("latin-1")


# Keys

K = "X-API-Key: "
_WRONG_KEYS: dict[str, tuple[str, ...]] = {
    "none": (),
    "an empty one": (K,),
    "a word": (f"{K}guess",),
    "one that was never made": (K + make_key(),),
    "the digest of a key": (K + digest_key(KNOWN.encode()),),
    "the name of a key": (f"{K}partner",),
    "all but the last character": (K + KNOWN[:-1],),
    "one character more": (f"{K}{KNOWN}0",),
    "another case": (K + KNOWN.swapcase(),),
    "quotes": (f'{K}"{KNOWN}"',),
    "percents": (K + "".join(f"%{ord(letter):02x}" for letter in KNOWN),),
    "two, the first is right": (K + KNOWN, f"{K}guess"),
    "two that are right": (K + KNOWN, K + KNOWN),
    "a list": (f"{K}{KNOWN}, {KNOWN}",),
    "a star": (f"{K}*",),
    "SQL": (f"{K}' OR '1'='1",),
    "bytes that are no text": (f"{K}\xff\xfe\x80",),
    "513 bytes": (K + "x" * 513,),
    "60 KB": (K + "x" * 60_000,),
    "one that has expired": (K + OLD,),
    "under Authorization": (f"Authorization: Bearer {KNOWN}",),
    "under X_API_Key": (f"X_API_Key: {KNOWN}",),
    "in a cookie": (f"Cookie: X-API-Key={KNOWN}",),
}
_IN_QUERY = {
    "none": "",
    "an empty one": "api_key=",
    "two": f"api_key={KNOWN}&api_key={KNOWN}",
    "two, one of them hidden": f"api_key={KNOWN}&%61pi_key=guess",
    "another case of the name": f"API_KEY={KNOWN}",
    "behind a semicolon": f"a=b;api_key={KNOWN}",
    "with a NUL": f"api_key={KNOWN}%00",
    "with a line break": f"api_key={KNOWN}%0d%0aX-User:%20root",
    "as a list": f"api_key[]={KNOWN}",
}
_IN_COOKIE = {
    "none": ("Cookie: a=b",),
    "no value": ("Cookie: session",),
    "two": (f"Cookie: session={KNOWN}; session={KNOWN}",),
    "two, in two fields": (f"Cookie: session={KNOWN}", "Cookie: session=guess"),
    "inside of another": (f'Cookie: a="session={KNOWN}"',),
    "behind a comma": (f"Cookie: a=b, session={KNOWN}",),
}


def _list_keys() -> Iterator[Row]:
    for name, fields in _WRONG_KEYS.items():
        yield Row(kind="key", name=name, status=401, target="/key", fields=fields, has=("www-authenticate: ApiKey",))
    for name, query in _IN_QUERY.items():
        yield Row(kind="key in the query", name=name, status=401, target=f"/query?{query}")
    for name, fields in _IN_COOKIE.items():
        yield Row(kind="key in a cookie", name=name, status=401, target="/cookie", fields=fields)
    for name, field in {
        "a NUL": f"{K}{KNOWN}\0",
        "a carriage return": f"{K}{KNOWN}\rX-User: root",
        "a blank before the colon": f"X-API-Key : {KNOWN}",
        "a second line": f"{K}\r\n {KNOWN}",
    }.items():
        yield Row(kind="key", name=name, status=400, target="/key", fields=(field,))
    yield Row(kind="key", name="300 of them", status=431, target="/key", fields=(K + KNOWN,) * 300)
    yield Row(kind="key", name="70 KB", status=431, target="/key", fields=(K + "x" * 70_000,))
    upload = (f"{K}guess", "Content-Length: 900000")
    yield Row(kind="key", name="a wrong one, before a body", status=401, target="/key", fields=upload, method="POST")
    yield Row(
        kind="key", name="of one who may only read", status=403, target="/write", fields=(K + KNOWN,), method="POST"
    )
    yield Row(kind="key", name="of another tenant", status=403, target="/own", fields=(K + KNOWN, "X-Tenant: other"))


# Tokens

B = "Authorization: Bearer "
_NOT_HTTP = frozenset(("control characters",))


def _list_tokens() -> Iterator[Row]:
    for name, token in TOKENS.items():
        text = token.decode("latin-1") if isinstance(token, bytes) else token
        status = 400 if name in _NOT_HTTP else 401
        has = () if status == 400 else ('error="invalid_token"',)
        yield Row(kind="token", name=name, status=status, target="/token", fields=(B + text,), has=has)
    right = sign()
    for name, fields in {
        "two that are right": (B + right, B + right),
        "a right one and a password": (B + right, "Authorization: Basic c3VlOng="),
        "in a cookie": (f"Cookie: Authorization={right}",),
        "as an API key": (K + right,),
        "as a password": ("Authorization: Basic " + right,),
        "60 KB": (B + "x." * 30_000,),
    }.items():
        yield Row(kind="token", name=name, status=401, target="/token", fields=fields, lacks=("X-User",))
    yield Row(kind="token", name="in the query", status=401, target=f"/token?access_token={right}")
    yield Row(kind="token", name="70 KB", status=431, target="/token", fields=(B + "x" * 70_000,))
    yield Row(kind="token", name="without a scope", status=403, target="/write", fields=(B + right,), method="POST")
    for name, tenant in {
        "a wildcard": "*",
        "a tail": ">",
        "two tokens": "acme.x",
        "a blank": "a b",
        "a list": ["a"],
    }.items():
        fields = (B + sign(make_claims(tenant=tenant)),)
        yield Row(kind="claim for a subject", name=name, status=403, target="/mine", fields=fields)
    fields = (B + sign(make_claims(tenant="acme\r\nX-User: root")),)
    yield Row(kind="claim for a header", name="a line break", status=403, target="/token", fields=fields)


# Names of the caller

_FORGED = {
    "the name of another": "X-User: root",
    "in another case": "x-uSER: root",
    "the scopes of another": "X-Scopes: root",
    "the address of another": f"X-Client-Ip: {EVIL}",
    "nominated as hop-by-hop": "X-User: root\r\nConnection: X-User",
    "as a cookie": "Cookie: X-User=root",
}


def _list_forged() -> Iterator[Row]:
    for name, field in _FORGED.items():
        for target, fields in (("/told", ()), ("/key", (K + KNOWN,))):
            yield Row(
                kind="identity",
                name=f"{name}, {'with' if fields else 'without'} a key",
                status=200,
                target=target,
                fields=(*fields, field),
                has=(f"X-Client-Ip: {STRANGER}", *(("X-User: partner",) if fields else ())),
                lacks=("root", EVIL),
            )


# Origins

_TRIMMED = frozenset((f" {APP}", f"{APP}\t"))  # HTTP takes blanks around a value away
_ASKING = frozenset(("null", "*", f"{APP}/", f"{APP}.evil.example"))


def _list_origins() -> Iterator[Row]:
    """They get an answer that no page can read."""
    lacks = ("access-control-allow-",)
    for origin in ORIGINS:
        name = origin if origin.isprintable() and len(origin) < 60 else f"{origin[:30]!a}, {len(origin)} characters"
        status, field = 400 if "\0" in origin else 200, f"Origin: {origin}"
        if origin not in _TRIMMED:
            yield Row(kind="origin", name=name, status=status, target="/told", fields=(field,), lacks=lacks)
        if origin in _ASKING:
            fields = (field, "Access-Control-Request-Method: PUT")
            yield Row(
                kind="preflight",
                name=name,
                status=204,
                target="/told",
                fields=fields,
                method="OPTIONS",
                lacks=lacks,
            )
    twice = (f"Origin: {APP}", "Origin: https://evil.example")
    yield Row(kind="origin", name="two", status=200, target="/told", fields=twice, lacks=lacks)


# Limits


def _list_limits() -> Iterator[Row]:
    for name, field in {
        "another wrong key each time": f"{K}{{n}}",
        "another address in X-Forwarded-For each time": f"{XFF}198.51.100.{{n}}",
        "another address in Forwarded each time": f"{F}for=198.51.100.{{n}}",
        "another X-Real-Ip each time": "X-Real-Ip: 198.51.100.{n}",
    }.items():
        has = ("retry-after: ", "ratelimit: ")
        yield Row(kind="limit", name=name, status=429, target="/few", fields=(field,), times=2, has=has)
    same = f"{XFF}2001:db8:1:2::{{n}}"
    yield Row(
        kind="limit", name="addresses of one /64", status=429, target="/few", fields=(same,), source=PROXY, times=2
    )


# Headers of proxies


def _list_forwarded() -> Iterator[Row]:
    hostile = {name: row for name, row in FORWARDED.items() if row[1] != 200 and row[0]}
    for name, (fields, status, _) in hostile.items():
        sent = tuple(fields)
        yield Row(
            kind="address, said by a proxy", name=name, status=status, target="/guarded", fields=sent, source=PROXY
        )
        yield Row(
            kind="address, said by a stranger",
            name=name,
            status=200,
            target="/told",
            fields=sent,
            has=(f"X-Client-Ip: {STRANGER}", f"for={STRANGER};"),
            lacks=(EVIL, "198.51.100.1", "2a00::1"),
        )
    lies = (f"{XFF}{CALLER}", f"{F}for={CALLER}")
    yield Row(
        kind="address, said by a stranger", name="an address that may call", status=403, target="/guarded", fields=lies
    )
    for name, (header, fields, status, _) in ANNOUNCEMENTS.items():
        if status == 200:
            continue
        sent = tuple(fields)
        row = Row(
            kind="PROXY", name=name, status=status, target="/guarded", fields=sent, source=PROXY, announces=header
        )
        yield row
        if header:
            yield Row(kind="PROXY of a stranger", name=name, status=400, target="/guarded", announces=header)


# Certificates

_MANY = tuple(f"{'x' * 40}{number}.example" for number in range(1500))  # 80 KiB


def _list_certificates() -> Iterator[Row]:
    has = ("www-authenticate: ClientCertificate",)
    for name, values in FIELDS.items():
        sent = tuple(f"Client-Cert: {value}" for value in values)
        for source, kind in ((PROXY, "Client-Cert of a proxy"), (STRANGER, "Client-Cert of a stranger")):
            yield Row(kind=kind, name=name, status=401, target="/certificate", fields=sent, source=source, has=has)
    right = (f"Client-Cert: {FIELD}",)
    yield Row(kind="Client-Cert of a stranger", name="a right one", status=401, target="/certificate", fields=right)
    yield Row(
        kind="Client-Cert of a proxy",
        name="of another authority",
        status=401,
        target="/service",
        fields=right,
        source=PROXY,
    )
    yield from _list_shown(right)


def _list_shown(right: tuple[str, ...]) -> Iterator[Row]:
    """Over TLS: wrong certificates end the handshake."""
    for name, issue in {**CERTIFICATES, "of 80 KB": lambda _: OTHERS.issue_cert(*_MANY)}.items():
        yield Row(kind="certificate", name=name, status=0, target="/certificate", shows=issue)
    for name, fields in {"none": (), "none, and a Client-Cert": right}.items():
        yield Row(kind="certificate", name=name, status=401, target="/certificate", fields=fields, shows=show_none)
    for name, fields in {"of one who is not listed": (), "of one who is not listed, and a Client-Cert": right}.items():
        yield Row(kind="certificate", name=name, status=401, target="/service", fields=fields, shows=_show_right)


def show_none(_: trustme.CA) -> None:
    """No certificate."""


def _show_right(ca: trustme.CA) -> trustme.LeafCert:
    return ca.issue_cert(common_name="shipping")


ROWS = (
    *_list_keys(),
    *_list_tokens(),
    *_list_forged(),
    *_list_origins(),
    *_list_limits(),
    *_list_forwarded(),
    *_list_certificates(),
)
