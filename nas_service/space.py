"""Spaces by name: the presets, and users' own as `package.module:object`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

from nas_service.choice_space import ChoiceSpace
from nas_service.errors import InvalidRequestError
from nas_service.import_path import imported
from nas_service.layers import Activation
from nas_service.pair_space import PairSpace, SpaceDefinition, StageChoices
from nas_service.plan import Coupling
from nas_service.presets import PRESETS

__all__ = ["PRESETS", "ChoiceSpace", "PairSpace", "SpaceDefinition", "StageChoices", "load_definition"]


def load_definition(
    name: str, *, couplings: Sequence[Coupling] | None = None, activation: Activation | None = None
) -> SpaceDefinition:
    """Return the preset `name`, or the SpaceDefinition at `package.module:object`, with what is given changed.

    Args:
        name: Of the space.
        couplings: The only ones to choose from; None for all of the space's.
        activation: In place of the space's own.

    Raises:
        InvalidRequestError: no such preset or object, or a coupling that the space does not have.
    """
    definition = _import(name) if ":" in name else PRESETS.get(name)
    if definition is None:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InvalidRequestError(
            f"unknown space {name!r}{hint} Choose one of: {', '.join(PRESETS)}, or give package.module:object"
        )
    if activation is not None:
        definition = replace(definition, activation=activation)
    if couplings is None:
        return definition
    if missing := [c for c in couplings if c not in definition.couplings]:
        raise InvalidRequestError(
            f"space {name!r} has no coupling {missing[0]!r}; choose from: {', '.join(definition.couplings)}"
        )
    return replace(definition, couplings=tuple(couplings))


def _import(name: str) -> SpaceDefinition:
    definition = imported(name, what=f"space {name!r}", hint="is it on the service's Python path?")
    if not isinstance(definition, SpaceDefinition):
        raise InvalidRequestError(f"space {name!r} is a {type(definition).__name__} but must be a SpaceDefinition")
    return definition
