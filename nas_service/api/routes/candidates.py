"""Candidates, and finalists' bundles."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Response

from nas_service.api.auth import require
from nas_service.api.context import Context
from nas_service.api.problems import problem_responses
from nas_service.api.views import CandidateDetail, CandidateList, CandidateView, CurveView
from nas_service.candidate import Candidate, CandidateStatus
from nas_service.errors import ConflictError
from nas_service.front import thin_curve
from nas_service.front_query import (
    FrontCandidate,
    curve_values,
)
from nas_service.priced import priced_candidates
from nas_service.store.tokens import Role

CURVE_POINTS = 400


def candidates_router(context: Context) -> APIRouter:
    """Return the routes of candidates."""
    router = APIRouter(tags=["candidates"], dependencies=[require(Role.VIEWER)])
    store, measured = context.store, context.store.fleet

    @router.get("/jobs/{job_id}/candidates", responses=problem_responses(404, 422))
    def list_candidates(
        job_id: str,
        status: CandidateStatus | None = None,
        strategy: Annotated[str | None, Query(description="Only those that this strategy asked for")] = None,
        finalists: Annotated[bool | None, Query(description="Only finalists, or only the others")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 200,
        offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    ) -> CandidateList:
        """List a job's candidates by number."""
        store.jobs.get(job_id)
        found = store.candidates.list(
            job_id, status=status, strategy=strategy, finalists=finalists, limit=offset + limit
        )
        return CandidateList(candidates=[CandidateView.of(candidate) for candidate in found[offset:]])

    @router.get("/candidates/{candidate_id}", responses=problem_responses(404))
    def show(candidate_id: str) -> CandidateDetail:
        """Show one candidate with its curve and what boards measured of it."""
        candidate = store.candidates.get(candidate_id)
        priced = next(iter(priced_candidates([candidate], measured)), None)
        if priced is None:
            return CandidateDetail.of_parts(candidate, curve=None, boards={})
        known = {
            board_class: {half: _known(asdict(cost)) for half, cost in halves.items()}
            for board_class, halves in priced.boards.items()
        }
        return CandidateDetail.of_parts(candidate, curve=curve_view(priced), boards=known)

    @router.get(
        "/candidates/{candidate_id}/bundle",
        response_class=Response,
        responses={200: {"content": {"application/zip": {}}}, **problem_responses(404, 409)},
    )
    def bundle(candidate_id: str) -> Response:
        """Return a finalist's bundle, a zip."""
        candidate = store.candidates.get(candidate_id)
        if candidate.bundle_sha256 is None:
            raise ConflictError(_no_bundle(candidate))
        headers = {
            "Content-Disposition": f'attachment; filename="{candidate_id}.zip"',
            "ETag": f'"{candidate.bundle_sha256}"',
        }
        return Response(store.files.get(candidate.bundle_sha256), media_type="application/zip", headers=headers)

    return router


def curve_view(candidate: FrontCandidate) -> CurveView:
    """Return a candidate's curve, thinned to what a picture can show; its two ends always stay."""
    curve, values = candidate.curve, curve_values(candidate)
    last = len(curve.thresholds) - 1
    worthwhile = thin_curve(np.column_stack([values["error"], curve.escalation_rate]), CURVE_POINTS)
    shown = np.unique([0, *worthwhile.tolist(), last])
    return CurveView(
        thresholds=[curve.threshold(int(i)) for i in shown],
        accuracy=curve.accuracy[shown].tolist(),
        escalation_rate=curve.escalation_rate[shown].tolist(),
        values={name: column[shown].tolist() for name, column in values.items()},
    )


def _known(costs: dict[str, float | None]) -> dict[str, float]:
    return {name: cost for name, cost in costs.items() if cost is not None}


def _no_bundle(candidate: Candidate) -> str:
    if candidate.finalist:
        return f"candidate {candidate.id} is a finalist without a bundle yet; ask again when its job has finished"
    if candidate.status is CandidateStatus.FAILED:
        return f"candidate {candidate.id} failed ({candidate.error}); only finalists have bundles"
    return (
        f"candidate {candidate.id} is no finalist, and only finalists have bundles; "
        f"the job's report lists those; raise `finalists.count` in the next job for more"
    )
