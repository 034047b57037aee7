"""`auth` of a route file, and files of keys: the error for each mistake."""

import json
from pathlib import Path
from ssl import DER_cert_to_PEM_cert

import pytest

from app.edge.api_keys import digest_key, make_key
from app.edge.bearer import BearerTokens
from app.edge.client_certificates import ClientCertificates
from app.pieces import run_at_once
from app.prepared import pack, unpack
from app.routefile.load import RouteFileError, load_route_file
from tests.certificates import Issuer
from tests.issuer import SECRET, make_jwk
from tests.routefile.files import load, read_faults

HEAD = "version: 1\nauth: {partners: {type: api-key, header: X-API-Key, file: keys.yaml}}\nroutes:\n"
ROUTE = "  - {{name: a, method: GET, path: /a, subject: a{0}}}\n"
DIGEST = digest_key(b"key")
KEYS = f"version: 1\nkeys:\n  - name: sue\n    sha256: {DIGEST}\n"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.yaml"
    path.write_text(KEYS)
    return path


@pytest.mark.parametrize(
    ("rules", "fault"),
    [
        ("", "4:5: routes[0].auth: is missing: the file declares `auth`, so each route must say who may call it"),
        (
            ", auth: partner",
            '4:56: routes[0].auth: "partner": no scheme of this name is under `auth`, did you mean `partners`?',
        ),
        (
            ", auth: other",
            '4:56: routes[0].auth: "other": no scheme of this name is under `auth`; known are partners, and `none` for',
        ),
        (", auth: {any: [partners, x]}", '4:73: routes[0].auth.any[1]: "x": no scheme of this name is under'),
        (", auth: {any: []}", "4:62: routes[0].auth.any: must not be empty"),
        (", auth: {any: [none, partners]}", "4:56: routes[0].auth: `none` lets everybody call"),
        (", auth: {any: [none], scopes: [a]}", "4:56: routes[0].auth: `none` lets everybody call"),
        (", auth: {any: [partners], scopes: [a b]}", '4:83: routes[0].auth.scopes[0]: "a b": a scope is 1 to 128'),
        (", auth: {any: [partners], scope: [a]}", "4:74: routes[0].auth.scope: unknown key, did you mean `scopes`?"),
        (", auth: {scopes: [a]}", "4:56: routes[0].auth.any: is missing"),
        (", auth: 7", "4:56: routes[0].auth: 7: must be a scheme, `none`, or a mapping such as `{any: ["),
        (", auth: false", "4:56: routes[0].auth: false: must be a scheme, `none`, or a mapping such as"),
        (", auth: [partners]", "4:56: routes[0].auth: must be a scheme, `none`, or a mapping such as"),
        (", auth: ~", "4:56: routes[0].auth: must be a scheme, `none`, or a mapping such as"),
    ],
)
def test_a_mistake_in_the_rules_of_a_route_is_told_at_its_place(file: Path, keys: Path, rules: str, fault: str) -> None:
    (found,) = read_faults(file, HEAD + ROUTE.format(rules))
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("rules", "fault"),
    [
        (", auth: partner", '5:56: routes[0].auth: "partner": no scheme of this name is under `auth`, did you mean'),
        (", auth: off", '5:56: routes[0].auth: "off": no scheme of this name is under `auth`; known are partners, and'),
        (", auth: {scopes: [a]}", "5:56: routes[0].auth.any: is missing"),
        (", auth: {}", "5:56: routes[0].auth.any: is missing"),
        (", params: {q: {in: nowhere}}", '5:67: routes[0].params.q.in: "nowhere": must be'),
        (", reply: {status: 99}", "5:66: routes[0].reply.status: 99: a reply status is 200 to 599"),
    ],
)
def test_a_mistake_of_a_route_is_not_looked_for_in_defaults_that_it_overrides(
    file: Path, keys: Path, rules: str, fault: str
) -> None:
    auth, more = (
        "auth: {any: [partners], scopes: [b]}",
        "params: {q: {in: query}}, reply: {status: 200}, payload: params",
    )
    defaults = f"defaults: {{{auth}, {more}}}\nroutes:\n"
    (found,) = read_faults(file, HEAD.replace("routes:\n", defaults) + ROUTE.format(rules))
    assert found.startswith(fault), found


