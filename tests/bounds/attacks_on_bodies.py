"""Bodies: JSON that is dear to check, and framing that is dear to read."""

from tests.bounds.attacks import Attack, chunked, get, head, post
from tests.bounds.memory import MIB
from tests.bounds.sending import Sending

KIB = 1024


def _fill(size: int, *pieces: bytes) -> bytes:
    """An array of these values over and over, of about this size."""
    unit = b",".join(pieces) + b","
    return b"[" + (unit * (size // len(unit)))[:-1] + b"]"


def _number(size: int, pattern: bytes) -> bytes:
    """Values that differ, with commas, of about this size."""
    return b",".join(pattern % number for number in range(size // (len(pattern % 99_999) + 1)))


def _json(name: str, path: str, body: bytes, *, callers: int = 2, is_quick: bool = False) -> Attack:
    """Callers who post the same all the time."""
    sending = Sending(first=post(path, body), connections=callers)
    return Attack(name, (sending,), seconds=1.0, is_quick=is_quick)


_LINE = b'{"sku":"AB-1234","count":2,"price":9.5,"currency":"EUR","note":"x"}'
_ODD_LINE = b'{"sku":7,"count":"2","price":-1,"currency":"?","more":[]}'
_ORDER = b'{"customer":"sue","lines":%b}'

JSON = (
    _json("names that break a pattern, 32 KiB", "/names", b"{%b}" % _number(32 * KIB, b'"%d":0'), is_quick=True),
    _json("numbers where texts must be, 977 KiB", "/texts", _fill(977 * KIB, b"0")),
    _json("values that are of no type, 256 KiB", "/choices", _fill(256 * KIB, b"0")),
    _json("an order with faults in each line, 117 KiB", "/orders", _ORDER % _fill(117 * KIB, _ODD_LINE), is_quick=True),
    _json("a valid order, 937 KiB", "/orders", _ORDER % _fill(937 * KIB, _LINE)),
    _json("a valid order, 937 KiB, of 16 callers", "/orders", _ORDER % _fill(937 * KIB, _LINE), callers=16),
    _json("an array that is 200 deep, over and over", "/any", _fill(977 * KIB, b"[" * 200 + b"]" * 200)),
    _json(
        "arrays that are 60 deep against a schema that refers to itself",
        "/tree",
        _fill(977 * KIB, b"[" * 60 + b"]" * 60),
    ),
    _json("an array that is 400,000 deep", "/any", b"[" * 400_000 + b"]" * 400_000),
    _json("an array that is 900,000 deep and not closed", "/any", b"[" * 900_000),
    _json("numbers that must be unique", "/unique", b"[%b]" % _number(800 * KIB, b"%d")),
    _json("objects that must be unique", "/unique", b"[%b]" % _number(500 * KIB, b'{"a":%d,"b":[0]}')),
    _json("a text of 977 KiB against a pattern", "/pattern", b'["%b"]' % (b"ab" * 500_000)),
    _json("texts against a pattern", "/pattern", _fill(977 * KIB, b'"abababababababababababd"')),
    _json("one key over and over", "/any", b"{%b}" % (b'"a":0,' * 160_000)[:-1]),
    _json("keys that differ", "/any", b"{%b}" % _number(977 * KIB, b'"%d":0')),
    _json("keys that no schema knows", "/closed", b"{%b}" % _number(977 * KIB, b'"%d":0')),
    _json("a number of 4,301 digits", "/any", _fill(8 * KIB, b"9" * 4301)),
    _json("a number of 900,000 digits", "/any", b"[%b]" % (b"9" * 900_000)),
    _json("fractions of many digits", "/any", _fill(977 * KIB, b"0." + b"1" * 300)),
    _json("a text of escapes", "/any", b'["%b"]' % (b"\\ud83d\\ude00" * 80_000)),
    _json("a text that is not UTF-8 at its end", "/any", b'["%b\xff"]' % (b"x" * 977 * KIB)),
    _json("spaces, 977 KiB", "/any", b" " * 977 * KIB + b"0"),
    _json("bodies of 900 KB of 16 callers", "/echo", b"x" * 900_000, callers=16),
)

_TRAILERS = chunked("/nowhere") + b"1\r\nx\r\n0\r\n"

FRAMES = (
    Attack("trailers without end on a path that is not there", (Sending(first=_TRAILERS, again=b"a:\r\n" * 999),)),
    Attack(
        "trailers without end of a route",
        (Sending(first=chunked("/echo") + b"0\r\n", again=b"a:\r\n" * 999),),
        is_quick=True,
    ),
    Attack("a trailer without end", (Sending(first=_TRAILERS + b"a: ", again=b"x" * 9999),)),
    Attack("a trailer without end, in pieces", (Sending(first=_TRAILERS + b"a: ", again=b"x" * 999, piece=999),)),
    Attack(
        "trailers on 50 connections",
        (Sending(first=_TRAILERS, again=b"a:\r\n" * 999, most=MIB, connections=50),),
    ),
    Attack(
        "a trailer that closes, and more behind it",
        (Sending(first=chunked("/echo") + b"0\r\nConnection: close\r\n\r\n", again=get("/livez"), connections=4),),
    ),
    Attack("a chunk extension without end", (Sending(first=chunked("/echo") + b"1;", again=b"a" * 9999),)),
    Attack(
        "chunks of a byte with extensions of 8 KiB",
        (Sending(first=chunked("/echo"), again=b"1;%b\r\nx\r\n" % (b"a" * 8192), connections=4),),
    ),
    Attack(
        "chunks of one byte at full speed", (Sending(first=chunked("/echo"), again=b"1\r\nx\r\n" * 999),), seconds=2
    ),
    Attack(
        "chunks of one byte at full speed on 20 connections",
        (Sending(first=chunked("/echo"), again=b"1\r\nx\r\n" * 999, connections=20),),
    ),
    Attack(
        "chunks of one byte to a path that is not there",
        (Sending(first=chunked("/nowhere"), again=b"1\r\nx\r\n" * 999, connections=4),),
    ),
    Attack("a size of a chunk of zeros without end", (Sending(first=chunked("/echo"), again=b"0" * 9999),)),
    Attack(
        "sizes of chunks that are wrong",
        (Sending(first=chunked("/echo") + b"zz\r\n", connections=20),),
    ),
    Attack(
        "200 uploads of 1 MiB that are not finished",
        (
            Sending(
                first=head("POST", "/echo", f"Content-Length: {MIB}"),
                again=b"x" * 65_536,
                most=MIB - 1,
                connections=200,
            ),
        ),
        seconds=2.5,
    ),
    Attack(
        "200 uploads in chunks that are not finished",
        (Sending(first=chunked("/echo"), again=b"8000\r\n%b\r\n" % (b"x" * 32_768), most=900_000, connections=200),),
        seconds=2.5,
    ),
    Attack(
        "an upload of 9 GB to a path that is not there",
        (Sending(first=head("POST", "/nowhere", "Content-Length: 9000000000"), again=b"x" * MIB, most=2048 * MIB),),
    ),
    Attack(
        "uploads that are announced, 1,000 of them",
        (Sending(first=head("POST", "/echo", "Content-Length: 5", "Expect: 100-continue"), connections=1000),),
    ),
    Attack(
        "uploads that are announced, at full speed",
        (
            Sending(
                first=b"",
                again=head("POST", "/echo", "Content-Length: 5", "Expect: 100-continue") + b"12345",
                connections=4,
            ),
        ),
    ),
)
