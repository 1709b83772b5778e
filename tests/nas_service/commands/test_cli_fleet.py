from __future__ import annotations

import json
import re
import time
from dataclasses import replace

import pytest

from edge_agent import inference
from edge_agent.records import RuntimeSettings
from nas_service import class_settings
from nas_service.client import Client
from nas_service.commands import boards
from nas_service.commands.boards import stalled_classes, standing, why_out
from nas_service.errors import NasError
from tests.cluster.gateway.samples import heartbeat
from tests.nas_service.api.archive import measure_on_two
from tests.nas_service.commands.live import BOARD, enrol


def test_board_add_prints_the_code_alone_and_how_to_use_it(here):
    outcome = here("board", "add", "pi-1", "--class", "rpi5")
    assert outcome.code == 0
    assert outcome.out.strip().startswith("nas1-")
    assert f"nas-edge enroll 127.0.0.1:2222 {outcome.out.strip()}" in outcome.err
    assert "loopback only" in outcome.err
    assert "the code works once, and only for a while; older codes for pi-1 work no more" in outcome.err


@pytest.mark.parametrize(("name", "board_class"), [("bad name", "rpi5"), ("pi", "bad name"), ("pi", "rpi5\n")])
def test_board_add_says_in_words_which_names_there_may_be(here, name, board_class):
    refused = here("board", "add", name, "--class", board_class)
    field, wrong = ("name", name) if name != "pi" else ("board_class", board_class)
    assert refused.code == 1
    assert f"{field}: it is {wrong!r} but must be 1 to 63 of a-z, 0-9, '.', '_', '-', and begin with" in refused.err


def test_board_ls_names_boards_that_wait_to_enrol(here):
    here("board", "add", "pi-0", "--class", "rpi5")
    assert re.search(r"waits? to enrol \(.*pi-0.*\): run `nas-edge enroll` there", here("board", "ls").err)


def test_board_add_sets_a_new_classs_settings_and_show_tells_them(here, live):
    options = ["--provider", "tensorrt", "--threads", "2", "--memory-limit-mib", "512", "--no-arena"]
    assert here("board", "add", "orin-1", "--class", "orin", *options).code == 0
    (made,) = [c for c in live.store.fleet.board_classes() if c.name == "orin"]
    assert made.settings == RuntimeSettings(
        provider="TensorrtExecutionProvider", threads=2, arena=False, memory_limit_mib=512, prepare_timeout_s=1800.0
    )
    enrol(live.store, "orin-2", "orin", seed=22)
    shown = here("board", "show", "orin-2").out
    assert re.search(r"settings\.provider +TensorrtExecutionProvider\n", shown)
    assert re.search(r"settings\.prepare_timeout_s +1800\.0\n", shown)
    here("board", "rm", "orin-2")


def test_a_class_keeps_its_settings_and_says_how_to_join_it(here, live):
    assert here("board", "add", "xnn-1", "--class", "xnn", "--provider", "xnnpack").code == 0
    assert here("board", "add", "xnn-2", "--class", "xnn").code == 0
    refused = here("board", "add", "xnn-3", "--class", "xnn", "--provider", "cpu")
    assert refused.code == 1
    assert "XnnpackExecutionProvider" in refused.err
    assert "leave the settings out to join it, or name another class" in refused.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--provider", "npu"], "'npu' is not one of 'cpu', 'xnnpack', 'cuda', 'tensorrt'"),
        (["--threads", "0"], "0 is not in the range"),
        (["--prepare-timeout-s", "-1"], "prepare_timeout_s"),
    ],
)
def test_board_add_refuses_settings_that_cannot_be(here, options, said):
    refused = here("board", "add", "odd-1", "--class", "odd", *options)
    assert refused.code != 0
    assert said in refused.err


def test_the_providers_are_those_of_the_agent():
    assert class_settings.PROVIDERS == inference.PROVIDERS
    assert tuple(inference.PROVIDERS) == boards.PROVIDERS


def test_board_add_refuses_a_board_that_is_enrolled(here, search):
    outcome = here("board", "add", BOARD, "--class", "local-x86")
    assert outcome.code == 1
    assert "is enrolled; remove it first" in outcome.err


