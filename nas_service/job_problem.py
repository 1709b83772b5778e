"""What is wrong with a job's description, each problem with the path of the value that it is about."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from nas_service.errors import InvalidRequestError
from nas_service.spelling import nearest

_TYPES = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a text",
    "bool_type": "true or false",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
}
_LIMITS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong: `path` such as `strategy.evaluations` (empty for the whole), and what to do about it."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class InvalidJobError(InvalidRequestError):
    """A job that cannot be run as it is written; `problems` lists everything that was found at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def unknown_keys(model: type[BaseModel], data: Mapping[Any, Any], *, at: str = "") -> Iterator[Problem]:
    """Yield a problem for every key in `data`, at any depth, that `model` does not have."""
    for key, value in data.items():
        path = f"{at}.{key}" if at else str(key)
        if key not in model.model_fields:
            near = nearest(str(key), model.model_fields) or f"; allowed: {', '.join(model.model_fields)}"
            yield Problem(path=path, message=f"unknown key{near}")
            continue
        annotation = model.model_fields[key].annotation
        inner = _model_in(annotation)
        if inner is None:
            continue
        if isinstance(value, Mapping) and typing.get_origin(annotation) is dict:
            for name, item in value.items():
                if isinstance(item, Mapping):
                    yield from unknown_keys(inner, item, at=f"{path}.{name}")
        elif isinstance(value, Mapping):
            yield from unknown_keys(inner, value, at=path)
        elif isinstance(value, (list, tuple)):
            for i, item in enumerate(value):
                if isinstance(item, Mapping):
                    yield from unknown_keys(inner, item, at=f"{path}[{i}]")


def problems_in(error: ValidationError) -> Iterator[Problem]:
    """Yield what pydantic found, in this project's words; unknown keys are left to `unknown_keys`."""
    for found in error.errors(include_url=False):
        if found["type"] not in ("extra_forbidden", "invalid_key"):
            yield Problem(path=_path(found["loc"]), message=_message(found))


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    return next((m for a in typing.get_args(annotation) if (m := _model_in(a)) is not None), None)


def _path(loc: tuple[int | str, ...]) -> str:
    path = ""
    for part in loc:
        if part == "[key]":  # pydantic's mark for what is wrong with a mapping's key itself
            continue
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _message(found: Any) -> str:
    kind, value, context = found["type"], found["input"], found.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(context["error"])
    if kind in _TYPES:
        return f"is {_shown(value)} but must be {_TYPES[kind]}"
    if kind in _LIMITS:
        key, words = _LIMITS[kind]
        limit = context[key]
        return f"is {_shown(value)} but must be {words} {limit if isinstance(limit, int) else f'{limit:g}'}"
    if kind == "literal_error":
        expected = context["expected"].replace("'", "").replace(" or ", ", ")
        return f"is {_shown(value)} but must be one of: {expected}{nearest(str(value), expected.split(', '))}"
    return f"is {_shown(value)}: {found['msg'][:1].lower()}{found['msg'][1:]}"


def _shown(value: Any) -> str:
    text = repr(value)
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    return shown if value is None or isinstance(value, (dict, list)) else f"{shown} ({_KINDS.get(type(value), '?')})"


_KINDS = {str: "text", int: "integer", float: "number", bool: "truth value", tuple: "list"}
