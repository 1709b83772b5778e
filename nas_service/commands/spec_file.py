"""A job's file as the command line takes it: read, changed by `--set`, made absolute, checked before it is sent."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from nas_service.errors import InvalidRequestError
from nas_service.job import JobSpec, parse_job
from nas_service.strict_yaml import load_yaml


class InvalidFile(click.ClickException):
    """A job file that cannot be right, whatever service it is sent to."""

    exit_code = 2


def read_spec(path: Path, *, changes: Sequence[str] = ()) -> JobSpec:
    """Return the job in a YAML file after `--set` changes, with `dataset.root` absolute.

    Args:
        path: The file.
        changes: `key.path=value` texts; values are YAML, list places are numbers.

    Raises:
        InvalidFile: The file cannot be read or holds no valid job.
    """
    try:
        data = load_yaml(path.read_text(encoding="utf-8"))
        for change in changes:
            set_value(data, change)
        make_root_absolute(data, folder=Path.cwd())
        return parse_job(data)
    except UnicodeDecodeError:
        raise InvalidFile(f"{path} is no UTF-8 text; give a job as YAML") from None
    except OSError as error:
        raise InvalidFile(f"{path} cannot be read: {error.strerror or error}") from None
    except InvalidRequestError as error:
        raise InvalidFile(f"{path}: {error}") from None


def make_root_absolute(data: Any, *, folder: Path) -> None:
    """Make `dataset.root` absolute, in place, as seen from `folder`; `~` is the caller's home."""
    dataset = data.get("dataset") if isinstance(data, dict) else None
    if isinstance(dataset, dict) and isinstance(dataset.get("root"), str):
        dataset["root"] = os.path.abspath(folder / os.path.expanduser(dataset["root"]))


def set_value(data: Any, change: str) -> None:
    """Apply one `key.path=value` to `data` in place; what follows an '@' belongs to its key, dots included.

    Raises:
        InvalidRequestError: The text has no such form, or its path leads through something that holds no keys.
    """
    path, equals, text = change.partition("=")
    keys = _keys(path)
    if not equals or not all(keys):
        raise InvalidRequestError(f"--set got {change!r} but needs key.path=value, such as strategy.evaluations=50")
    try:
        value = load_yaml(text)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"--set {path}: {text!r} is no value ({error}); put text in double quotes") from None
    here = data
    for key in keys[:-1]:
        here = _step(here, key, change)
    _assign(here, keys[-1], value, change)


def _keys(path: str) -> list[str]:
    before, at, board_class = path.partition("@")
    keys = before.split(".")
    return [*keys[:-1], keys[-1] + at + board_class]


def _step(here: Any, key: str, change: str) -> Any:
    if isinstance(here, dict):
        if here.get(key) is None:
            here[key] = {}
        return here[key]
    return here[_place(here, key, change)]


def _assign(here: Any, key: str, value: Any, change: str) -> None:
    if isinstance(here, dict):
        here[key] = value
    else:
        here[_place(here, key, change)] = value


def _place(here: Any, key: str, change: str) -> int:
    if not isinstance(here, list):
        raise InvalidRequestError(f"--set {change}: {key!r} has a {type(here).__name__} before it, which holds no keys")
    if not key.isdigit() or int(key) >= len(here):
        raise InvalidRequestError(f"--set {change}: {key!r} is no place in a list of {len(here)}; count from 0")
    return int(key)
