"""A result is written again until it is acknowledged, and ever more rarely where the gateway forbids it."""

from __future__ import annotations

import random

import pytest

from edge_agent.delivery import FORBIDDEN_LAST_S, RESEND_S, Delivery


@pytest.fixture
def delivery() -> Delivery:
    return Delivery(rng=random.Random(0))


def next_due_s(delivery: Delivery, result_id: str, *, now: int) -> int:
    return next(t for t in range(now, now + 10_000) if delivery.is_due(result_id, now=t))


def test_what_got_no_answer_is_due_again_after_half_a_minute(delivery: Delivery) -> None:
    assert delivery.is_due("r1", now=0)
    delivery.wrote("r1", now=0)
    assert next_due_s(delivery, "r1", now=0) == RESEND_S


def test_what_is_forbidden_is_tried_ever_more_rarely_up_to_an_hour(delivery: Delivery) -> None:
    now, waits = 0, []
    for _ in range(200):
        delivery.forbidden("r1", now=now)
        due = next_due_s(delivery, "r1", now=now)
        waits.append(due - now)
        now = due
    assert min(waits) >= RESEND_S
    assert max(waits[:3]) <= 240
    assert FORBIDDEN_LAST_S * 0.9 < max(waits) <= FORBIDDEN_LAST_S
    assert len(set(waits)) > 100


def test_what_is_forbidden_holds_back_no_other_result(delivery: Delivery) -> None:
    for _ in range(10):
        delivery.forbidden("r1", now=0)
    assert not delivery.is_due("r1", now=1)
    assert delivery.is_due("r2", now=1)


def test_it_is_news_once_and_again_after_it_was_allowed(delivery: Delivery) -> None:
    assert [delivery.forbidden("r1", now=0) for _ in range(3)] == [True, False, False]
    delivery.wrote("r1", now=1)
    assert delivery.forbidden("r1", now=2)


def test_a_new_connection_makes_all_due_and_no_news(delivery: Delivery) -> None:
    delivery.forbidden("r1", now=0)
    delivery.wrote("r2", now=0)
    delivery.reconnected()
    assert delivery.is_due("r1", now=0)
    assert delivery.is_due("r2", now=0)
    assert not delivery.forbidden("r1", now=0)