def test_board_ls_says_that_a_board_was_never_heard_from(here, search):
    listed = here("board", "ls")
    header, *rows = listed.out.splitlines()
    row = next(r for r in rows if r.startswith(BOARD))
    assert header.split() == ["BOARD", "CLASS", "STATE", "ACTIVITY", "LAST", "SEEN", "LEASE"]
    assert row.split()[:3] == [BOARD, "local-x86", "new"]
    assert row.split()[4] == "-"
    assert f"{BOARD} was never heard and gets no leases yet: on the board, start `nas-edge run`" in listed.err


def test_board_show_names_the_known_boards_when_there_is_no_such_one(here, search):
    outcome = here("board", "show", "pi-99")
    assert outcome.code == 1
    assert f"no board 'pi-99'; known boards: {BOARD}" in outcome.err


def test_board_show_gives_fields_and_json(here, search):
    assert "board_class" in here("board", "show", BOARD).out
    assert json.loads(here("board", "show", BOARD, "--json").out)["board_class"] == "local-x86"


def test_board_drain_and_rm(here, live):
    enrol(live.store, "pi-7", "rpi7", seed=7)
    assert "gets no further work" in here("board", "drain", "pi-7").err
    assert live.store.fleet.board("pi-7").state.value == "draining"
    assert "its key, or the code" in here("board", "rm", "pi-7").err
    assert "pi-7" not in here("board", "ls").out


def test_a_new_token_works_until_it_is_revoked(here, live):
    secret = here("token", "create", "ann", "--role", "submitter").out.strip()
    assert Client(live.url, secret).jobs(limit=1) is not None
    assert "submitter" in here("token", "ls").out
    assert "ann is revoked" in here("token", "revoke", "ann").err
    with pytest.raises(NasError, match=r"not known or was revoked; .*NAS_TOKEN"):
        Client(live.url, secret).jobs()


def test_a_viewers_token_may_not_submit_and_is_told_so(here, live, job_file, monkeypatch):
    monkeypatch.setenv("NAS_TOKEN", here("token", "create", "bob").out.strip())
    outcome = here("submit", str(job_file))
    assert outcome.code == 1
    assert "submitter is needed" in outcome.err


def test_no_token_is_sent_to_a_service_elsewhere(nas, live, monkeypatch):
    monkeypatch.setenv("NAS_URL", live.url)
    outcome = nas("jobs")
    assert outcome.code == 1
    assert "no bearer token was sent" in outcome.err


def test_draining_the_only_board_of_a_class_says_that_its_measurements_wait(here, live):
    enrol(live.store, "pi-8", "rpi8", seed=8)
    said = here("board", "drain", "pi-8").err
    assert "class rpi8 has no board that gets leases: pi-8 (draining)" in said
    assert "class rpi8 has no board" in here("board", "ls").err
    assert "pi-8 gets work again" in here("board", "undrain", "pi-8").err
    assert "pi-8 (new)" in here("board", "ls").err
    beat = replace(heartbeat("pi-8"), fingerprint={"model": "test"})
    live.store.fleet.heartbeats([(beat, time.time())])
    assert "class rpi8" not in here("board", "ls").err
    here("board", "rm", "pi-8")


def test_a_board_in_quarantine_is_listed_with_the_reason_and_the_way_out():
    board = {
        "name": "pi",
        "board_class": "rpi5",
        "state": "quarantined",
        "reason": "hot",
        "until": None,
        "presence": "here",
    }
    assert why_out(board) == (
        "pi is in quarantine until somebody has looked at it: hot; to end it now: nas board undrain pi"
    )
    assert stalled_classes([board, {**board, "name": "pi-2", "state": "ready", "reason": None}]) == []


def test_a_board_with_an_obstacle_is_out_and_says_which():
    board = {"name": "pi", "board_class": "rpi5", "state": "ready", "presence": "here", "reason": "two agents use it"}
    assert standing(board) == "out"
    assert why_out(board) == "pi gets no leases: two agents use it"
    assert "pi (out)" in stalled_classes([board])[0]


