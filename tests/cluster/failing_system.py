"""A system that can be planned and not trained."""

from __future__ import annotations

from dataclasses import replace

from nas_service.errors import InvalidRequestError
from workers.bench.fixed_pair import FixedPair
from workers.bench.system import Phase, Setting


class Failing(FixedPair):
    """Like `ours`, but for its learner."""

    def phases(self) -> tuple[Phase, ...]:
        """Return a phase that fails."""
        return tuple(replace(phase, learner=_fail) for phase in super().phases())


def make(setting: Setting) -> Failing:
    """Return the system."""
    return Failing(setting=setting)


def _fail(modules):
    raise InvalidRequestError("this system cannot be trained")
