from __future__ import annotations

import pytest

from nas_service.errors import NasError
from nas_service.server_events import JobEvent, read_events


def test_an_event_is_read_with_kind_message_data_and_time():
    lines = ["id: 7", "event: epoch", 'data: {"message": "m", "data": {"epoch": 1}, "created_at": 5}', ""]
    expected = JobEvent(id=7, kind="epoch", message="m", data={"epoch": 1}, at_unix_s=5.0)
    assert list(read_events(lines)) == [expected]


def test_comments_and_unfinished_events_are_dropped():
    lines = [": keep-alive", "", "id: 1", "data: {}", "", "id: 2", "data: {}"]
    assert [event.id for event in read_events(lines)] == [1]


def test_data_over_several_lines_is_joined():
    assert [e.message for e in read_events(["id:1", "data:{", 'data:"message":"x"}', ""])] == ["x"]


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["data: {}", ""], "cannot be read"),
        (["id: 1", "data: {", ""], "cannot be read"),
        (["id: 1", "data: [1]", ""], "event 1 with list as data"),
    ],
)
def test_what_is_no_event_of_ours_is_refused(lines, text):
    with pytest.raises(NasError, match=text):
        list(read_events(lines))
