"""Bearer tokens and their roles; only the SHA-256 of a secret is kept, so a stolen store opens nothing."""

from __future__ import annotations

import enum
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import insert, select, update

from nas_service.errors import ConflictError, InvalidRequestError, NotFoundError
from nas_service.store.database import Database
from nas_service.store.tables import tokens

PREFIX = "nas_"
_SECRET_BYTES = 32
_MAX_SECRET_LENGTH = 200
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")


class Role(enum.Enum):
    """What a token may do: look, submit jobs too, or everything."""

    VIEWER = "viewer"
    SUBMITTER = "submitter"
    ADMIN = "admin"

    def includes(self, other: Role) -> bool:
        """Return whether this role may do all that the other one may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token without its secret; times are unix seconds."""

    name: str
    role: Role
    created_at: float
    revoked_at: float | None


class TokenStore:
    """The tokens of a store."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def create(self, name: str, role: Role) -> str:
        """Return the secret of a new token; it is shown this once and cannot be read again.

        Raises:
            InvalidRequestError: the name has characters that a name may not have.
            ConflictError: a token of that name is in use.
        """
        if not _NAME.fullmatch(name):
            raise InvalidRequestError(f"token name {name!r} must be 1 to 63 letters, digits, '.', '_', '@' or '-'")
        secret = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        active = select(tokens.c.id).where(tokens.c.name == name, tokens.c.revoked_at.is_(None))
        with self._database.transaction() as connection:
            if connection.execute(active).first() is not None:
                raise ConflictError(f"a token called {name!r} exists; choose another name, or revoke it first")
            connection.execute(
                insert(tokens).values(name=name, role=role.value, secret_sha256=_hash(secret), created_at=self._clock())
            )
        return secret

    def verify(self, secret: str) -> Role | None:
        """Return the role that `secret` has, or None if it has none (any more).

        Looked up by the secret's SHA-256, so the time it takes tells nothing about any other secret.
        """
        if len(secret) > _MAX_SECRET_LENGTH or not secret.startswith(PREFIX):
            return None
        digest = _hash(secret)
        wanted = select(tokens.c.role, tokens.c.secret_sha256).where(
            tokens.c.secret_sha256 == digest, tokens.c.revoked_at.is_(None)
        )
        with self._database.reading() as connection:
            row = connection.execute(wanted).first()
        return Role(row.role) if row is not None and hmac.compare_digest(row.secret_sha256, digest) else None

    def list(self) -> list[Token]:
        """Return all tokens, the oldest first, revoked ones too."""
        with self._database.reading() as connection:
            rows = connection.execute(select(tokens).order_by(tokens.c.id)).all()
        return [Token(name=r.name, role=Role(r.role), created_at=r.created_at, revoked_at=r.revoked_at) for r in rows]

    def revoke(self, name: str) -> None:
        """End the token called `name` at once.

        Raises:
            NotFoundError: no token in use has that name.
        """
        change = (
            update(tokens).where(tokens.c.name == name, tokens.c.revoked_at.is_(None)).values(revoked_at=self._clock())
        )
        with self._database.transaction() as connection:
            if connection.execute(change).rowcount == 0:
                raise NotFoundError(f"no token in use is called {name!r}; `nas token ls` lists them")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
