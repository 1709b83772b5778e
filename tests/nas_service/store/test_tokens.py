from __future__ import annotations

import hashlib

import pytest
from sqlalchemy import text

from nas_service.errors import ConflictError, InvalidRequestError, NotFoundError
from nas_service.store import Store
from nas_service.store.tokens import Role


@pytest.mark.parametrize("role", list(Role))
def test_a_secret_tells_its_role(store: Store, role: Role) -> None:
    secret = store.tokens.create("ci", role)
    assert secret.startswith("nas_")
    assert len(secret) >= 47
    assert store.tokens.verify(secret) is role


def test_only_the_hash_of_a_secret_is_kept(store: Store) -> None:
    secret = store.tokens.create("ci", Role.ADMIN)
    with store.database.reading() as connection:
        [row] = connection.execute(text("SELECT * FROM tokens")).all()
    assert secret not in map(str, row)
    assert hashlib.sha256(secret.encode()).hexdigest() in row


@pytest.mark.parametrize("secret", ["", "nas_", "nas_" + "x" * 43, "nas_" + "x" * 10_000, "nas_\udc80", "Bearer nas_"])
def test_any_other_secret_has_no_role(store: Store, secret: str) -> None:
    store.tokens.create("ci", Role.ADMIN)
    assert store.tokens.verify(secret) is None


def test_a_revoked_token_opens_nothing_and_its_name_is_free_again(store: Store) -> None:
    first = store.tokens.create("ci", Role.VIEWER)
    store.tokens.revoke("ci")
    second = store.tokens.create("ci", Role.ADMIN)
    assert (store.tokens.verify(first), store.tokens.verify(second)) == (None, Role.ADMIN)
    assert [(t.name, t.revoked_at is None) for t in store.tokens.list()] == [("ci", False), ("ci", True)]


def test_a_name_in_use_is_refused(store: Store) -> None:
    store.tokens.create("ci", Role.VIEWER)
    with pytest.raises(ConflictError, match="a token called 'ci' exists; choose another name, or revoke it first"):
        store.tokens.create("ci", Role.VIEWER)


def test_a_name_that_is_no_name_is_refused(store: Store) -> None:
    with pytest.raises(InvalidRequestError, match="token name 'a b' must be 1 to 63 letters"):
        store.tokens.create("a b", Role.VIEWER)


def test_revoking_what_is_not_in_use_is_refused(store: Store) -> None:
    with pytest.raises(NotFoundError, match="no token in use is called 'ci'; `nas token ls` lists them"):
        store.tokens.revoke("ci")


def test_a_role_includes_those_below_it() -> None:
    assert [[a.includes(b) for b in Role] for a in Role] == [[True, False, False], [True, True, False], [True] * 3]
