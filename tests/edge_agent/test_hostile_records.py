"""Records from another machine: whatever it sends is a record that can be written again, or a RecordError."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.records import (
    Acknowledgement,
    AgentSettings,
    Artifact,
    EnrolmentRequest,
    Heartbeat,
    Lease,
    Record,
    RecordError,
    Result,
    check_plain,
    shortened,
)
from tests.cluster.gateway.samples import good_result, heartbeat

LEASE = Lease(
    lease_id="l-1",
    token=1,
    board="pi-1",
    board_class="rpi5",
    tier="probe",
    half="little",
    model=Artifact(sha256="a" * 64, size_bytes=10),
    structure_key="b" * 64,
    measurement_key="c" * 64,
    ttl_s=180.0,
    deadline_unix_s=2000.0,
)
SAMPLES: tuple[Record, ...] = (
    LEASE,
    good_result(LEASE),
    heartbeat("pi-1"),
    Acknowledgement(result_id="r1", stored=True),
    AgentSettings(board="pi-1", board_class="rpi5", host_unix_s=1.0),
    EnrolmentRequest(public_key="ssh-ed25519 AAAA", agent_version="1"),
)

texts = st.text(st.characters(codec=None), max_size=20) | st.just("x" * 5000) | st.just("\ud800")
leaves = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**400), max_value=10**400)
    | st.sampled_from([10**400, -(10**400), 1 << 63, 0, -1])
    | st.floats(allow_nan=True, allow_infinity=True)
    | texts
)


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"k": value}
    return value


hostile = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)
) | st.sampled_from([40, 600, 900]).map(nested)


@st.composite
def forged(draw: st.DrawFn) -> tuple[type[Record], str]:
    """Return a kind of record, and the text of one in which something was replaced, added or left out."""
    record = draw(st.sampled_from(SAMPLES))
    data = record.to_dict()
    place = data
    while (inner := [v for v in place.values() if isinstance(v, dict)]) and draw(st.booleans()):
        place = draw(st.sampled_from(inner))
    for _ in range(draw(st.integers(min_value=1, max_value=3))):
        if key := draw(st.sampled_from([*place, "more"])):
            place[key] = draw(hostile)
    return type(record), json.dumps(data)


@settings(max_examples=400, deadline=None)
@given(forged())
def test_whatever_comes_is_a_record_that_can_be_written_again_or_a_record_error(case: tuple[type[Record], str]) -> None:
    kind, text = case
    try:
        record = kind.from_json(text)
    except RecordError:
        return
    assert kind.from_json(record.to_json()) == record


def test_message_is_short_and_can_be_written_whatever_it_is_about() -> None:
    with pytest.raises(RecordError) as caught:
        Lease.from_dict(LEASE.to_dict() | {"\ud800" + "x" * 5000: nested(900), "board": nested(900)})
    assert len(str(caught.value).encode()) < 1010


@pytest.mark.parametrize("kind", [Lease, Result, Heartbeat])
@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000, "NaN", '"\\ud800"', "\x00\xff"])
def test_what_is_no_object_is_a_record_error(kind: type[Record], text: str) -> None:
    with pytest.raises(RecordError):
        kind.from_json(text)


def test_number_beyond_every_float_is_refused_by_its_field() -> None:
    data = good_result(LEASE).to_dict()
    data["latency"]["mean_ms"] = 10**400
    with pytest.raises(RecordError, match=r"result\.latency\.mean_ms is an integer of 1329 bits but must fit into 64"):
        Result.from_dict(data)


def test_part_without_a_form_of_its_own_may_be_32_deep_and_no_deeper() -> None:
    check_plain(nested(32), where="health")
    with pytest.raises(RecordError, match=r"is nested more than 32 deep"):
        Heartbeat.from_dict(heartbeat("pi-1").to_dict() | {"health": {"k": nested(600)}})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1 << 63, "\ud800", {"\udfff": 1}, {1, 2}, b"x"])
def test_part_without_a_form_of_its_own_is_plain_json(value: Any) -> None:
    with pytest.raises(RecordError, match="health"):
        check_plain({"a": [value]}, where="health")


@pytest.mark.parametrize("incarnation", ["", "a b", "x" * 129, "nul\0"])
def test_incarnation_is_a_short_visible_word(incarnation: str) -> None:
    with pytest.raises(RecordError, match=r"incarnation is .* but must be 1 to 128 visible ASCII characters"):
        heartbeat("pi-1", incarnation=incarnation)


def test_long_text_says_how_much_was_cut() -> None:
    assert shortened("x" * 3000, 100).endswith("xx ... (3000 characters)")
    assert len(shortened("x" * 3000, 100)) == 100
    assert shortened("a\0b\ud800", 100) == "a\ufffdb\ufffd"
