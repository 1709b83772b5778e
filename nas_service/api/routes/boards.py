"""Boards and what they measured."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from edge_agent.records import RecordError, check_name
from nas_service.api.auth import require
from nas_service.api.board_views import (
    BoardListView,
    BoardView,
    ExpectedBoardView,
    MeasurementList,
    MeasurementView,
    NewBoard,
)
from nas_service.api.context import Context
from nas_service.api.problems import problem_responses
from nas_service.board_agreement import Agreement, board_agreement
from nas_service.class_settings import ClassSettings
from nas_service.errors import InvalidRequestError, NotFoundError
from nas_service.fleet import StandingLease
from nas_service.store.tokens import Role

NAME_PATTERN = "^[a-z0-9][a-z0-9._-]{0,62}$"


def _checked_name(name: str) -> str:
    """Return a name that boards and classes may have; pydantic would answer another one with the pattern."""
    try:
        return check_name(name, what="it")
    except RecordError as error:
        raise PydanticCustomError("name", "{why}", {"why": str(error)}) from None


Name = Annotated[str, AfterValidator(_checked_name), WithJsonSchema({"type": "string", "pattern": NAME_PATTERN})]


class BoardRequest(BaseModel):
    """A board to be added."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    board_class: Name = Field(description="Boards whose figures may be pooled share a class")
    settings: ClassSettings | None = Field(
        default=None,
        description="Of a new class, which keeps them; null: the defaults, or what the class has",
    )


class HostKeyRequest(BaseModel):
    """What to do about the gateway's next host key."""

    model_config = ConfigDict(extra="forbid")

    switch: bool = Field(default=False, description="Show it from now on; otherwise the boards are told of it")
    force: bool = Field(default=False, description="Switch although some boards have not been told")


class HostKeyView(BaseModel):
    """The gateway's next host key, and which boards know it."""

    fingerprint: str = Field(description="Lower-case hex SHA-256 of the key's public blob")
    told: list[str]
    waiting: list[str]


class BoardOffsetView(BaseModel):
    """How far a board's figures are from those of the others of its class, in percent; positive is slower."""

    board: str
    shared: int = Field(description="What this board and another one have both measured")
    percent: float
    low_percent: float | None = Field(description="Of the 95 % interval; null if too little was shared to tell it")
    high_percent: float | None


class AgreementView(BaseModel):
    """How far the boards of a class agree on what two or more of them have measured."""

    board_class: str
    members: list[str] = Field(description="The class's boards, those that were removed left out")
    boards: list[BoardOffsetView] = Field(description="Those that could be compared, removed ones too")
    not_compared: list[str] = Field(description="The members that share too little with the others")
    subjects: int = Field(description="What two or more boards have measured, the last 200 at most")
    spread_percent: float | None = Field(description="Standard deviation that is left when the offsets are known")

    @classmethod
    def of(cls, board_class: str, agreement: Agreement, *, members: list[str]) -> AgreementView:
        """Return the view of what was found."""
        compared = {board.board for board in agreement.boards}
        return cls(
            board_class=board_class,
            members=members,
            boards=[BoardOffsetView.model_validate(board, from_attributes=True) for board in agreement.boards],
            not_compared=[name for name in members if name not in compared],
            subjects=agreement.subjects,
            spread_percent=agreement.spread_percent,
        )


