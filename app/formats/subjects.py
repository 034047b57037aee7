"""Makes NATS subjects of HTTP path segments.

Laws:
1. A parameter becomes exactly one token. A tail, such as `{path...}` at the end, becomes one token or more. Values that
   would become more tokens, or none, are refused. Nothing is repaired.
2. A template begins with a literal token that is not `$…` or `_…`, so that no route reaches $SYS, $JS or an inbox.
   Only the template itself can have wildcards, never a value.
3. Letters of any script pass. White space, control, format and surrogate characters don't (Unicode categories Z*, Cc,
   Cf, Cs).
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from ..errors import InvalidParameter, UriTooLong

MAX_TOKEN = 128  # characters
MAX_SUBJECT = 2048  # bytes: with the reply subject, well under the 4,096 of a control line

# `{name}` in a path or a subject. Names of headers may have a hyphen.
PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*)\}")
TAIL = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*)\.\.\.\}")  # `{path...}`, as Go's router spells it
_LAST_TAIL = re.compile(rf"\.{TAIL.pattern}\Z")
_DOTTED = re.compile(r"\{([^{}]+\.[^{}]+)\}")
PERCENT = ord("%")  # to find a number in bytes takes a tenth of the time for b"%"
BROKEN_ENCODING = re.compile(rb"%(?![0-9A-Fa-f]{2})")  # RFC 3986 §2.1

_PLAIN_TOKEN = re.compile(rb"[A-Za-z0-9_~-]{1,128}")
_REFUSED_CATEGORIES = frozenset(("Zs", "Zl", "Zp", "Cc", "Cf", "Cs"))
# Letters and marks that are invisible: fillers, the braille blank, the grapheme joiner, Khmer vowels.
_REFUSED_CHARACTERS = frozenset(".*>/\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5")
_LITERAL_TOKEN = re.compile(r"[A-Za-z0-9_$~-]+")
_WILDCARDS = frozenset(("*", ">"))


def parse_token(segment: bytes, parameter: str) -> str:
    """The subject token of one raw path segment, which is still percent-encoded. Raises InvalidParameter or UriTooLong,
    whose text names the parameter and its rule."""
    if _PLAIN_TOKEN.fullmatch(segment):
        return segment.decode()
    label = f"Path parameter '{parameter}'"
    if len(segment) > MAX_TOKEN * 12:  # a character of 4 bytes takes 12 when percent-encoded
        raise _too_long(label)
    if BROKEN_ENCODING.search(segment):
        raise InvalidParameter(f"{label} has a '%' that is not followed by two hex digits.")
    try:
        token = decode_percent(segment).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidParameter(f"{label} is not valid UTF-8.") from None
    check_token(token, label=label)
    return token


def decode_percent(raw: bytes) -> bytes:
    """Decode percent-encoding (RFC 3986 §2.1). BROKEN_ENCODING must not match. It uses the codec for Python's own
    escapes, which is native code: urllib's function takes 50 times as long."""
    return raw.replace(b"\\", b"\\\\").replace(b"%", b"\\x").decode("unicode_escape").encode("latin-1")


def check_token(token: str, *, label: str) -> None:
    """Raises InvalidParameter or UriTooLong if the text can't be one token of a subject. Their texts begin with the
    label."""
    if not token:
        raise InvalidParameter(f"{label} is empty.")
    if len(token) > MAX_TOKEN:
        raise _too_long(label)
    for character in token:
        if character in _REFUSED_CHARACTERS or unicodedata.category(character) in _REFUSED_CATEGORIES:
            raise InvalidParameter(
                f"{label} has the character U+{ord(character):04X}, which can't be part of a NATS subject token."
            )


def _too_long(label: str) -> UriTooLong:
    return UriTooLong(f"{label} has more than {MAX_TOKEN} characters.")


@dataclass(frozen=True, slots=True)
class SubjectTemplate:
    """A subject with parameters, such as `orders.{id}.get`. `fill` makes a subject with the same number of tokens, or
    with more if the last one is a tail, such as `files.{path...}`."""

    format: str
    """The subject, for `str.format_map`."""
    parameters: tuple[str | None, ...]
    """For each token: the name of the parameter that fills it, or None for a literal."""
    tail: str | None
    """The name of the tail, if there is one."""

    @classmethod
    def parse(cls, text: str) -> "SubjectTemplate":
        """Parse a template. Raises ValueError, whose text names the wrong token and the reason."""
        match = _LAST_TAIL.search(text)
        tail = match[1] if match else None
        format_ = text if match is None else f"{text[: match.start()]}.{{{tail}}}"
        tokens = tuple(format_.split("."))
        parameters = tuple(_parse_template_token(token, text) for token in tokens)
        if ">" in tokens[:-1]:
            raise ValueError(f"subject '{text}': the wildcard '>' must be its last token")
        if parameters[0] is not None or tokens[0][0] in "$_*>":
            raise ValueError(f"subject '{text}' must begin with a literal token that is not $… or _…")
        if len(text.encode()) > MAX_SUBJECT:
            raise ValueError(f"subject '{text[:50]}…' has more than {MAX_SUBJECT} bytes")
        return cls(format_, parameters, tail)

    @property
    def wildcard(self) -> str | None:
        """The first wildcard, if there is one: then this is not one subject, but a set of subjects."""
        return next((token for token in self.format.split(".") if token in _WILDCARDS), None)

    def fill(self, values: Mapping[str, str]) -> str:
        """The subject with these values, which must be valid tokens. Raises UriTooLong if it has too many bytes."""
        subject = self.format.format_map(values)  # one pass, so braces in a value mean nothing
        if len(subject) > MAX_SUBJECT or (not subject.isascii() and len(subject.encode()) > MAX_SUBJECT):
            raise UriTooLong(f"The path makes a subject of more than {MAX_SUBJECT} bytes.")
        return subject


def _parse_template_token(token: str, text: str) -> str | None:
    if _LITERAL_TOKEN.fullmatch(token) or token in _WILDCARDS:
        return None
    if match := PLACEHOLDER.fullmatch(token):
        return match[1]
    raise ValueError(f"subject '{text}': {_explain_token(token, text)}")


def _explain_token(token: str, text: str) -> str:
    """Why a token is neither a literal nor a parameter."""
    if TAIL.search(text):
        return "a tail such as {path...} must be its last token"
    if match := _DOTTED.search(text):
        claim = f"{{in: claim, claim: {match[1]}}}"
        return f"'{match[0]}' is not the name of a parameter; a parameter `org` can be this claim: {claim}"
    return f"'{token}' is neither a literal token nor a parameter such as {{id}}"


@lru_cache  # it is asked for each message of a stream
def has_wildcard(subject: str) -> bool:
    """Whether this is not one subject, but a set of subjects."""
    return not _WILDCARDS.isdisjoint(subject.split("."))
