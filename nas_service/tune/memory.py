"""What a strategy's session keeps, and finds again when it is made anew: candidates, and the searcher's state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nas_service.candidate import Candidate, Proposal
from nas_service.errors import InvalidRequestError
from nas_service.pair_space import PairSpace
from nas_service.search import Searcher
from nas_service.search.searcher import Told
from nas_service.tune.ports import Archive
from nas_service.tune.task import Task

Known = tuple[Mapping[str, Any], Told]


class Memory:
    """The archive as one strategy of one job uses it.

    Args:
        task: Which strategy of which job.
        space: Decodes architectures.
        archive: Where candidates are kept.
    """

    def __init__(self, task: Task, *, space: PairSpace, archive: Archive) -> None:
        self._task, self._space, self._archive = task, space, archive

    def recall(self, searcher: Searcher, *, warm: Sequence[Known]) -> list[Candidate]:
        """Return all candidates of the job, and have the searcher know what it did, or else what others have found.

        Args:
            searcher: New.
            warm: What earlier jobs have found, for a searcher that begins.

        Raises:
            InvalidRequestError: the space is not the one that the job began with.
        """
        every = self._archive.list(self._task.job_id)
        for candidate in every:
            self._check(candidate)
        state = self._archive.search_state(self._task.job_id, self._task.strategy_index)
        if state is not None:
            searcher.load_state_dict(state)
            return every
        others = [c for c in every if c.strategy_index != self._task.strategy_index and c.over]
        known = [*warm, *((c.architecture, list(c.values) or None) for c in others)]
        if known:
            searcher.tell(known)
        return every

    def _check(self, candidate: Candidate) -> None:
        """Refuse to go on in a space that makes other layers of the same genes, such as a user's changed module."""
        if not self._space.contains(candidate.architecture):
            raise InvalidRequestError(_changed(candidate, "no longer has its choices"))
        plan = self._space.plan(candidate.architecture)
        for name, now in plan.costs().items():
            if (then := candidate.costs.get(name, now)) != now:
                raise InvalidRequestError(_changed(candidate, f"gives it {name} {now:g} now, and gave it {then:g}"))
        if candidate.structures and plan.structures(self._task.spec.router) != candidate.structures:
            raise InvalidRequestError(_changed(candidate, "makes other layers of its choices now"))

    def record(self, architecture: dict[str, Any]) -> Candidate:
        """Return the candidate of a point that the searcher asked for, new or as it is known."""
        plan, task = self._space.plan(architecture), self._task
        proposal = Proposal(
            architecture=architecture,
            phenotype=self._space.phenotype(architecture),
            costs=plan.costs(),
            structures=plan.structures(task.spec.router),
        )
        strategy = task.spec.strategy[task.strategy_index].name
        [candidate] = self._archive.asked(task.job_id, task.strategy_index, strategy, [proposal])
        return candidate

    def keep(self, state: dict[str, Any] | None) -> None:
        """Keep the searcher's state; None leaves that of before."""
        if state is not None:
            self._archive.save_search_state(self._task.job_id, self._task.strategy_index, state)


def _changed(candidate: Candidate, how: str) -> str:
    return (
        f"the space has changed since the job began: for candidate {candidate.id} it {how}. Bring the definition back "
        "as it was, or submit a new job"
    )
