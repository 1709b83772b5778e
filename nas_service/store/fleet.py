"""The fleet in the database: board classes, boards, enrolment codes, requests and their measurements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from edge_agent.records import Heartbeat, RuntimeSettings, check_name
from nas_service.errors import ConflictError, InvalidRequestError, NotFoundError
from nas_service.fleet import (
    Board,
    BoardClass,
    BoardState,
    ExpectedBoard,
    Measurement,
    SharedFigure,
    fingerprint_difference,
    normal_public_key,
)
from nas_service.measurement import MeasurementRequest, RequestState
from nas_service.quarantine import Quarantine, quarantine
from nas_service.store.database import Database
from nas_service.store.enrolments import code_of, expected_boards, make_code, use_code, withdraw_codes
from nas_service.store.fleet_rows import board_of, class_of, measurement_of, states_of
from nas_service.store.fleet_tables import (
    board_classes,
    boards,
    measurements,
)
from nas_service.store.leases import LeaseStore
from nas_service.store.queue import check_class, enqueue
from nas_service.store.twins import shared_figures

SHARED_LIMIT = 200  # tells a class's boards apart to a fraction of what one measurement is unsure of
_RESERVED = frozenset({"enroll", "root"})


class FleetStore:
    """What is known of the boards; safe to use from several threads and processes. Times are unix seconds."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self.leases = LeaseStore(database)

    def create_enrolment(
        self, board: str, *, board_class: str, ttl_s: float, now: float, settings: RuntimeSettings | None = None
    ) -> str:
        """Return the secret token of a new one-time code for `board`; only its hash is kept.

        The class is made with `settings` if it is new. An older code for `board` that nobody used works no more: it
        may be for another class.

        Raises:
            InvalidRequestError: A name is not one, or the class exists with other settings.
            ConflictError: The board is enrolled already.
        """
        _check_names(board, board_class)
        with self._db.transaction() as connection:
            row = connection.execute(select(boards).where(boards.c.name == board)).mappings().first()
            if row is not None and row["state"] != BoardState.REMOVED.value:
                raise ConflictError(f"board {board!r} is enrolled; remove it first: nas board rm {board}")
            _ensure_class(connection, board_class, settings=settings, now=now)
            return make_code(connection, board, board_class=board_class, ttl_s=ttl_s, now=now)

    def code_valid(self, token: str, *, now: float) -> bool:
        """Return whether `token` was given out and has not expired.

        A used one is still let in until then, so that a board whose answer was lost can ask for it again; `redeem`
        refuses it to any other key.
        """
        with self._db.reading() as connection:
            row = code_of(connection, token)
        return row is not None and now < row["expires_at"]

    def redeem(self, token: str, *, public_key: str, fingerprint: dict[str, Any], now: float) -> Board:
        """Register the board that a code was made for, with its key; the same key may redeem a code twice.

        Raises:
            InvalidRequestError: The code is unknown, expired or used, the key is none, or the fingerprint is not that
                of the class.
            ConflictError: The board or the key is registered already.
        """
        key = normal_public_key(public_key)
        with self._db.transaction() as connection:
            row = code_of(connection, token)
            if row is None or now >= row["expires_at"]:
                raise InvalidRequestError("the code is unknown or has expired; make a new one with `nas board add`")
            if row["used_at"] is not None:
                if row["public_key"] != key:
                    raise InvalidRequestError("the code has been used; make a new one with `nas board add`")
                return _board(connection, row["board"])
            _check_free(connection, row["board"], key)
            _check_fingerprint(connection, row["board_class"], fingerprint)
            _write_board(connection, row["board"], board_class=row["board_class"], key=key, now=now)
            use_code(connection, row, key=key, now=now)
            return _board(connection, row["board"])

    def board_classes(self) -> list[BoardClass]:
        """Return the classes, by name."""
        with self._db.reading() as connection:
            return [class_of(row) for row in connection.execute(select(board_classes).order_by("name")).mappings()]

    def boards(self, *, removed: bool = False) -> list[Board]:
        """Return the boards, by name; the removed ones too if `removed`."""
        query = select(boards).order_by(boards.c.name)
        if not removed:
            query = query.where(boards.c.state != BoardState.REMOVED.value)
        with self._db.reading() as connection:
            return [board_of(row) for row in connection.execute(query).mappings()]

    def expected(self, *, now: float) -> list[ExpectedBoard]:
        """Return the boards that were added and may still enrol at `now`, by name."""
        with self._db.reading() as connection:
            return expected_boards(connection, now=now)

    def board(self, name: str) -> Board:
        """Return one board, removed or not.

        Raises:
            NotFoundError: There is none of that name.
        """
        with self._db.reading() as connection:
            return _board(connection, name)

    def board_key(self, name: str) -> str | None:
        """Return the public key that lets a board in; None if there is no such board or it was removed."""
        query = select(boards.c.public_key).where(boards.c.name == name, boards.c.state != BoardState.REMOVED.value)
        with self._db.reading() as connection:
            return connection.execute(query).scalar()

    def drain(self, name: str, *, draining: bool = True) -> Board:
        """Give a board no new leases, or, with `draining=False`, give it some again and forget what spoke against it.

        Raises:
            NotFoundError: There is no such board.
            ConflictError: It was removed.
        """
        state = BoardState.DRAINING if draining else BoardState.READY
        with self._db.transaction() as connection:
            if _board(connection, name).state is BoardState.REMOVED:
                raise ConflictError(f"board {name!r} was removed; enrol it again: nas board add {name} --class CLASS")
            connection.execute(boards.update().where(boards.c.name == name).values(state=state.value))
        if not draining:
            self.leases.pardon(name)
        return self.board(name)

    def quarantines(self, *, now: float) -> dict[str, Quarantine]:
        """Return the boards that get no leases because of how their last ones ended, and until when."""
        found = {name: quarantine(endings) for name, endings in self.leases.endings().items()}
        return {name: out for name, out in found.items() if out is not None and out.holds(now)}

    def remove(self, name: str, *, now: float) -> Board | None:
        """Revoke a board's key and its unused code; from now on it cannot connect, and its leases go to others.

        Returns:
            The board; None if it only waited to enrol.

        Raises:
            NotFoundError: There is no such board, and none of that name waits to enrol.
        """
        with self._db.transaction() as connection:
            waited = withdraw_codes(connection, name)
            if waited and connection.execute(select(boards.c.name).where(boards.c.name == name)).first() is None:
                return None
            if _board(connection, name).state is not BoardState.REMOVED:
                connection.execute(
                    boards.update().where(boards.c.name == name).values(state=BoardState.REMOVED.value, revoked_at=now)
                )
            return _board(connection, name)

    def heartbeats(self, beats: Sequence[tuple[Heartbeat, float]]) -> None:
        """Keep the last heartbeat of each board, with the time at which it arrived here."""
        with self._db.transaction() as connection:
            frozen = {c["name"]: c["fingerprint"] for c in connection.execute(select(board_classes)).mappings()}
            for beat, seen_at in beats:
                row = connection.execute(select(boards).where(boards.c.name == beat.board)).mappings().first()
                if row is None:
                    continue
                expected = frozen.get(row["board_class"])
                mismatch = None if expected is None else fingerprint_difference(expected, beat.fingerprint)
                anew = row["incarnation"] != beat.incarnation
                returned = anew and row["superseded"] == beat.incarnation
                connection.execute(
                    boards.update()
                    .where(boards.c.name == beat.board)
                    .values(
                        heartbeat=beat.to_dict(),
                        incarnation=beat.incarnation,
                        incarnation_since=seen_at if anew else row["incarnation_since"],
                        superseded=row["incarnation"] if anew else row["superseded"],
                        rival_at=seen_at if returned else row["rival_at"],
                        last_seen=seen_at,
                        mismatch=mismatch,
                    )
                )

    def request(self, requests: Sequence[MeasurementRequest], *, now: float) -> list[RequestState]:
        """Ask for measurements, and return where each stands; asking again changes nothing.

        One that is done answers at once. One that failed for want of a working board is tried anew; one that failed
        because of the model stays failed.

        Raises:
            InvalidRequestError: A board class is unknown, or has other settings.
        """
        with self._db.transaction() as connection:
            for request in requests:
                check_class(connection, request)
                enqueue(connection, request, now=now)
            states = states_of(connection, [r.measurement_key for r in requests])
        return [states[r.measurement_key] for r in requests]

    def states(self, keys: Sequence[str]) -> dict[str, RequestState]:
        """Return where the requests with these measurement keys stand; an unknown key is absent."""
        with self._db.reading() as connection:
            return states_of(connection, list(keys))

    def result_for(self, measurement_key: str) -> RequestState | None:
        """Return where one request stands, or None if nobody asked."""
        return self.states([measurement_key]).get(measurement_key)

    def measurements(
        self,
        *,
        board_class: str | None = None,
        structure_key: str | None = None,
        limit: int = 1000,
        offset: int = 0,
    ) -> list[Measurement]:
        """Return stored results, newest first, late ones too."""
        query = select(measurements).order_by(measurements.c.received_at.desc(), measurements.c.result_id)
        if board_class is not None:
            query = query.where(measurements.c.board_class == board_class)
        if structure_key is not None:
            query = query.where(measurements.c.structure_key == structure_key)
        with self._db.reading() as connection:
            rows = connection.execute(query.limit(limit).offset(offset)).mappings()
            return [found for row in rows if (found := measurement_of(row)) is not None]

    def shared_figures(self, board_class: str, *, limit: int = SHARED_LIMIT) -> list[SharedFigure]:
        """Return what the boards of a class found for the `limit` subjects that two or more of them measured last."""
        with self._db.reading() as connection:
            return shared_figures(connection, board_class, limit=limit)