def test_a_mistake_in_the_auth_of_defaults_is_told_there_once(file: Path, keys: Path) -> None:
    head = HEAD.replace("routes:\n", "defaults: {auth: partner}\nroutes:\n")
    (found,) = read_faults(file, head + ROUTE.format("") + "  - {name: b, method: GET, path: /b, subject: b}\n")
    assert found.startswith('3:18: routes[0].auth: "partner": no scheme of this name is under `auth`, did you mean')
    assert found.endswith("`partners`? (and in 1 more route)")


@pytest.mark.parametrize(
    ("schemes", "fault"),
    [
        ("{}", "2:7: auth: must not be empty"),
        ("7", "2:7: auth: 7: must be a mapping"),
        ("{a: 7}", "2:11: auth.a: 7: must be a mapping"),
        ("{none: {}}", "2:8: auth.none: the name of a scheme is 1 to 64 of"),
        ("{a b: {}}", "2:8: auth.a b: the name of a scheme is 1 to 64 of"),
        ("{a: {header: x, file: keys.yaml}}", "2:11: auth.a.type: is missing"),
        ("{a: {type: api_key, header: x, file: f}}", '2:18: auth.a.type: "api_key": must be'),
        (
            "{a: {type: api-key, file: keys.yaml}}",
            "2:11: auth.a: must have exactly one of `header`, `query` and `cookie`",
        ),
        (
            "{a: {type: api-key, header: x, query: y, file: keys.yaml}}",
            "2:11: auth.a: must have exactly one of `header`, `query`",
        ),
        ("{a: {type: api-key, header: 'x y', file: keys.yaml}}", '2:35: auth.a.header: "x y": must be the name of a'),
        (
            "{a: {type: api-key, header: X-Request-ID, file: keys.yaml}}",
            '2:35: auth.a.header: "X-Request-ID": this header',
        ),
        (
            "{a: {type: api-key, header: Client-Cert, file: keys.yaml}}",
            '2:35: auth.a.header: "Client-Cert": this header',
        ),
        ("{a: {type: api-key, query: 'x y', file: keys.yaml}}", '2:34: auth.a.query: "x y": must be 1 to 64 of'),
        ("{a: {type: api-key, header: x}}", "2:11: auth.a.file: is missing"),
        ("{a: {type: api-key, header: x, file: keys.yaml, fil: a}}", "2:55: auth.a.fil: unknown key"),
        (
            "{a: {type: api-key, header: x, file: no.yaml}}",
            '2:44: auth.a.file: "no.yaml": no.yaml: no such file or dir',
        ),
    ],
)
def test_a_mistake_in_a_scheme_is_told_at_its_place(file: Path, keys: Path, schemes: str, fault: str) -> None:
    faults = read_faults(file, f"version: 1\nauth: {schemes}\nroutes:\n" + ROUTE.format(", auth: none"))
    assert [found for found in faults if found.startswith(fault)], faults


