"""One-time codes in the database: made, looked up, used, withdrawn; of a code only its hash is kept."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from sqlalchemy import Connection, RowMapping, select

from nas_service.fleet import ExpectedBoard
from nas_service.store.fleet_tables import enrolments

_TOKEN_BYTES = 20


def make_code(connection: Connection, board: str, *, board_class: str, ttl_s: float, now: float) -> str:
    """Return the secret token of a new code for `board`, in place of any that nobody used."""
    withdraw_codes(connection, board)
    token = base64.b32encode(secrets.token_bytes(_TOKEN_BYTES)).decode().lower().rstrip("=")
    row = {"board": board, "board_class": board_class, "created_at": now, "expires_at": now + ttl_s}
    connection.execute(enrolments.insert().values(token_sha256=_hash(token), **row))
    return token


def code_of(connection: Connection, token: str) -> RowMapping | None:
    """Return the row of a code, used and expired ones too; None if it was never made or was withdrawn."""
    wanted = _hash(token)
    row = connection.execute(select(enrolments).where(enrolments.c.token_sha256 == wanted)).mappings().first()
    return row if row is not None and hmac.compare_digest(row["token_sha256"], wanted) else None


def use_code(connection: Connection, code: RowMapping, *, key: str, now: float) -> None:
    """Note by whom and when a code was used."""
    same = enrolments.c.token_sha256 == code["token_sha256"]
    connection.execute(enrolments.update().where(same).values(used_at=now, public_key=key))


def withdraw_codes(connection: Connection, board: str) -> bool:
    """Make the unused codes of a board void; return whether there were any."""
    unused = (enrolments.c.board == board, enrolments.c.used_at.is_(None))
    return connection.execute(enrolments.delete().where(*unused)).rowcount > 0


def expected_boards(connection: Connection, *, now: float) -> list[ExpectedBoard]:
    """Return the boards that have a usable code at `now`, by name."""
    query = select(enrolments.c.board, enrolments.c.board_class, enrolments.c.expires_at).order_by(enrolments.c.board)
    return [
        ExpectedBoard(name=name, board_class=board_class, expires_at=expires_at)
        for name, board_class, expires_at in connection.execute(
            query.where(enrolments.c.used_at.is_(None), enrolments.c.expires_at > now)
        )
    ]


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
