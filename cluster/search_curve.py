"""The search's progress for the scalar log: hypervolume and best values against candidates told."""

from __future__ import annotations

import numpy as np

from cluster.job_context import JobContext
from nas_service.candidate import Candidate, CandidateStatus
from nas_service.front import hypervolume, non_dominated
from nas_service.scalar_log import NoLog

FIRST = 4  # candidates whose worst values, and a tenth, bound the hypervolume
MARGIN = 1.1


class SearchCurve:
    """Logs what a search has found after every further candidate.

    The hypervolume is a share of the box between zero and the worst of the first four candidates, a tenth further out:
    fixed then, so that the curve never falls, and the same again after a resume. What was told before this curve was
    made lies in the log already, so a job's run makes one for all its strategies.

    Args:
        job: Whose candidates, and whose log.
    """

    def __init__(self, job: JobContext) -> None:
        self._job = job
        self._logged = job.store.candidates.count(job.job_id)[CandidateStatus.FINISHED]

    def update(self) -> None:
        """Log what has become known since the last call."""
        if isinstance(self._job.scalars, NoLog):
            return
        told = [c for c in self._job.store.candidates.list(self._job.job_id) if c.status is CandidateStatus.FINISHED]
        told.sort(key=lambda c: (c.finished_at or 0.0, c.number))
        for count in range(self._logged + 1, len(told) + 1):
            self._job.scalars.log(count, search_figures(told[:count], self._job.spec.objectives))
        self._logged = len(told)


def search_figures(told: list[Candidate], objectives: tuple[str, ...]) -> dict[str, float]:
    """Return the hypervolume and the least value of each objective, of candidates in the order in which they ended."""
    rows = [
        np.array([[float(p[n]) for n in objectives] for p in c.values]) for c in told if c.values and not c.estimated
    ]
    if not rows:
        return {}
    points = np.concatenate(rows)
    figures = {
        f"search/best_{name.replace('@', '_at_')}": float(points[:, i].min()) for i, name in enumerate(objectives)
    }
    if len(rows) >= FIRST:
        reference = MARGIN * np.maximum(np.concatenate(rows[:FIRST]).max(axis=0), 1e-9)
        inside = points[(points < reference).all(axis=1)]
        volume = hypervolume(inside[non_dominated(inside)], reference) if len(inside) else 0.0
        figures["search/hypervolume"] = float(volume / np.prod(reference))
    return figures