def boards_router(context: Context) -> APIRouter:
    """Return the routes of boards and measurements."""
    router = APIRouter(tags=["boards"])
    fleet, measured = context.fleet, context.store.fleet
    admin, viewer = [require(Role.ADMIN)], [require(Role.VIEWER)]

    @router.get("/boards", dependencies=viewer)
    def list_boards() -> BoardListView:
        """List the boards with state, class, last sign of life, and what they have leased, and those still to enrol."""
        leases: dict[str, list[StandingLease]] = {}
        for standing in sorted(measured.leases.standing(), key=lambda s: s.granted_at):
            leases.setdefault(standing.lease.board, []).append(standing)
        now = time.time()
        out = measured.quarantines(now=now)
        classes = {c.name: c for c in measured.board_classes()}
        views = [
            BoardView.of(
                b, leases.get(b.name, []), settings=classes[b.board_class].settings, now=now, quarantine=out.get(b.name)
            )
            for b in measured.boards()
        ]
        expected = [
            ExpectedBoardView.model_validate(board, from_attributes=True) for board in measured.expected(now=now)
        ]
        return BoardListView(boards=views, expected=expected)

    @router.post("/boards", status_code=201, dependencies=admin, responses=problem_responses(409, 422))
    def add_board(board: BoardRequest) -> NewBoard:
        """Prepare a board's enrolment; the one-time code is shown only now."""
        settings = None if board.settings is None else board.settings.runtime()
        code = fleet.enrol(board.name, board.board_class, settings=settings)
        return NewBoard(name=board.name, board_class=board.board_class, code=code)

    @router.post("/boards/{name}/drain", status_code=204, dependencies=admin, responses=problem_responses(404, 409))
    def drain_board(name: str) -> None:
        """Give a board no further work; what it measures now may finish."""
        fleet.drain(name)

    @router.post("/boards/{name}/undrain", status_code=204, dependencies=admin, responses=problem_responses(404, 409))
    def undrain_board(name: str) -> None:
        """Give a drained board, or one in quarantine, work again, and forget what spoke against it."""
        fleet.drain(name, draining=False)

    @router.post("/gateway/host-key", dependencies=admin, responses=problem_responses(409))
    def change_host_key(change: HostKeyRequest) -> HostKeyView:
        """Announce the gateway's next host key to the boards, or switch to it."""
        known = fleet.switch_host_key(force=change.force) if change.switch else fleet.announce_host_key()
        return HostKeyView(fingerprint=known.fingerprint, told=list(known.told), waiting=list(known.waiting))

    @router.delete("/boards/{name}", status_code=204, dependencies=admin, responses=problem_responses(404))
    def remove_board(name: str) -> None:
        """Remove a board and revoke its key at once; its measurements stay."""
        fleet.remove(name)

    _add_measurements(router, context)
    return router


def _add_measurements(router: APIRouter, context: Context) -> None:
    """Add the routes of what boards have measured."""
    viewer, measured = [require(Role.VIEWER)], context.store.fleet

    @router.get("/board-classes/{name}/agreement", dependencies=viewer, responses=problem_responses(404))
    def show_agreement(name: str) -> AgreementView:
        """Tell how far each board of a class measures beside the others; no figure is corrected by it."""
        return _agreement(context, name)

    @router.get("/measurements", dependencies=viewer, responses=problem_responses(422))
    def list_measurements(
        board_class: Annotated[str | None, Query(description="Only those of this class of boards")] = None,
        structure_key: Annotated[str | None, Query(description="Only those of this weight-free structure")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 200,
        offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    ) -> MeasurementList:
        """List what boards answered, newest first, late answers too."""
        _check_class(context, board_class)
        found = measured.measurements(board_class=board_class, structure_key=structure_key, limit=limit, offset=offset)
        return MeasurementList(measurements=[MeasurementView.of(measurement) for measurement in found])


def _agreement(context: Context, board_class: str) -> AgreementView:
    fleet = context.store.fleet
    known = [c.name for c in fleet.board_classes()]
    if board_class not in known:
        raise NotFoundError(f"no board class is named {board_class!r}; known: {', '.join(known) or 'none'}")
    members = [board.name for board in fleet.boards() if board.board_class == board_class]
    return AgreementView.of(board_class, board_agreement(fleet.shared_figures(board_class)), members=members)


def _check_class(context: Context, board_class: str | None) -> None:
    known = [c.name for c in context.store.fleet.board_classes()]
    if board_class is not None and board_class not in known:
        raise InvalidRequestError(f"board_class: unknown class {board_class!r}; known: {', '.join(known) or 'none'}")
