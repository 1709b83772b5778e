"""Python objects by their address, `package.module:object`: users' own spaces, blocks, data and systems."""

from __future__ import annotations

import importlib
from typing import Any

from nas_service.errors import InvalidRequestError


def imported(address: str, *, what: str, hint: str) -> Any:
    """Return the object at `address`.

    Args:
        address: `package.module:object`.
        what: It is, for the message, such as `blocks 'own:BLOCKS'`.
        hint: What to do if it cannot be imported.

    Raises:
        InvalidRequestError: there is no such module or object, or importing it fails.
    """
    module, _, name = address.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidRequestError(f"{what} cannot be imported: {error}; {hint}") from None
