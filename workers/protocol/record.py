"""Records: frozen values that turn into plain JSON."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


class Record:
    """Base of the protocol's frozen dataclasses."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-able values; a threshold of -inf is `never`, one of +inf `always`."""
        if not is_dataclass(self):
            raise TypeError(f"{type(self).__name__} is no dataclass; decorate it")
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}


def plain(value: Any) -> Any:
    """Return `value` made of dicts, lists, strings, numbers, booleans and None.

    Raises:
        TypeError: for anything else, or a NaN, which no JSON reader has to accept.
    """
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return "always" if value > 0 else "never"
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and not math.isnan(value)):
        return value
    raise TypeError(f"{value!r} has no plain form; use None for unknown, and numbers, text, lists or records")
