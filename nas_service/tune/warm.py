"""A warm start: what earlier jobs found with the same supernet, told to a searcher before it asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nas_service.candidate import Candidate
from nas_service.errors import InvalidRequestError
from nas_service.front_query import FrontCandidate, curve_values
from nas_service.job import JobSpec
from nas_service.pair_space import PairSpace
from nas_service.store.job_record import Job
from nas_service.tune.memory import Known
from nas_service.valuation import told_points


def unfit_for_warm_start(spec: JobSpec, earlier: Job) -> str | None:
    """Return why candidates of an earlier job tell nothing to a job of this spec; None if they do.

    Accuracies compare only where weights, images and router are the same. What boards measured does not hang on these:
    it is found again by its key, without a warm start.
    """
    theirs = earlier.spec
    if earlier.kind != "search":
        return f"is of kind {earlier.kind!r}; name a job of kind 'search'"
    used = earlier.artefacts.get("supernet") or theirs.supernet.checkpoint
    if used != spec.supernet.checkpoint:
        return (
            f"scored its candidates with supernet {used}, and this job's is {spec.supernet.checkpoint}: their "
            "accuracies do not compare. Set supernet.checkpoint to that one"
        )
    for name, ours, other in (
        ("data set", spec.dataset.model_dump(), theirs.dataset.model_dump()),
        ("space", spec.space.model_dump(), theirs.space.model_dump()),
        ("router", spec.router, theirs.router),
        ("seed (which draws the validation images)", spec.seed, theirs.seed),
    ):
        if ours != other:
            return f"has the {name} {other} but this job has {ours}; their candidates do not compare"
    if missing := [c for c in spec.board_classes() if c not in theirs.board_classes()]:
        return f"measured nothing on {', '.join(missing)}, which this job's objectives or constraints need"
    return None


def warm_start(
    candidates: Iterable[Candidate],
    priced: Iterable[FrontCandidate],
    *,
    spec: JobSpec,
    space: PairSpace,
    split_hashes: Mapping[str, str],
) -> list[Known]:
    """Return what a searcher is told of earlier jobs' candidates, each phenotype once, by this job's own measure.

    Left out is what was estimated, what lacks a figure that this job needs, and what its space does not allow.

    Args:
        candidates: Of the earlier jobs, in the order in which they count.
        priced: The same with curves, as far as they have one.
        spec: This job's.
        space: This job's.
        split_hashes: SHA-256 by data split, of the images that this job scores on.

    Raises:
        InvalidRequestError: an earlier job had other choices or other images under the same name.
    """
    by_id = {one.id: one for one in priced}
    known: dict[str, Known] = {}
    for candidate in candidates:
        whole = by_id.get(candidate.id)
        if whole is None or not candidate.over or candidate.estimated:
            continue
        if not space.contains(candidate.architecture) or candidate.split_hashes != dict(split_hashes):
            raise InvalidRequestError(
                f"warm_start: candidate {candidate.id} has choices that space {space.definition.name!r} no longer has, "
                f"or was scored on other images; leave {candidate.job_id} out"
            )
        if not {*spec.objectives, *spec.constraints} <= curve_values(whole).keys():
            continue
        if space.is_feasible(candidate.architecture):
            points = told_points(whole, spec.objectives, spec.constraints)
            known.setdefault(space.phenotype(candidate.architecture), (candidate.architecture, list(points) or None))
    return list(known.values())