def _check_names(board: str, board_class: str) -> None:
    for what, name in (("board", board), ("board class", board_class)):
        try:
            check_name(name, what=what)
        except ValueError as error:
            raise InvalidRequestError(str(error)) from None
    if board in _RESERVED:
        raise InvalidRequestError(f"board name {board!r} is reserved; choose another")


def _ensure_class(connection: Connection, name: str, *, settings: RuntimeSettings | None, now: float) -> None:
    row = connection.execute(select(board_classes).where(board_classes.c.name == name)).mappings().first()
    if row is None:
        chosen = settings or RuntimeSettings()
        connection.execute(
            board_classes.insert().values(name=name, fingerprint=None, settings=chosen.to_dict(), created_at=now)
        )
    elif settings is not None and settings.to_dict() != row["settings"]:
        raise InvalidRequestError(
            f"board class {name!r} has the runtime settings {row['settings']} and keeps them; "
            "leave the settings out to join it, or name another class"
        )


def _board(connection: Connection, name: str) -> Board:
    row = connection.execute(select(boards).where(boards.c.name == name)).mappings().first()
    if row is None:
        known = [n for (n,) in connection.execute(select(boards.c.name).order_by(boards.c.name).limit(10))]
        raise NotFoundError(f"no board is named {name!r}; known: {', '.join(known) or 'none'}")
    return board_of(row)


