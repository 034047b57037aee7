import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import InvalidParameter, UriTooLong
from app.formats.subjects import MAX_SUBJECT, MAX_TOKEN, SubjectTemplate, check_token, parse_token

# What means something to NATS, to HTTP or to Unicode.
SPLITTING = [b".", b"..", b"a.b", b"a%2Eb", b"*", b"%2A", b">", b"%3e", b"a%2fb"]
BREAKING = [b" ", b"%20", b"%09", b"%00", b"%7F", b"%C2%85", b"%E2%80%A8", b"%E2%80%A9", b"a%0D%0APUB x 1"]
INVISIBLE = [b"%C2%A0", b"%C2%AD", b"%E2%80%8B", b"%E2%80%AE", b"%E3%80%80", b"%EF%BB%BF", b"%F3%A0%80%81"]
BROKEN = [b"%FF", b"\xff", b"%C3", b"%C0%AE", b"%ED%A0%80", b"a%F4%90%80%80", b"%E0%80%AF"]
FINE = [b"%", b"%zz", b"%25", b"+", b"$SYS", b"_INBOX", b"%C3%A9", b"\xc3\xa9", b"%F0%9F%98%80"]
PIECES = [*SPLITTING, *BREAKING, *INVISIBLE, *BROKEN, *FINE]
segments = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=40).map(lambda text: quote(text, safe="", errors="replace").encode()),
    st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=6).map(b"".join),
    st.integers(0, 2000).map(lambda length: b"x" * length),
)
REFUSED = ("Zs", "Zl", "Zp", "Cc", "Cf", "Cs")
refused = st.characters(categories=("Z", "Cc", "Cf", "Cs")) | st.sampled_from(".*>/")
passing = st.characters(categories=("L", "M", "N", "P", "S", "Co", "Cn"), exclude_characters=".*>/")


def parse_or_refuse(segment: bytes) -> str | None:
    try:
        return parse_token(segment, "id")
    except (InvalidParameter, UriTooLong):
        return None


@given(st.lists(segments, min_size=1, max_size=3))
@example([b"%2E"])
@example([b"a.b"])
@example([b"%3e", b"*"])
@example([b"\xe2\x80\x8b"])
def test_whatever_a_path_holds_a_template_fills_to_as_many_tokens_or_is_refused(values: list[bytes]) -> None:
    tokens = {
        f"p{number}": token for number, value in enumerate(values) if (token := parse_or_refuse(value)) is not None
    }
    template = SubjectTemplate.parse(".".join(["orders", *(f"{{{name}}}" for name in tokens), "get"]))
    subject = template.fill(tokens)
    assert subject.split(".") == ["orders", *tokens.values(), "get"]
    assert not set(subject) & set("*>/")
    assert not any(unicodedata.category(character) in REFUSED or character.isspace() for character in subject)
    assert len(subject.encode("utf-8")) <= MAX_SUBJECT
    assert subject[0] not in "$_"


@given(segments)
def test_a_token_is_within_its_limit_and_never_empty(segment: bytes) -> None:
    token = parse_or_refuse(segment)
    assert token is None or 1 <= len(token) <= MAX_TOKEN


@given(segments)
def test_a_token_percent_encoded_gives_itself_again(segment: bytes) -> None:
    token = parse_or_refuse(segment)
    if token is not None:
        assert parse_token(quote(token, safe="").encode("ascii"), "id") == token
        assert parse_token("".join(f"%{byte:02x}" for byte in token.encode()).encode(), "id") == token


@given(st.text(passing, min_size=1, max_size=MAX_TOKEN))
@example("José")
@example("$SYS")
@example("_INBOX")
@example("日本語")
@example("\U0001f600")
def test_letters_of_any_script_pass_as_they_are(text: str) -> None:
    assert parse_token(quote(text, safe="").encode("ascii"), "id") == text
    check_token(text, label="Parameter 'id'")