def test_a_route_that_names_a_scheme_of_a_file_without_any_is_refused(file: Path) -> None:
    (found,) = read_faults(file, "version: 1\nroutes:\n" + ROUTE.format(", auth: users"))
    assert "no scheme of this name is under `auth`; the file has no schemes" in found


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[]", "keys.yaml:1:1: the file: must be a mapping"),
        ("version: 2\nkeys:\n", "keys.yaml:1:10: version: must be 1"),
        ("keys: []\n", "keys.yaml:1:1: version: is missing"),
        ("version: 1\nkeys: [sue]\n", "keys.yaml:2:8: keys[0]: must be a mapping"),
        ("version: 1\nkeys: [{name: sue}]\n", "keys.yaml:2:8: keys[0].sha256: is missing"),
        (f"version: 1\nkeys: [{{name: a b, sha256: {DIGEST}}}]\n", "keys.yaml:2:15: keys[0].name: a name is 1 to 128"),
        (
            f"version: 1\nkeys: [{{name: a, sha256: {DIGEST}, scope: b}}]\n",
            "keys.yaml:2:92: keys[0].scope: unknown key",
        ),
        (f"version: 1\nkeys: [{{name: a, sha256: {DIGEST.upper()}}}]\n", "keys.yaml:2:26: keys[0].sha256: must be the"),
        (
            f"version: 1\nkeys: [{{name: a, sha256: {digest_key(b'')}}}]\n",
            "keys.yaml:2:26: keys[0].sha256: this is the",
        ),
        (
            f"version: 1\nkeys: [{{name: a, sha256: {DIGEST}, expires: soon}}]\n",
            "keys.yaml:2:101: keys[0].expires: must",
        ),
        (f"version: 1\nkeys: [{{name: a, sha256: {DIGEST}, expires: 2027-01-01T00:00:00}}]\n", "keys.yaml:2:101: keys"),
        (
            KEYS + f"  - name: sue\n    sha256: {digest_key(b'x')}\n",
            "keys.yaml:5:5: keys[1]: two keys have the",
        ),
        (KEYS + f"  - name: bob\n    sha256: {DIGEST}\n", "keys.yaml:5:5: keys[1]: this key is in the file already"),
        ("version: 1\nkeys: [\n", "keys.yaml:3:1: not YAML"),
    ],
)
def test_a_mistake_in_a_file_of_keys_is_told_with_its_file_and_line(
    file: Path, keys: Path, text: str, fault: str
) -> None:
    keys.write_text(text)
    faults = read_faults(file, HEAD + ROUTE.format(", auth: none"))
    assert [found for found in faults if fault in found], faults


@pytest.mark.parametrize(
    "entry",
    [
        "{name: sue, sha256: KEY}",
        "{name: sue, sha256: '${KEY}'}",
        "{name: sue, sha256: !!int KEY}",
        "{name: sue, sha256: !KEY a}",
        "{KEY: sue}",
        "{KEY: sue, KEY: bob}",
        "*KEY",
    ],
)
def test_a_key_that_stands_in_the_file_itself_does_not_stand_in_the_error(file: Path, keys: Path, entry: str) -> None:
    key = make_key()
    keys.write_text(f"version: 1\nkeys: [{entry.replace('KEY', key)}]\n")
    faults = read_faults(file, HEAD + ROUTE.format(", auth: none"))
    assert faults
    assert not [fault for fault in faults if key[:40] in fault]


def test_a_file_of_keys_is_one_of_the_files_that_are_read_again(file: Path, keys: Path) -> None:
    assert load(file, HEAD + ROUTE.format(", auth: partners")).files == (file, keys)
    keys.unlink()
    with pytest.raises(RouteFileError) as caught:
        load_route_file(file)
    assert keys in caught.value.files


def test_schemes_and_keys_survive_the_way_to_another_process(file: Path, keys: Path) -> None:
    package = pack(load(file, HEAD + ROUTE.format(", auth: {any: [partners], scopes: [a]}")))
    keys.unlink()
    (route,) = run_at_once(unpack(package)).table.routes
    (policy,) = route.policies
    assert policy.fields == {b"x-api-key"}
    assert [error.status for error in policy.errors] == [401, 403]


def test_included_files_go_by_the_schemes_of_the_first(file: Path, keys: Path) -> None:
    (file.parent / "more.yaml").write_text("version: 1\nroutes:\n" + ROUTE.format(", auth: partners"))
    text = HEAD.replace("routes:", "include: [more.yaml]")
    assert load(file, text).table.routes[0].policies
    (file.parent / "more.yaml").write_text("version: 1\nauth: {}\nroutes:\n" + ROUTE.format(", auth: partners"))
    assert any("auth: only the file that includes this one may have it" in fault for fault in read_faults(file, text))


