"""The test split, sealed: it is opened once per system, after its choices were frozen, and each opening is recorded.

EVALUATION protocol, section 2, splits: the test part is opened once per finished system. The outputs come from a
function, so that they do not even exist before: what chooses thresholds cannot have read them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from nas_service.errors import ConflictError, InvalidRequestError
from workers.protocol.record import Record

T = TypeVar("T")


class Choices(Protocol):
    """What a system's test outputs are handed out against, such as `FrozenChoices`."""

    @property
    def system(self) -> str:
        """Its name."""

    @property
    def sha256(self) -> str:
        """Digest of every choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening(Record):
    """That a system's test outputs were handed out, against these choices."""

    system: str
    choices_sha256: str

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Opening:
        """Return the opening that `to_dict` wrote; InvalidRequestError for other keys."""
        if set(values) != {"system", "choices_sha256"}:
            raise InvalidRequestError(f"an opening has keys {sorted(values)}; give system and choices_sha256")
        return cls(system=values["system"], choices_sha256=values["choices_sha256"])


class SealedTest(Generic[T]):
    """Hands out test outputs once per system.

    Args of the constructor:
        run: Makes a system's test outputs; called when, and only when, that system is opened.
        openings: Those of earlier processes, so that a resumed run opens nothing with other choices.
        record: Called with each opening before the outputs are made, to keep it where it outlives the process.
    """

    def __init__(
        self,
        run: Callable[[str], T],
        *,
        openings: Iterable[Opening] = (),
        record: Callable[[Opening], None] = lambda opening: None,
    ) -> None:
        self._run, self._record = run, record
        self._openings = {opening.system: opening for opening in openings}
        self._handed_out: set[str] = set()

    @property
    def openings(self) -> tuple[Opening, ...]:
        """Every opening so far, in order."""
        return tuple(self._openings.values())

    def open(self, choices: Choices) -> T:
        """Return the test outputs of the system whose choices these are.

        An opening that came to nothing (the process died, or `run` failed) may be repeated with the very same choices:
        what it would show cannot have changed them.

        Raises:
            ConflictError: the system's outputs were handed out, or it was opened with other choices.
        """
        opening = Opening(system=choices.system, choices_sha256=choices.sha256)
        earlier = self._openings.get(choices.system)
        if choices.system in self._handed_out or (earlier is not None and earlier != opening):
            before = opening if earlier is None else earlier
            raise ConflictError(
                f"the test split of {choices.system!r} was opened before, for choices {before.choices_sha256[:12]}; "
                f"these are {opening.choices_sha256[:12]}; report the first result, or judge a new system"
            )
        if earlier is None:
            self._record(opening)
            self._openings[choices.system] = opening
        outputs = self._run(choices.system)
        self._handed_out.add(choices.system)
        return outputs