@given(before=st.text("abé"), bad=refused, after=st.text("abé"))
def test_one_refused_character_anywhere_refuses_the_token(before: str, bad: str, after: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        check_token(before + bad + after, label="Parameter 'id'")
    assert f"'id' has the character U+{ord(bad):04X}," in caught.value.detail


@pytest.mark.parametrize(
    ("segment", "token"),
    [
        (b"sue", "sue"),
        (b"%73ue", "sue"),
        (b"Jos%C3%A9", "José"),
        (b"Jos%c3%a9", "José"),
        (b"Jos\xc3\xa9", "José"),
        (b"a+b", "a+b"),
        (b"a%25b", "a%b"),
        (b"%252E", "%2E"),
        (b"-", "-"),
        (b"~_~", "~_~"),
        (b"%22quoted%22", '"quoted"'),
    ],
)
def test_a_segment_is_decoded_once_and_not_repaired(segment: bytes, token: str) -> None:
    assert parse_token(segment, "id") == token


@pytest.mark.parametrize("segment", [*SPLITTING, *BREAKING, *INVISIBLE])
def test_what_could_end_split_or_hide_in_a_token_is_refused(segment: bytes) -> None:
    with pytest.raises(InvalidParameter, match=r"^Path parameter 'id' has the character U\+[0-9A-F]{4,6}, which can't"):
        parse_token(segment, "id")


@pytest.mark.parametrize("segment", BROKEN)
def test_what_is_not_utf_8_is_refused(segment: bytes) -> None:
    with pytest.raises(InvalidParameter, match=r"^Path parameter 'id' is not valid UTF-8\.$"):
        parse_token(segment, "id")


@pytest.mark.parametrize("segment", [b"%", b"a%", b"%4", b"%zz", b"%4g", b"%%41", b"% 1", b"%C3%A9%", b"%\xc3\xa9"])
def test_broken_percent_encoding_is_refused(segment: bytes) -> None:
    with pytest.raises(
        InvalidParameter, match=r"^Path parameter 'id' has a '%' that is not followed by two hex digits"
    ):
        parse_token(segment, "id")


def test_an_empty_segment_is_refused() -> None:
    with pytest.raises(InvalidParameter, match=r"^Path parameter 'id' is empty\.$"):
        parse_token(b"", "id")


@pytest.mark.parametrize("character", ["x", "é", "日", "\U0001f600", "%"])
def test_a_parameter_has_at_most_128_characters_however_many_bytes_each_takes(character: str) -> None:
    most = quote(character * MAX_TOKEN, safe="").encode("ascii")
    assert parse_token(most, "id") == character * MAX_TOKEN
    with pytest.raises(UriTooLong, match=r"^Path parameter 'id' has more than 128 characters\.$"):
        parse_token(most + quote(character, safe="").encode("ascii"), "id")


@pytest.mark.parametrize("segment", [b"x" * 1_000_000, b"%" * 1_000_000, b"\xff" * 1_537, b"." * 1_537])
def test_a_long_segment_is_refused_before_anyone_decodes_it(segment: bytes) -> None:
    with pytest.raises(UriTooLong):
        parse_token(segment, "id")


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("orders", (None,)),
        ("X", (None,)),
        ("orders.get", (None, None)),
        ("orders.{id}.get", (None, "id", None)),
        ("orders.{id}.{id_2}", (None, "id", "id_2")),
        ("a-b.c_d.E~1.$x._y", (None,) * 5),
    ],
)
def test_a_template_knows_its_parameters(text: str, parameters: tuple[str | None, ...]) -> None:
    template = SubjectTemplate.parse(text)
    assert template.parameters == parameters
    assert template.format == text


@pytest.mark.parametrize("text", ["{id}", "{id}.get", "$SYS.x", "$JS", "_INBOX.x", "_x", "$"])
def test_a_template_begins_with_a_literal_token_outside_the_systems_own(text: str) -> None:
    with pytest.raises(ValueError, match="must begin with a literal token") as caught:
        SubjectTemplate.parse(text)
    assert f"'{text}'" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("", ""),
        (".", ""),
        ("a.", ""),
        (".a", ""),
        ("a..b", ""),
        ("a b", "a b"),
        ("a.b\n", "b\n"),
        ("a.é", "é"),
        ("a.{}", "{}"),
        ("a.{1}", "{1}"),
        ("a.{id", "{id"),
        ("a.id}", "id}"),
        ("a.x{id}", "x{id}"),
        ("a.{id}{x}", "{id}{x}"),
        ("a.{id}\n", "{id}\n"),
        ("a.{-id}", "{-id}"),
        ("a.b%2Ec", "b%2Ec"),
    ],
)
def test_a_template_names_the_token_that_is_wrong(text: str, token: str) -> None:
    with pytest.raises(ValueError, match="is neither a literal token nor a parameter") as caught:
        SubjectTemplate.parse(text)
    assert str(caught.value).startswith(f"subject '{text}': '{token}' is neither")


@given(st.text(max_size=20) | st.lists(st.sampled_from(["a", ".", "{", "}", "*", ">", "$", "_", " "])).map("".join))
def test_no_template_has_a_wildcard_or_begins_outside_its_routes(text: str) -> None:
    try:
        template = SubjectTemplate.parse(text)
    except ValueError:
        return
    assert template.parameters[0] is None
    assert text[0] not in "$_{"
    assert text.isascii()
    assert not set(text) & set("*> \t\r\n")
    assert all(text.split("."))


def test_a_parameter_may_stand_in_a_subject_twice_or_not_at_all() -> None:
    assert SubjectTemplate.parse("a.{x}.{x}").fill({"x": "1", "unused": "2"}) == "a.1.1"


@pytest.mark.parametrize("character", ["x", "é", "日", "\U0001f600"])
def test_a_subject_has_at_most_2048_bytes(character: str) -> None:
    width = len(character.encode())
    exact = {"x": character * ((MAX_SUBJECT - len("a.")) // width)}
    subject = SubjectTemplate.parse("a.{x}").fill(exact)
    assert MAX_SUBJECT - width < len(subject.encode()) <= MAX_SUBJECT
    with pytest.raises(UriTooLong, match=r"^The path makes a subject of more than 2048 bytes\.$"):
        SubjectTemplate.parse("a.{x}").fill({"x": exact["x"] + character})


@pytest.mark.parametrize("name", ["org.id", "https://shop.example/tenant"])
def test_a_parameter_with_a_dot_in_its_name_is_refused_with_what_to_write_for_a_claim(name: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is looked at
        SubjectTemplate.parse(f"shop.{{{name}}}.a")
    told = f"'{{{name}}}' is not the name of a parameter; a parameter `org` can be this claim"
    told += f": {{in: claim, claim: {name}}}"
    assert str(caught.value) == f"subject 'shop.{{{name}}}.a': {told}"
