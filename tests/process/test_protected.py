"""`nats-http token`, before the routes of examples/protected."""

import shutil
import stat
from pathlib import Path

import httpx
import jwt
import pytest

from app.commands.development import load_development_keys
from app.edge.key_sets import DEVELOPMENT_KID
from tests.harness import NO_TLS, PATIENCE, NatsServer
from tests.process.programs import PROGRAM, call, run, wait_until_ready

EXAMPLE = Path(__file__).parents[2] / "examples" / "protected"
ROUTES = str(EXAMPLE / "routes.yaml")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of keys, as `nats-http dev` makes it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    load_development_keys()
    return tmp_path / "nats-http" / "development-keys.pem"


def make_token(*arguments: str, state: Path, routes: str = ROUTES) -> str:
    done = call("token", "--routes", routes, *arguments, XDG_STATE_HOME=str(state.parents[1]))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_a_token_for_development_is_refused_outside_of_it(own_nats: NatsServer, state: Path, tmp_path: Path) -> None:
    token = make_token("--sub", "sue", "--scope", "orders:read", state=state)
    environment = {"NATS_URL": own_nats.url, "XDG_STATE_HOME": str(state.parents[1])}
    with run([*PROGRAM, "serve", "--port", "0", ROUTES], tmp_path / "log", **environment) as gateway:
        url = gateway.find(r'"address":"(http://[^"]+)"')
        wait_until_ready(url)
        response = httpx.get(
            f"{url}/orders",
            headers={"authorization": f"Bearer {token}"},
            trust_env=False,
            verify=NO_TLS,
            timeout=PATIENCE,
        )
        assert response.status_code == 401
        assert "is signed with an unknown key" in response.json()["detail"]


def test_explain_takes_a_token_for_development_and_says_who_else_does(state: Path, tmp_path: Path) -> None:
    only = "; this is a token of `nats-http token`, which only `nats-http dev` accepts"
    away = Path(shutil.copytree(EXAMPLE, tmp_path / "away")) / "routes.yaml"
    away.write_text(Path(ROUTES).read_text().replace("jwks_file: issuer.json", "jwks_url: 'http://127.0.0.1:1/keys'"))
    for routes in (ROUTES, str(away)):
        token = make_token("--sub", "sue", "--scope", "orders:read", state=state, routes=routes)
        asked = ("explain", "--routes", routes, "GET", "/orders", "-H", f"Authorization: Bearer {token}")
        done = call(*asked, XDG_STATE_HOME=str(state.parents[1]))
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert f"caller   sue, known by users, with scopes orders:read{only}" in done.stdout.splitlines()
    state.chmod(0o644)
    done = call("explain", "--routes", ROUTES, "GET", "/prices", XDG_STATE_HOME=str(state.parents[1]))
    assert (done.returncode, "others can read these keys" in done.stderr) == (0, True)


def test_a_token_says_what_it_was_asked_for(state: Path) -> None:
    token = make_token(
        *(
            "--sub",
            "sue",
            "--scope",
            "a",
            "--scope",
            "b",
            "--claim",
            "tenant=x",
            "--claim",
            "level=5",
            "--lasts",
            "30s",
        ),
        state=state,
    )
    curve = load_development_keys()[0].key
    claims = jwt.decode(token, curve, ["ES256"], audience="orders", issuer="https://id.example.com/")
    assert (claims["sub"], claims["scope"], claims["tenant"], claims["level"]) == ("sue", "a b", "x", 5)
    assert claims["exp"] - claims["iat"] == 30
    assert jwt.get_unverified_header(token)["kid"] == DEVELOPMENT_KID