JWT = "version: 1\nauth: {users: {type: jwt, issuer: i, audience: a%s}}\nroutes:\n" + ROUTE.format(", auth: users")
JWKS = {"keys": [make_jwk()]}


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ("", "auth.users: must have exactly one of `jwks_url`, `jwks_file` and `secret_file`"),
        (
            ", jwks_file: keys.json, secret_file: secret",
            "auth.users: must have exactly one of `jwks_url`, `jwks_file` and",
        ),
        (", jwks_file: keys.json, header: a, cookie: b", "auth.users: can have `header` or `cookie`, not both"),
        (", jwks_file: keys.json, algorithms: [HS256]", "auth.users: HS256, HS384 and HS512 go with a `secret_file`"),
        (", secret_file: secret, algorithms: [RS256]", "auth.users: HS256, HS384 and HS512 go with a `secret_file`"),
        (", jwks_file: keys.json, algorithms: [none]", "auth.users.algorithms[0]: \"none\": must be 'RS256'"),
        (", jwks_file: keys.json, algorithms: []", "auth.users.algorithms: must not be empty"),
        (
            ", jwks_file: keys.json, algorithms: [ES256, EdDSA]",
            "RS256, RS384, RS512, but `algorithms` allows only ES256, EdDSA",
        ),
        (", jwks_file: keys.json, leeway: 5", "auth.users.leeway: 5: "),
        (", jwks_file: keys.json, audiences: b", "auth.users.audiences: unknown key, did you mean `audience`?"),
        (", jwks_file: nowhere.json", 'auth.users.jwks_file: "nowhere.json": nowhere.json: no such file'),
        (
            ", jwks_file: private.json",
            'auth.users.jwks_file: "private.json": it has a private key or a secret: only pub',
        ),
        (
            ", jwks_file: secret",
            'auth.users.jwks_file: "secret": it is not JSON, so it is not a JWK set: {"keys": [{"kty": "RSA"',
        ),
        (
            ", jwks_file: public.pem",
            'auth.users.jwks_file: "public.pem": it is not JSON, so it is not a JWK set: {"keys": [',
        ),
        (
            ", jwks_file: list.json",
            'auth.users.jwks_file: "list.json": it is not a JWK set: an object with a list `keys`',
        ),
        (", secret_file: short", '2:64: auth.users.secret_file: "short": the secret has less than 32 bytes'),
        (", secret_file: secret, algorithms: [HS512]", 'secret_file: "secret": the secret has less than 64 bytes'),
        (
            ", secret_file: keys.json",
            'secret_file: "keys.json": it is JSON, not a secret: public keys belong in `jwks_',
        ),
        (
            ", secret_file: public.pem",
            'secret_file: "public.pem": it is PEM, not a secret: public keys belong in `jwks',
        ),
        (", jwks_url: http://id.example.com/keys", "must begin with https://, or anybody on the way could"),
        (", jwks_url: http://127.0.0.1.example.com/", "must begin with https://, or anybody on the way could"),
        (", jwks_url: http://localhost.example.com/", "must begin with https://, or anybody on the way could"),
        (", jwks_url: http://2130706433/", "must begin with https://, or anybody on the way could"),
        (", jwks_url: file:///etc/passwd", "must be a URL such as https://id.example.com/keys"),
        (", jwks_url: ftp://localhost/keys", "must be a URL such as https://id.example.com/keys"),
        (", jwks_url: 'https://sue:secret@id.example.com/'", "must be a URL such as https://id.example.com/keys"),
        (", jwks_url: 'https://id.example.com/#a'", "must be a URL such as https://id.example.com/keys"),
        (", jwks_url: 'https:///keys'", "must be a URL such as https://id.example.com/keys"),
        (", jwks_url: 'https://id.example.com:99999/'", "must be a URL such as https://id.example.com/keys"),
        (", jwks_url: 'https://id.example.com/a b'", "must be a URL such as https://id.example.com/keys"),
        (", jwks_url: keys.json", "must be a URL such as https://id.example.com/keys"),
    ],
)
def test_a_mistake_in_a_scheme_of_tokens_is_told(file: Path, keys: str, fault: str) -> None:
    (file.parent / "keys.json").write_text(json.dumps(JWKS))
    (file.parent / "private.json").write_text(json.dumps({"keys": [{**make_jwk(), "d": "AQAB"}]}))
    (file.parent / "secret").write_bytes(SECRET[:40])
    (file.parent / "short").write_bytes(b"a-secret-that-nobody-sees\n")
    (file.parent / "public.pem").write_text(f"-----BEGIN PUBLIC KEY-----\n{'A' * 60}\n-----END PUBLIC KEY-----\n")
    (file.parent / "list.json").write_text("[]")
    faults = read_faults(file, JWT % keys)
    assert [found for found in faults if fault in found], faults
    assert "a-secret" not in str(faults)


