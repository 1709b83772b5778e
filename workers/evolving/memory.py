"""What a learner of evolving dimensions finds again in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas_service.errors import InvalidRequestError
from nas_service.trajectory import Trajectory


def remembered(state: Mapping[str, Any], *names: str) -> Trajectory:
    """Return the trajectory in a learner's state, which must have the keys `names` beside.

    Raises:
        InvalidRequestError: another kind of learner left the state.
    """
    if missing := [name for name in ("trajectory", *names) if name not in state]:
        raise InvalidRequestError(
            f"the checkpoint remembers no {missing[0]}: its dimensions evolved in another way, or not at all; resume "
            "with the strategy and schedule that it was trained with"
        )
    return Trajectory.from_dict(state["trajectory"])
