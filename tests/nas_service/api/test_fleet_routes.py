from __future__ import annotations

import pytest

from edge_agent.records import stable_hash
from nas_service.errors import ConflictError
from nas_service.store.tokens import Role

from .archive import beat, enrol, lease_one, measure, measure_on_two
from .conftest import Api

BOARD = {"name": "pi-kitchen", "board_class": "rpi5"}


def test_adding_a_board_gives_its_code_once(api: Api) -> None:
    answer = api.post("/api/v1/boards", json=BOARD)
    assert answer.status_code == 201
    assert answer.json()["code"].startswith("nas1-")
    assert answer.json()["code"].split("-")[1] not in api.get("/api/v1/boards").text


def test_adding_an_enrolled_board_is_a_conflict(api: Api) -> None:
    enrol(api.store.fleet, "pi-kitchen", board_class="rpi5", now=1000.0)
    answer = api.post("/api/v1/boards", json=BOARD)
    assert answer.status_code == 409
    assert "nas board rm pi-kitchen" in answer.json()["detail"]


def test_boards_are_drained_and_removed(api: Api) -> None:
    enrol(api.store.fleet, "pi-kitchen", board_class="rpi5", now=1000.0)
    assert api.post("/api/v1/boards/pi-kitchen/drain").status_code == 204
    assert api.get("/api/v1/boards").json()["boards"][0]["state"] == "draining"
    assert api.post("/api/v1/boards/pi-kitchen/undrain").status_code == 204
    assert api.get("/api/v1/boards").json()["boards"][0]["state"] == "ready"
    assert api.ask("DELETE", "/api/v1/boards/pi-kitchen").status_code == 204
    assert api.get("/api/v1/boards").json() == {"boards": [], "expected": []}


def test_an_unknown_board_is_not_found_and_the_known_ones_are_named(api: Api) -> None:
    enrol(api.store.fleet, "pi", board_class="rpi5", now=1000.0)
    answer = api.post("/api/v1/boards/pie/drain")
    assert answer.status_code == 404
    assert "no board is named 'pie'; known: pi" in answer.json()["detail"]


class RemoteConflict(ConflictError):
    """A conflict as it arrives from another process: its text is a traceback, its cause what was raised there."""

    def __init__(self) -> None:
        super().__init__("Traceback (most recent call last): /srv/nas/gateway.py")
        self.cause = ConflictError("board 'pi' was removed")