@pytest.mark.parametrize(
    "keys",
    [
        ", jwks_url: 'https://id.example.com/keys?a=b'",
        ", jwks_url: 'http://localhost:8080/keys'",
        ", jwks_url: 'http://[::1]/keys'",
        ", jwks_file: keys.json, algorithms: [RS256], leeway: 1m, header: X-Token, scopes_claim: roles",
        ", secret_file: secret, cookie: session, requires_expiry: false",
    ],
)
def test_a_scheme_of_tokens_survives_the_way_to_another_process(file: Path, keys: str) -> None:
    (file.parent / "keys.json").write_text(json.dumps(JWKS))
    (file.parent / "secret").write_bytes(SECRET)
    read = load(file, JWT % keys)
    assert SECRET.decode() not in repr(read.sources)
    scheme = run_at_once(unpack(pack(read))).schemes["users"]
    assert isinstance(scheme, BearerTokens)
    before = read.schemes["users"]
    assert isinstance(before, BearerTokens)
    assert (scheme._rules, scheme.fields, scheme.keys.url) == (before._rules, before.fields, before.keys.url)
    assert [key.kid for key in scheme.keys.keys] == [key.kid for key in before.keys.keys]


CERTIFICATES = "version: 1\nauth: {machines: {type: client-certificate%s}}\nroutes:\n" + ROUTE.format(
    ", auth: machines"
)
MACHINES = Issuer()


@pytest.mark.parametrize(
    ("rules", "fault"),
    [
        (", identity: subject.cn", "auth.machines.identity: \"subject.cn\": must be 'subject.CN', "),
        (", identity: CN", "auth.machines.identity: \"CN\": must be 'subject.CN', "),
        (", allow: []", "auth.machines.allow: must not be empty"),
        (", allow: ~", "auth.machines.allow: must be a list"),
        (", allow: ['']", 'auth.machines.allow[0]: "": must not be empty'),
        (", scopes: [a b]", 'auth.machines.scopes[0]: "a b": a scope is 1 to 128'),
        (", file: ca.pem", "auth.machines.file: unknown key"),
        (", ca: no.pem", 'auth.machines.ca: "no.pem": no.pem: no such file'),
        (
            ", ca: keys.yaml",
            '2:49: auth.machines.ca: "keys.yaml": must be a file with certificates of authorities in PEM form',
        ),
        (
            ", ca: leaf.pem",
            'auth.machines.ca: "leaf.pem": a certificate in it is not that of an authority',
        ),
    ],
)
def test_a_mistake_in_a_scheme_of_certificates_is_told(file: Path, keys: Path, rules: str, fault: str) -> None:
    (file.parent / "leaf.pem").write_text(DER_cert_to_PEM_cert(MACHINES.issue("billing")))
    faults = read_faults(file, CERTIFICATES % rules)
    assert [found for found in faults if fault in found], faults


def test_a_scheme_of_certificates_survives_the_way_to_another_process(file: Path) -> None:
    (file.parent / "ca.pem").write_bytes(MACHINES.pem + Issuer().pem)
    read = load(file, CERTIFICATES % ", identity: san.uri, allow: ['spiffe://a/b'], scopes: [a], ca: ca.pem")
    assert file.parent / "ca.pem" in read.files
    before, after = read.schemes["machines"], run_at_once(unpack(pack(read))).schemes["machines"]
    assert isinstance(before, ClientCertificates)
    assert isinstance(after, ClientCertificates)
    assert vars(after) == vars(before)
    assert len(after._authorities) == 2