@pytest.mark.parametrize(
    ("rules", "algorithm", "scopes"),
    [("algorithms: [RS384]", "RS384", {"scope": "a"}), ("scopes_claim: realm.roles", "ES256", {"realm.roles": ["a"]})],
)
def test_a_token_is_as_its_scheme_wants_it(
    state: Path, tmp_path: Path, rules: str, algorithm: str, scopes: dict[str, object]
) -> None:
    routes = write_routes(tmp_path, f"a: {{type: jwt, issuer: i, audience: [b, c], jwks_url: 'https://i/', {rules}}}")
    token = make_token("--sub", "sue", "--scope", "a", state=state, routes=routes)
    assert jwt.get_unverified_header(token)["alg"] == algorithm
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["iss"], claims["aud"], scopes.items() <= claims.items()) == ("i", "b", True)


def write_routes(folder: Path, schemes: str) -> str:
    path = folder / "routes.yaml"
    path.write_text(
        f"version: 1\nauth: {{{schemes}}}\nroutes: [{{name: a, method: GET, path: /a, subject: a, auth: none}}]\n"
    )
    return str(path)


JWT = "{type: jwt, issuer: i, audience: b, jwks_url: 'https://i/'%s}"


@pytest.mark.parametrize(
    ("schemes", "arguments", "fault"),
    [
        ("m: {type: client-certificate}", (), "{path}: it has no scheme of the type jwt"),
        (
            f"a: {JWT % ''}, b: {JWT % ''}",
            (),
            "{path}: it has several schemes of the type jwt, a, b: choose one with --scheme",
        ),
        (f"a: {JWT % ''}", ("--scheme", "c"), "--scheme c: {path} has no scheme of the type jwt with this name"),
        (f"a: {JWT % ', algorithms: [EdDSA]'}", (), "the keys for development can't sign EdDSA: allow ES256 or RS256"),
        (f"a: {JWT % ''}", ("--lasts", "1 year"), "--lasts '1 year': a duration is a number above 0 with its unit"),
        (f"a: {JWT % ''}", ("--claim", "a"), "--claim 'a': a claim is NAME=VALUE"),
        (f"a: {JWT % ''}", ("--scope", "a,b"), "--scope 'a,b': give each scope by itself: --scope a --scope b"),
        (f"a: {JWT % ''}", ("--claim", "iss=5"), "no token can have these claims: Issuer (iss) must be a string"),
    ],
)
def test_what_no_token_can_be_made_for_is_one_clear_line(
    state: Path, tmp_path: Path, schemes: str, arguments: tuple[str, ...], fault: str
) -> None:
    path = write_routes(tmp_path, schemes)
    done = call("token", "--routes", path, "--sub", "a", *arguments, XDG_STATE_HOME=str(state.parents[1]))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"nats-http: {fault.format(path=path)}")


def test_the_keys_are_for_their_owner_alone_and_stay(state: Path) -> None:
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    before = state.read_bytes()
    load_development_keys()
    assert state.read_bytes() == before
    assert [path.name for path in state.parent.iterdir()] == [state.name]


def test_keys_that_are_missing_that_others_can_read_or_that_are_none_are_refused(state: Path) -> None:
    right = state.read_text()
    for mode, text, words in (
        (0o644, right, "others can read these keys"),
        (0o600, "no keys", "it has no valid keys"),
        (0o600, None, "there is no key for development yet: start `nats-http dev`"),
    ):
        state.chmod(mode)
        state.unlink() if text is None else state.write_text(text)
        done = call("token", "--routes", ROUTES, "--sub", "a", XDG_STATE_HOME=str(state.parents[1]))
        assert (done.returncode, words in done.stderr) == (1, True), done.stderr


def test_dev_starts_where_it_can_write_no_keys(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in the place of a folder")
    command = [*PROGRAM, "dev", "--port", "0", "--nats-port", "0", ROUTES]
    with run(command, tmp_path / "log", TMPDIR=str(tmp_path), XDG_STATE_HOME=str(tmp_path / "state")) as dev:
        dev.find("(no-development-keys)")
        dev.find(r"gateway +(http://\S+)")
        assert dev.stop() == 0
