import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.formats.units import format_duration, format_size, parse_count, parse_duration, parse_size, parse_switch

SECONDS = {"ms": 0.001, "s": 1, "m": 60}
BYTES = {"": 1, "KiB": 1024, "MiB": 1024 * 1024}

NO_NUMBERS = ["", "s", "ms", "inf s", "nans", "٣s", ".5s", "2.s", "1e3s", "1_0s", "-2s", "+2s", "2,5s"]
NO_UNITS = ["2", "2.5", "2ｓ", "2S", "2h", "2sec", "2 s", " 2s", "2s ", "2s\n", "2s3ms"]
TOO_LONG = ["1234567890s", "0.1234567s"]
NO_SIZES = ["", "KiB", "-1", "+1", "1.5MiB", "٣", "1_000", "1e6", "1234567890123"]
NO_SIZE_UNITS = ["1 MiB", "1MB", "1kb", "1mib", "1KIB", "1GiB", "1B", "1MiB\n"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("2s", 2.0),
        ("1m", 60.0),
        ("1.5s", 1.5),
        ("0.25m", 15.0),
        ("0.000001s", 0.000001),
        ("007s", 7.0),
        ("999999999s", 999_999_999.0),
    ],
)
def test_a_duration_is_a_number_with_its_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize("text", [*NO_NUMBERS, *NO_UNITS, *TOO_LONG])
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a duration is a number above 0 with its unit: 500ms, 2s or 1m$"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0s", "0ms", "0m", "0.0s", "000.000000s"])
def test_a_duration_of_zero_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="above 0"):
        parse_duration(text)


@given(number=st.integers(1, 999_999_999), unit=st.sampled_from(sorted(SECONDS)))
def test_a_duration_is_its_number_times_its_unit(number: int, unit: str) -> None:
    assert math.isclose(parse_duration(f"{number}{unit}"), number * SECONDS[unit])


@given(st.one_of(st.text(), st.from_regex(r"\A[0-9.]{0,12}(ms|s|m|h)?\Z")))
def test_a_parsed_duration_is_finite_and_above_zero(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert 0 < seconds < math.inf


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1", 1),
        ("1048576", 1_048_576),
        ("64KiB", 65_536),
        ("1MiB", 1_048_576),
        ("0KiB", 0),
        ("010", 10),
        ("999999999999", 999_999_999_999),
    ],
)
def test_a_size_is_a_number_of_bytes_or_has_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", [*NO_SIZES, *NO_SIZE_UNITS])
def test_what_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a size is .*: 1048576, 64KiB or 1MiB$"):
        parse_size(text)


@given(number=st.integers(0, 999_999_999_999), unit=st.sampled_from(sorted(BYTES)))
def test_a_size_is_its_number_times_its_unit(number: int, unit: str) -> None:
    assert parse_size(f"{number}{unit}") == number * BYTES[unit]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "500ms"), (2.0, "2s"), (0.001, "1ms"), (0.0005, "0.5ms"), (1.0, "1s"), (1.5, "1.5s"), (30.0, "30s")],
)
def test_a_duration_is_written_as_people_write_it(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(1, 999_999))
def test_whole_milliseconds_survive_being_written_and_read(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert math.isclose(parse_duration(format_duration(seconds)), seconds)


@pytest.mark.parametrize("seconds", [1_000_000.0, 1e-9, 1234567.0, 60.0, 0.1234567])
def test_a_duration_of_any_size_is_written_so_that_it_can_be_read(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-6)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0"), (1, "1"), (1000, "1000"), (1024, "1KiB"), (1536, "1536"), (65536, "64KiB"), (1 << 20, "1MiB")],
)
def test_a_size_is_written_as_it_is_read(size: int, text: str) -> None:
    assert format_size(size) == text
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", " 1", "1_000", "٣", "0x10", "9" * 13, "1\n"])
def test_what_is_no_whole_number_is_refused_with_its_bounds(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a whole number, 1 or more$"):
        parse_count(text, least=1)
    with pytest.raises(ValueError, match=r"^must be a whole number, from 0 to 9$"):
        parse_count(text, least=0, most=9)


def test_a_count_has_bounds_that_belong_to_it() -> None:
    assert [parse_count(text, least=1, most=9) for text in ("1", "9", "05")] == [1, 9, 5]
    for text in ("0", "10"):
        with pytest.raises(ValueError, match="from 1 to 9"):
            parse_count(text, least=1, most=9)


@pytest.mark.parametrize(("text", "value"), [("on", True), ("ON", True), ("true", True), ("1", True), ("off", False)])
def test_a_switch_is_on_or_off(text: str, value: bool) -> None:
    assert parse_switch(text) is value


@pytest.mark.parametrize("text", ["", "maybe", "2", "onn", "on "])
def test_what_is_no_switch_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be on or off$"):
        parse_switch(text)