@pytest.mark.parametrize(
    ("rules", "fault"),
    [
        ("headers: [client-cert]", "headers[0]: \"client-cert\": callers could write anything into 'client-cert'"),
        ("headers: [Client-Cert-Chain]", "callers could write anything into 'Client-Cert-Chain'"),
        ("headers: [{name: x-a, as: Client-Cert}]", "services believe that a proxy wrote 'Client-Cert'"),
        ("params: {Client-Cert: {in: header}}, payload: params", "params.Client-Cert: callers could write anything"),
        ("params: {q: {header: Client-Cert}}", "services believe that a proxy wrote 'Client-Cert'"),
    ],
)
def test_no_route_lets_the_certificate_that_a_caller_writes_reach_a_service(file: Path, rules: str, fault: str) -> None:
    faults = read_faults(file, "version: 1\nroutes:\n" + ROUTE.format(", " + rules))
    assert [found for found in faults if fault in found], faults


@pytest.mark.parametrize(
    ("rules", "fault"),
    [
        (", identity: {X-User: subject}", 'identity.X-User: "subject": must be `sub`, `scopes`, `ip`'),
        (", identity: {X-User: claims.}", 'identity.X-User: "claims.": must be `sub`, `scopes`'),
        (", identity: {Host: sub}", "identity.Host: \"sub\": header 'Host' can't be sent"),
        (", identity: {Nats-Msg-Id: sub}", "identity.Nats-Msg-Id: \"sub\": header 'Nats-Msg-Id' can't be sent"),
        (", identity: {X-Request-Id: sub}", "identity.X-Request-Id: \"sub\": header 'X-Request-Id' can't be sent"),
        (", identity: {X-A: sub, x-a: ip}", 'identity.x-a: "ip": `identity` has this header already'),
        (", identity: {X-A: sub}, headers: [x-a]", 'identity.X-A: "sub": `headers` lets callers write this header'),
        (
            ", identity: {X-A: sub}, send_headers: {x-a: b}",
            'identity.X-A: "sub": `send_headers` has this header already',
        ),
        (
            ", identity: {X-A: sub}, params: {q: {header: x-a}}",
            "identity.X-A: \"sub\": the parameter 'q' is sent in this header",
        ),
        (", payload: params, params: {t: {in: claim, many: true}}", "params.t.many: true: only a query parameter"),
        (", payload: params, params: {t: {in: claim, required: false}}", "params.t.required: false: a claim parameter"),
        (", payload: params, params: {t: {in: claim, default: a}}", 'params.t.default: "a": a parameter that is'),
        (", payload: params, params: {'t u': {in: claim}}", "params.t u: a parameter from a claim is named with"),
        (", params: {t: {in: claim}}", "params.t: parameter 't' would go nowhere"),
    ],
)
def test_a_mistake_in_what_the_service_learns_of_callers_is_told(
    file: Path, keys: Path, rules: str, fault: str
) -> None:
    faults = read_faults(file, HEAD + ROUTE.format(f", auth: partners{rules}"))
    assert [found for found in faults if fault in found], faults


def test_a_header_of_identity_can_be_written_by_no_caller_of_any_route(file: Path) -> None:
    (file.parent / "keys.yaml").write_text(KEYS)
    for more in ("headers: [x-user]", "headers: [{name: x-a, as: X-USER}]", "params: {q: {header: X-User}}"):
        other = "  - {name: b, method: GET, path: /b, subject: b, auth: none, " + more + "}\n"
        (fault,) = read_faults(file, HEAD + ROUTE.format(", auth: partners, identity: {X-User: sub}") + other)
        assert "a route has this header in `identity`, so that no caller may write it" in fault


def test_a_claim_needs_a_caller_who_is_known(file: Path) -> None:
    (file.parent / "keys.yaml").write_text(KEYS)
    (fault,) = read_faults(file, HEAD + ROUTE.format(", auth: none, payload: params, params: {t: {in: claim}}"))
    assert 'params.t.in: "claim": only a route with `auth` knows the claims of its callers' in fault