def test_a_board_whose_agent_was_stopped_is_not_lost_but_stopped(here, live):
    enrol(live.store, "pi-9", "rpi9", seed=9)
    beat = replace(heartbeat("pi-9"), fingerprint={"model": "test"}, state="stopping")
    live.store.fleet.heartbeats([(beat, time.time() - 500)])
    listed = here("board", "ls")
    assert re.search(r"pi-9 +rpi9 +stopped ", listed.out)
    assert "pi-9 was stopped and gets no leases: on the board, start `nas-edge run`" in listed.err
    assert "class rpi9 has no board that gets leases: pi-9 (stopped)" in listed.err
    here("board", "rm", "pi-9")


def test_a_board_that_fell_silent_is_named_with_where_to_look():
    board = {"name": "pi", "board_class": "rpi5", "state": "ready", "presence": "lost", "reason": None, "until": None}
    assert standing(board) == "lost"
    assert why_out(board) == (
        "pi is silent and gets no leases until it is heard again: on the board, see that `nas-edge run` runs and what "
        "`nas-edge doctor` says"
    )
    assert stalled_classes([board]) == [
        "class rpi5 has no board that gets leases: pi (lost); its measurements wait until one is back or added "
        "(nas board add NAME --class rpi5)"
    ]


def test_host_key_is_announced_then_switched_and_the_boards_that_do_not_know_it_are_named(here, live):
    outcome = here("board", "host-key")
    assert outcome.out.strip() == "ab" * 32
    assert "know it: pi-2, pi-3" in outcome.err
    assert "do not know it yet: pi-1" in outcome.err
    refused = here("board", "host-key", "--switch")
    assert refused.code == 1
    assert "not told of the new host key: pi-1" in refused.err
    assert "come back by themselves" in here("board", "host-key", "--switch", "--force").err


def test_board_agreement_names_the_known_classes_when_there_is_no_such_one(here, live):
    outcome = here("board", "agreement", "no-such-class")
    assert outcome.code == 1
    assert "no board class is named 'no-such-class'; known: " in outcome.err


def test_board_agreement_says_what_to_do_where_it_cannot_tell_anything(here, live):
    enrol(live.store, "lone-1", "lone", seed=21)
    outcome = here("board", "agreement", "lone")
    assert (outcome.code, outcome.out) == (0, "")
    assert "class lone has one board (lone-1), and agreement takes two" in outcome.err
    assert "nas board add NAME --class lone" in outcome.err
    enrol(live.store, "lone-2", "lone", seed=22)
    said = here("board", "agreement", "lone").err
    assert "nothing was measured yet by two boards of class lone (lone-1, lone-2)" in said
    assert "submit a job, and leave the boards running" in said
    for name in ("lone-1", "lone-2"):
        live.store.fleet.remove(name, now=2e9)
    assert "class lone has no board" in here("board", "agreement", "lone").err


def test_board_agreement_shows_each_boards_offset_with_its_interval(here, live):
    names = ("twin-1", "twin-2", "twin-3")
    for seed, name in enumerate(names, start=23):
        enrol(live.store, name, "twins", seed=seed)
    for means_ms in ((1.0, 1.1), (2.0, 2.21), (3.0, 3.29)):
        measure_on_two(live.store.fleet, boards=names[:2], board_class="twins", means_ms=means_ms, now=1e9)
    outcome = here("board", "agreement", "twins")
    header, first, second = outcome.out.splitlines()
    assert header.split() == ["BOARD", "OFFSET", "95", "%", "INTERVAL", "SHARED"]
    assert (first.split()[0], first.split()[1][:3], second.split()[1][:3]) == ("twin-1", "-4.", "+4.")
    assert first.split()[-1] == "3"
    assert "shared too little to be compared: twin-3" in outcome.err
    assert "(1 sigma)" in outcome.err
    found = json.loads(here("board", "agreement", "twins", "--json").out)
    assert [board["board"] for board in found["boards"]] == ["twin-1", "twin-2"]
    for name in names:
        live.store.fleet.remove(name, now=2e9)
