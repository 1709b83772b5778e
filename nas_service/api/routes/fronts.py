"""The front that a job's candidates form."""

from __future__ import annotations

import csv
import io
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from nas_service.api.auth import require
from nas_service.api.context import Context
from nas_service.api.problems import problem_responses
from nas_service.api.views import FrontPointView, FrontView
from nas_service.candidate import CandidateStatus
from nas_service.front_query import FrontQuery, board_classes, front_objectives, front_points
from nas_service.priced import priced_candidates
from nas_service.store import Store
from nas_service.store.tokens import Role

DEFAULT_OBJECTIVES = ("error", "macs")

Limit = Annotated[float | None, Query(gt=0, allow_inf_nan=False)]


def fronts_router(context: Context) -> APIRouter:
    """Return the route of fronts."""
    router = APIRouter(tags=["candidates"], dependencies=[require(Role.VIEWER)])
    store = context.store

    @router.get("/jobs/{job_id}/front", response_model=FrontView, responses=problem_responses(404, 422))
    def front(
        job_id: str,
        board: Annotated[str | None, Query(description="The cost is the latency on this class of boards")] = None,
        max_latency_ms: Limit = None,
        max_energy_mj: Limit = None,
        max_memory_kib: Limit = None,
        min_accuracy: Annotated[float | None, Query(ge=0, le=1, description="A share, 0 to 1")] = None,
        format: Annotated[Literal["json", "csv"], Query()] = "json",
    ) -> FrontView | Response:
        """Return the operating points that no other point of the job beats, cheapest first."""
        query = FrontQuery(
            objectives=store.jobs.get(job_id).spec.objectives or DEFAULT_OBJECTIVES,
            board=board or None,
            max_latency_ms=max_latency_ms,
            max_energy_mj=max_energy_mj,
            max_memory_kib=max_memory_kib,
            min_accuracy=min_accuracy,
        )
        view = front_view(store, job_id, query)
        return view if format == "json" else _csv_response(view)

    return router


def front_view(store: Store, job_id: str, query: FrontQuery) -> FrontView:
    """Return the front of a job's finished candidates.

    Raises:
        InvalidRequestError: the query's board or limits do not fit what was measured.
    """
    finished = store.candidates.list(job_id, status=CandidateStatus.FINISHED, with_curves=True)
    priced = priced_candidates([c for c in finished if not c.partial], store.fleet)
    axis, points = front_points(priced, query)
    return FrontView(
        job_id=job_id,
        objectives=list(front_objectives(query.objectives, query.board)),
        axis=axis,
        board=query.board,
        boards=board_classes(priced),
        candidates=len(priced),
        points=[FrontPointView.of(point) for point in points],
    )


def front_csv(view: FrontView) -> str:
    """Return a front as CSV: a row for each point, an empty cell for what was not measured."""
    names = list(dict.fromkeys(name for point in view.points for name in point.values))
    columns = ["candidate_id", "number", "coupling", "threshold", "accuracy", "escalation_rate"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, *names])
    for point in view.points:
        writer.writerow([*(getattr(point, c) for c in columns), *(point.values.get(name, "") for name in names)])
    return text.getvalue()


def _csv_response(view: FrontView) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{view.job_id}-front.csv"'}
    return Response(front_csv(view), media_type="text/csv", headers=headers)
