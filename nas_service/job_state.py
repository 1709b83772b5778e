"""The states of a job and the ways between them."""

from __future__ import annotations

import enum


class JobState(enum.Enum):
    """How far a job has come."""

    QUEUED = "queued"
    TRAINING = "training"
    SEARCHING = "searching"
    FINISHING = "finishing"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"

    def may_become(self, to: JobState) -> bool:
        """Return whether a job in this state may take the other one."""
        return to in TRANSITIONS[self]

    @property
    def over(self) -> bool:
        """Whether nothing works on the job any more."""
        return self in (JobState.FINISHED, JobState.FAILED, JobState.STOPPED)


_ENDED_EARLY = frozenset({JobState.FAILED, JobState.STOPPED})

# A running job goes back to `queued` when its driver died and it is resumed; a resumed job skips what is done already.
TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.TRAINING, JobState.SEARCHING, JobState.FINISHING}) | _ENDED_EARLY,
    JobState.TRAINING: frozenset({JobState.SEARCHING, JobState.FINISHING, JobState.FINISHED, JobState.QUEUED})
    | _ENDED_EARLY,
    JobState.SEARCHING: frozenset({JobState.FINISHING, JobState.FINISHED, JobState.QUEUED}) | _ENDED_EARLY,
    JobState.FINISHING: frozenset({JobState.FINISHED, JobState.QUEUED}) | _ENDED_EARLY,
    JobState.FINISHED: frozenset(),
    JobState.FAILED: frozenset({JobState.QUEUED}),
    JobState.STOPPED: frozenset({JobState.QUEUED}),
}
