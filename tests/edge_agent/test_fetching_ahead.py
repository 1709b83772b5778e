"""The artefact of the next lease is here before timing begins, and nothing is fetched while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from edge_agent.errors import ArtifactError, LinkError
from edge_agent.home import Home
from edge_agent.records import Artifact, Lease
from tests.edge_agent import paper_mailbox
from tests.edge_agent.paper_mailbox import PaperMailbox, paper_lease


def make_lease(number: int, *, size_bytes: int = 1000) -> Lease:
    model = Artifact(sha256=f"{number:064d}", size_bytes=size_bytes)
    return replace(paper_lease(f"l{number}", token=number), model=model)


@pytest.fixture
def serve(home: Home, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    def run(leases: list[Lease], **more: Any) -> list[str]:
        mailbox = PaperMailbox(leases={lease.lease_id: lease.to_json() for lease in leases}, **more)
        paper_mailbox.serve(home, mailbox, monkeypatch)
        return mailbox.events

    return run


def test_the_next_artefact_is_fetched_before_timing_and_once(serve: Callable[..., list[str]]) -> None:
    events = serve([make_lease(1), make_lease(2), make_lease(3)])
    first = ["fetch l1", "fetch l2", "quiet l1", "result l1"]
    assert events == [*first, "fetch l2", "fetch l3", "quiet l2", "result l2", "fetch l3", "quiet l3", "result l3"]


def test_a_lease_that_comes_while_a_model_is_prepared_is_fetched_too(serve: Callable[..., list[str]]) -> None:
    events = serve([make_lease(1), make_lease(2)], appear={"l2": 3})
    assert events[:4] == ["fetch l1", "fetch l2", "quiet l1", "result l1"]


@pytest.mark.parametrize("error", [LinkError("cut"), ArtifactError("damaged")], ids=["link", "artefact"])
def test_what_goes_wrong_ahead_spoils_nothing(serve: Callable[..., list[str]], error: Exception) -> None:
    events = serve([make_lease(1), make_lease(2)], failing={"l2": error})
    assert events == ["fetch l1", "fetch l2", "quiet l1", "result l1", "fetch l2", "quiet l2", "result l2"]


def test_artefacts_that_would_drive_each_other_out_of_the_cache_are_fetched_in_turn(
    serve: Callable[..., list[str]],
) -> None:
    events = serve([make_lease(1, size_bytes=300 << 20), make_lease(2, size_bytes=300 << 20)])
    assert events == ["fetch l1", "quiet l1", "result l1", "fetch l2", "quiet l2", "result l2"]
