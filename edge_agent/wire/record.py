"""What every value on the wire is: a frozen record that checks itself and goes through JSON unchanged."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
import reprlib
import types
import typing
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

PROTOCOL_VERSION = 1
MAX_DEPTH = 32
CAUSE_LIMIT = 2000

_MAX_MESSAGE = 1000
_INT64 = range(-(1 << 63), 1 << 63)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_INCARNATION = re.compile(r"[!-~]{1,128}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SHORT = reprlib.Repr()  # of what others wrote: neither length nor depth makes it fail
_SHORT.maxstring = _SHORT.maxother = 80

R = TypeVar("R", bound="Record")


class RecordError(ValueError):
    """A record that does not keep its contract; the message names the field, what was got and what is allowed."""

    def __init__(self, text: str) -> None:
        super().__init__(shortened(text, _MAX_MESSAGE))


def shortened(text: str, limit: int) -> str:
    """Return `text` as one that any file, log and database takes: at most `limit` characters, saying what was cut."""
    text = _SURROGATE.sub("\ufffd", text).replace("\0", "\ufffd")
    if len(text) <= limit:
        return text
    note = f" ... ({len(text)} characters)"
    return text[: limit - len(note)] + note


def check_plain(value: Any, *, where: str, depth: int = MAX_DEPTH) -> Any:
    """Return `value` if it is JSON that every reader and writer here takes; raise RecordError otherwise.

    Numbers are finite and integers have 64 bits, text can be written as UTF-8, lists and objects are 32 deep at most.
    """
    if isinstance(value, (dict, list, tuple)):
        if depth == 0:
            raise RecordError(f"{where} is nested more than {MAX_DEPTH} deep")
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            check_plain(key, where=where)
            check_plain(part, where=f"{where}.{key}", depth=depth - 1)
    elif isinstance(value, int) and value not in _INT64:
        raise RecordError(f"{where} is an integer of {value.bit_length()} bits but must fit into 64")
    elif isinstance(value, float) and not math.isfinite(value):
        raise RecordError(f"{where} is {value!r} but must be finite")
    elif isinstance(value, str) and _SURROGATE.search(value):
        raise RecordError(f"{where} is {_SHORT.repr(value)} but must be text that UTF-8 can write, without surrogates")
    elif not (value is None or isinstance(value, (bool, int, float, str))):
        raise RecordError(f"{where} is {type(value).__name__} but must be JSON")
    return value


def check_name(name: str, *, what: str = "name") -> str:
    """Return `name` if it can be a file, user and board name; raise RecordError otherwise."""
    if not _NAME.fullmatch(name):
        raise RecordError(
            f"{what} is {name!r} but must be 1 to 63 of a-z, 0-9, '.', '_', '-', and begin with a-z or 0-9"
        )
    return name


def check_sha256(digest: str, *, what: str = "sha256") -> str:
    """Return `digest` if it is 64 lower-case hexadecimal digits; raise RecordError otherwise."""
    if not _SHA256.fullmatch(digest):
        raise RecordError(f"{what} is {digest!r} but must be 64 lower-case hexadecimal digits")
    return digest


def check_incarnation(incarnation: str) -> str:
    """Return `incarnation` if it can name a start of a board; raise RecordError otherwise."""
    if not _INCARNATION.fullmatch(incarnation):
        raise RecordError(f"incarnation is {incarnation!r} but must be 1 to 128 visible ASCII characters")
    return incarnation


def check_version(got: int, allowed: int, what: str) -> None:
    """Raise RecordError if a record's version is not the one that this side speaks."""
    if got != allowed:
        raise RecordError(f"{what} has version {got} but this side speaks {allowed}; update the older side")


def stable_hash(value: Any) -> str:
    """Return the SHA-256 of a JSON-able value's canonical form (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


_HINTS: dict[type[Any], dict[str, Any]] = {}


def _hints_of(cls: type[Any]) -> dict[str, Any]:
    if cls not in _HINTS:
        _HINTS[cls] = typing.get_type_hints(cls)  # takes longer than all the rest of reading a record
    return _HINTS[cls]


def _decode(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _decode(next(a for a in arguments if a is not type(None)), value, where)
    if origin is Literal:
        if value not in arguments:
            raise RecordError(f"{where} is {_SHORT.repr(value)} but must be one of: {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise RecordError(f"{where} is {type(value).__name__} but must be a list")
        return tuple(_decode(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict) or not all(isinstance(k, str) for k in value):
            raise RecordError(f"{where} is {type(value).__name__} but must be an object")
        return {check_plain(k, where=where): _decode(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(hint, type) and issubclass(hint, Record):
        return hint.from_dict(value, where=where)
    return _decode_scalar(hint, value, where)


def _decode_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return check_plain(value, where=where)
    allowed = (int, float) if hint is float else hint
    if not isinstance(value, allowed) or (isinstance(value, bool) and hint is not bool):
        raise RecordError(f"{where} is {_SHORT.repr(value)} ({type(value).__name__}) but must be {hint.__name__}")
    check_plain(value, where=where)
    return float(value) if hint is float else value


def _encode(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, (tuple, list)):
        return [_encode(v) for v in value]
    if isinstance(value, dict):
        return {k: _encode(v) for k, v in value.items()}
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A value that crosses a process; subclasses add fields of scalars, records, tuples and string-keyed dicts."""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict, the exact inverse of `from_dict`."""
        return {f.name: _encode(getattr(self, f.name)) for f in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls: type[R], data: Any, *, where: str = "") -> R:
        """Return the record that `data` holds; raise RecordError for anything that is not one, whatever it is."""
        where = where or cls.__name__.lower()
        if not isinstance(data, dict) or not all(isinstance(k, str) for k in data):
            raise RecordError(f"{where} is {type(data).__name__} but must be an object")
        hints = _hints_of(cls)
        fields = {f.name: f for f in dataclasses.fields(cls)}
        if unknown := sorted(set(data) - set(fields)):
            raise RecordError(f"{where} has unknown keys {', '.join(map(repr, unknown))}; allowed: {', '.join(fields)}")
        required = {
            n
            for n, f in fields.items()
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        }
        if missing := sorted(required - set(data)):
            raise RecordError(f"{where} lacks {', '.join(map(repr, missing))}")
        values = {k: _decode(hints[k], v, f"{where}.{k}") for k, v in data.items()}
        return cls(**values)

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls: type[R], text: str | bytes, *, where: str = "") -> R:
        """Return the record in `text`; raise RecordError if it is no JSON or no such record."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RecordError(f"{where or cls.__name__.lower()} is not JSON: {error}") from None
        return cls.from_dict(data, where=where)
