"""YAML as jobs are written in it: plain data only, no key twice, numbers as people write them.

Departures from YAML 1.1, which PyYAML reads: `1e-3` is a number and not a text, `yes`, `no`, `on` and `off` are texts
and not truth values, a number that begins with 0 is decimal, dates stay texts, and `12:30` is a text. Anchors,
aliases and tags are refused: a job needs none, and with them a small file can mean a very large one.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

from nas_service.errors import InvalidRequestError

MAX_BYTES = 256 * 1024
_MAX_DIGITS = 100
_RESOLVED_AS_IN_JSON = {
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "tag:yaml.org,2002:int": (r"[-+]?[0-9]+", "-+0123456789"),
    "tag:yaml.org,2002:float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    "tag:yaml.org,2002:null": (r"~|null|Null|NULL|", ("~", "n", "N", "")),
}


def load_yaml(text: str | bytes) -> Any:
    """Return the plain data that `text` holds.

    Raises:
        InvalidRequestError: too large, not UTF-8, not YAML (with the line), a key twice, or anchors and tags.
    """
    size = len(text if isinstance(text, bytes) else text.encode(errors="replace"))
    if size > MAX_BYTES:
        raise InvalidRequestError(f"the YAML has {size} bytes but may have at most {MAX_BYTES}; is it the right file?")
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        return yaml.load(decoded, Loader=_Loader)  # narrower than yaml.SafeLoader
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"the YAML is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except yaml.YAMLError as error:
        raise InvalidRequestError(_explain(error)) from None
    except RecursionError:
        raise InvalidRequestError("the YAML is nested too deeply; a job has at most three levels") from None


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, narrowed."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own name and shape

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Return the node, after refusing aliases and what they would refer to."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.MarkedYAMLError(problem="anchors and aliases are not allowed", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        """Return the mapping, after refusing keys that are no texts or appear twice."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be a text", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} appears twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    if len(text) > _MAX_DIGITS:
        raise yaml.MarkedYAMLError(problem=f"an integer has {len(text)} digits", problem_mark=node.start_mark)
    return int(text)


for _tag, (_pattern, _first) in _RESOLVED_AS_IN_JSON.items():
    _Loader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)


def _explain(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    return f"the YAML cannot be read{where}: {problem}"
