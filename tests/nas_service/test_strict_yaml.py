from __future__ import annotations

import time

import pytest

from nas_service.errors import InvalidRequestError
from nas_service.strict_yaml import MAX_BYTES, load_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        ("-.5", -0.5),
        ("5.", 5.0),
        ("010", 10),
        ("+7", 7),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("yes", "yes"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("", None),
        ("~", None),
        ("null", None),
        ("'1'", "1"),
        ("<<", "<<"),
        ("{a: [1, b, {c: 2.5}]}", {"a": [1, "b", {"c": 2.5}]}),
    ],
)
def test_scalars_mean_what_people_write(text: str, value: object) -> None:
    loaded = load_yaml(text)
    assert (loaded, type(loaded)) == (value, type(value))


def test_infinity_is_read_so_that_the_field_can_refuse_it_by_name() -> None:
    assert load_yaml(".inf") == float("inf")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: [1, 2\n", r"at line 3, column 1: expected ',' or '\]'"),
        ("a: 1\n b: 2", r"at line 2, column 3: mapping values are not allowed here"),
        ("a:\n\t- 1", r"at line 2, column 1: found character '\\t' that cannot start any token"),
        ("a: 1\nb: 2\na: 3", r"at line 3, column 1: key 'a' appears twice"),
        ("x: {a: 1, a: 2}", r"at line 1, column 11: key 'a' appears twice"),
        ("a: &x 1\nb: 2", r"at line 1, column 4: anchors and aliases are not allowed"),
        ("a: *x", r"at line 1, column 4: anchors and aliases are not allowed"),
        ("a: !!python/object/apply:os.system [ls]", r"at line 1, column 4: could not determine a constructor"),
        ("a: 1\n---\nb: 2", r"at line 2, column 1: but found another document"),
        ("[1, 2]: 3", r"at line 1, column 1: a key must be a text"),
        ("a: " + "9" * 5000, r"at line 1, column 4: an integer has 5000 digits"),
        ("a: \x00", r"cannot be read: special characters are not allowed"),
        (b"a: \xff", r"is not UTF-8 text: invalid start byte at byte 3"),
        ("[" * 50_000, r"nested too deeply; a job has at most three levels"),
    ],
)
def test_what_cannot_be_read_says_where_and_why(text: str | bytes, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        load_yaml(text)


@pytest.mark.parametrize("kind", [str, bytes])
def test_a_huge_file_is_refused_before_it_is_read(kind: type) -> None:
    text = "a: " + "x" * MAX_BYTES
    began = time.perf_counter()
    with pytest.raises(
        InvalidRequestError, match=r"has 262147 bytes but may have at most 262144; is it the right file"
    ):
        load_yaml(text if kind is str else text.encode())
    assert time.perf_counter() - began < 0.1