def _check_free(connection: Connection, name: str, key: str) -> None:
    live = connection.execute(select(boards).where(boards.c.state != BoardState.REMOVED.value)).mappings().all()
    for row in live:
        if row["name"] == name:
            raise ConflictError(f"board {name!r} is enrolled already; remove it first: nas board rm {name}")
        if row["public_key"] == key:
            raise ConflictError(f"this key belongs to board {row['name']!r}; give each board a home folder of its own")


def _check_fingerprint(connection: Connection, board_class: str, fingerprint: dict[str, Any]) -> None:
    row = connection.execute(select(board_classes).where(board_classes.c.name == board_class)).mappings().one()
    if row["fingerprint"] is None:
        update = board_classes.update().where(board_classes.c.name == board_class)
        connection.execute(update.values(fingerprint=fingerprint))
    elif difference := fingerprint_difference(row["fingerprint"], fingerprint):
        raise InvalidRequestError(
            f"this board is not of class {board_class!r}: {difference}; make it the same, or enrol it in another class"
        )


def _write_board(connection: Connection, name: str, *, board_class: str, key: str, now: float) -> None:
    values = {
        "board_class": board_class,
        "public_key": key,
        "state": BoardState.READY.value,
        "enrolled_at": now,
        "revoked_at": None,
        "incarnation": None,
        "incarnation_since": None,
        "heartbeat": None,
        "last_seen": None,
        "mismatch": None,
        "superseded": None,
        "rival_at": None,
    }
    if connection.execute(select(boards.c.name).where(boards.c.name == name)).first() is None:
        connection.execute(boards.insert().values(name=name, **values))
    else:
        connection.execute(boards.update().where(boards.c.name == name).values(**values))
