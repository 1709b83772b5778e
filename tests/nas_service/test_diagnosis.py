from __future__ import annotations

import pytest

from nas_service import diagnosis as d

GIB = 1 << 30


@pytest.mark.parametrize(
    ("check", "verdict", "found"),
    [
        (d.check_python((3, 11, 2)), "ok", "3.11.2"),
        (d.check_python((3, 10, 9)), "problem", "3.10.9, the service needs 3.11"),
        (d.check_packages({"torch": "2.14", "ray": None}), "problem", "missing: ray"),
        (d.check_packages({"torch": "2.14"}), "ok", "all 1 (torch 2.14)"),
        (d.check_cores(1), "warning", "1 usable"),
        (d.check_cores(8), "ok", "8 usable"),
        (d.check_memory(16 * GIB, 8 * GIB), "ok", "8.0 GiB free of 16.0 GiB"),
        (d.check_memory(16 * GIB, GIB), "warning", "1.0 GiB free of 16.0 GiB, 4.0 GiB are advised"),
        (d.check_memory(None, None), "warning", "unknown"),
        (d.check_disk(9 * GIB, folder="/x"), "ok", "9.0 GiB free under /x"),
        (d.check_disk(2 * GIB, folder="/x"), "warning", "2.0 GiB free under /x"),
        (d.check_disk(0, folder="/x"), "problem", "0.0 GiB free under /x"),
        (d.check_port(None, name="p", running=False, bindable=False), "ok", "a free one is chosen at `nas up`"),
        (d.check_port(80, name="p", running=True, bindable=False), "ok", "80 is ours"),
        (d.check_port(80, name="p", running=False, bindable=True), "ok", "80 is free"),
        (d.check_port(80, name="p", running=False, bindable=False), "problem", "80 is taken by another program"),
        (d.check_service("http://x", None), "ok", "answers at http://x"),
        (d.check_service("http://x", "refused"), "problem", "http://x: refused"),
        (d.check_service(None, None), "warning", "none is running"),
        (d.check_settings("bad NAS_URL"), "problem", "bad NAS_URL"),
        (d.check_token(None), "ok", "accepted"),
        (d.check_token("unknown"), "problem", "unknown"),
        (d.check_gateway(None, banner=None), "warning", "no gateway is known"),
        (d.check_gateway(("h", 22), banner="SSH-2.0-x"), "ok", "h:22 greets as SSH-2.0-x"),
        (d.check_gateway(("h", 22), banner="HTTP"), "problem", "h:22 greets as 'HTTP', which is no SSH"),
        (d.check_gateway(("h", 22), banner=None), "problem", "h:22 does not answer"),
    ],
)
def test_a_check_says_what_it_found_and_advises_unless_all_is_well(check, verdict, found):
    assert (check.verdict, check.found) == (verdict, found)
    assert (check.advice is None) == (verdict == "ok")


@pytest.mark.parametrize(
    ("boards", "verdict", "found"),
    [
        ([], "warning", "none enrolled"),
        ([{"name": "a", "presence": "here"}], "ok", "1 enrolled, all heard from"),
        ([{"name": "a", "presence": "new"}], "warning", "0 of 1 heard from; silent: a"),
        ([{"name": "a", "presence": "lost"}, {"name": "b", "presence": "suspect"}], "warning",
         "1 of 2 heard from; silent: a"),
    ],
)  # fmt: skip
def test_boards_that_are_lost_or_were_never_heard_are_named(boards, verdict, found):
    check = d.check_boards(boards)
    assert (check.verdict, check.found) == (verdict, found)


def test_boards_that_wait_to_enrol_are_named_where_there_is_no_other():
    advice = d.check_boards([], expected=["pi"]).advice
    assert advice.startswith("1 board was added and waits to enrol (pi): run `nas-edge enroll` there")
    assert d.check_boards([{"name": "a", "presence": "here"}], expected=["pi"]).verdict == "ok"