def test_an_error_of_the_gateway_is_told_without_its_traceback(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise RemoteConflict

    monkeypatch.setattr(api.fleet, "drain", fail)
    answer = api.post("/api/v1/boards/pi/drain")
    assert (answer.status_code, answer.json()["detail"]) == (409, "board 'pi' was removed")


def test_boards_are_listed_with_their_state_and_their_lease(api: Api) -> None:
    fleet = api.store.fleet
    enrol(fleet, "pi", board_class="rpi5", now=1000.0)
    beat(fleet, "pi", state="measuring", now=1010.0)
    lease_one(fleet, board="pi", board_class="rpi5", now=1020.0)
    (board,) = api.get("/api/v1/boards", role="viewer").json()["boards"]
    assert (board["state"], board["activity"], board["last_seen"]) == ("ready", "measuring", 1010.0)
    (lease,) = board["leases"]
    assert (lease["half"], lease["tier"], lease["lease_id"]) == ("big", "screen", board["lease"])
    assert "public_key" not in board


def test_measurements_are_listed_newest_first_by_class(api: Api) -> None:
    fleet = api.store.fleet
    for name, now in (("rpi5", 1000.0), ("jetson", 2000.0)):
        enrol(fleet, f"board-{name}", board_class=name, now=now)
        key = stable_hash(name)
        measure(fleet, structure_key=key, half="big", board=f"board-{name}", board_class=name, mean_ms=3.0, now=now)
    rows = api.get("/api/v1/measurements", role="viewer").json()["measurements"]
    assert [r["board_class"] for r in rows] == ["jetson", "rpi5"]
    assert (rows[0]["latency"]["mean_ms"], rows[0]["memory"]["memory_kib"], rows[0]["energy"]) == (3.0, 500, None)
    (row,) = api.get("/api/v1/measurements?board_class=rpi5").json()["measurements"]
    assert row["board"] == "board-rpi5"
    assert api.get("/api/v1/measurements?limit=1&offset=2").json()["measurements"] == []


def test_measurements_of_an_unknown_class_are_refused_with_those_known(api: Api) -> None:
    enrol(api.store.fleet, "pi", board_class="rpi5", now=1.0)
    answer = api.get("/api/v1/measurements?board_class=rpi6")
    assert answer.status_code == 422
    assert "unknown class 'rpi6'; known: rpi5" in answer.json()["detail"]


def test_agreement_tells_offsets_of_the_boards_that_share_figures_and_names_the_others(api: Api) -> None:
    fleet = api.store.fleet
    for name in ("pi-1", "pi-2", "pi-3"):
        enrol(fleet, name, board_class="rpi5", now=1000.0)
    for mean_ms in (1.0, 2.0, 3.0, 4.0):
        means = (mean_ms, 1.1 * mean_ms)
        measure_on_two(fleet, boards=("pi-1", "pi-2"), board_class="rpi5", means_ms=means, now=1000.0)
    found = api.get("/api/v1/board-classes/rpi5/agreement", role="viewer").json()
    offsets = {board["board"]: round(board["percent"], 2) for board in found["boards"]}
    assert offsets == {"pi-1": -4.65, "pi-2": 4.88}
    assert (found["members"], found["not_compared"], found["subjects"]) == (["pi-1", "pi-2", "pi-3"], ["pi-3"], 4)
    assert found["boards"][0]["low_percent"] == pytest.approx(found["boards"][0]["high_percent"], abs=0.01)


def test_agreement_is_empty_where_nothing_is_shared_and_its_class_must_be_known(api: Api) -> None:
    enrol(api.store.fleet, "pi", board_class="rpi5", now=1.0)
    found = api.get("/api/v1/board-classes/rpi5/agreement").json()
    assert (found["boards"], found["not_compared"], found["spread_percent"]) == ([], ["pi"], None)
    unknown = api.get("/api/v1/board-classes/rpi6/agreement")
    assert unknown.status_code == 404
    assert "no board class is named 'rpi6'; known: rpi5" in unknown.json()["detail"]
    assert api.get("/api/v1/board-classes/rpi5/agreement", role=None).status_code == 401


@pytest.mark.parametrize("role", list(Role))
def test_a_new_token_works_at_once_and_is_shown_once(api: Api, role: Role) -> None:
    answer = api.post("/api/v1/tokens", json={"name": "me", "role": role.value})
    assert answer.status_code == 201
    secret = answer.json()["secret"]
    assert api.store.tokens.verify(secret) is role
    listed = api.get("/api/v1/tokens")
    assert secret not in listed.text
    assert listed.json()["tokens"][-1]["name"] == "me"


def test_a_token_is_revoked_by_its_name(api: Api) -> None:
    assert api.ask("DELETE", "/api/v1/tokens/viewer").status_code == 204
    assert api.get("/api/v1/jobs", role="viewer").status_code == 401
    assert api.ask("DELETE", "/api/v1/tokens/viewer").status_code == 404


def test_a_token_of_a_used_name_is_a_conflict(api: Api) -> None:
    assert api.post("/api/v1/tokens", json={"name": "viewer"}).status_code == 409


def test_an_unknown_role_is_refused_with_those_there_are(api: Api) -> None:
    answer = api.post("/api/v1/tokens", json={"name": "x", "role": "root"})
    assert answer.status_code == 422
    assert "'viewer', 'submitter' or 'admin'" in answer.json()["detail"]
