from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from nas_service.client import PAGE_SIZE, Client
from nas_service.connection import error_from
from nas_service.errors import ConflictError, InvalidRequestError, NasError, NotFoundError, RetryableError
from nas_service.home import Home, ServiceState

Handler = Callable[[httpx.Request], httpx.Response]


def client(handler: Handler, *, naps: list[float] | None = None) -> Client:
    sleep = (naps if naps is not None else []).append
    return Client("http://nas.test", "secret", transport=httpx.MockTransport(handler), sleep=sleep)


class Unreachable:
    """Refuses the first `times` requests, then answers."""

    def __init__(self, times: int) -> None:
        self.times, self.asked = times, 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.asked <= self.times:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json={"id": "a", "jobs": [], "state": "queued"})


def test_a_get_is_repeated_until_somebody_answers():
    naps: list[float] = []
    handler = Unreachable(3)
    assert client(handler, naps=naps).job("a")["id"] == "a"
    assert (handler.asked, naps) == (4, [0.2, 0.5, 1.0])


def test_a_get_gives_up_after_four_repeats_and_says_where_it_asked():
    handler = Unreachable(99)
    with pytest.raises(RetryableError, match=r"no answer from the service at http://nas\.test \(refused\).*nas up"):
        client(handler).jobs()
    assert handler.asked == 5


def test_a_post_is_never_repeated_because_it_might_act_twice():
    handler = Unreachable(1)
    with pytest.raises(RetryableError):
        client(handler).submit({"kind": "search"})
    assert handler.asked == 1


@pytest.mark.parametrize(
    ("status", "leaf"),
    [
        (400, InvalidRequestError),
        (401, NasError),
        (403, NasError),
        (404, NotFoundError),
        (409, ConflictError),
        (413, InvalidRequestError),
        (422, InvalidRequestError),
        (500, NasError),
        (503, RetryableError),
    ],
)
def test_a_problem_becomes_the_error_that_says_what_to_do_next(status, leaf):
    body = json.dumps({"title": "Title", "detail": "what the server says"}).encode()
    error = error_from(status, body)
    assert type(error) is leaf
    assert str(error).startswith("what the server says")


def test_a_problem_lists_its_errors_once_each():
    problem = {
        "detail": "two things",
        "errors": [{"path": "a.b", "message": "x"}, {"path": "", "message": "two things"}],
    }
    assert str(error_from(422, json.dumps(problem).encode())) == "two things\n  a.b: x"


@pytest.mark.parametrize("body", [b"<html>", b"", b"[1]", b"{}"])
def test_an_answer_that_is_no_problem_still_gives_its_status(body):
    assert str(error_from(502, body)) == "the service answered with status 502"


def test_the_token_goes_as_a_bearer_and_names_are_quoted():
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(204)

    client(handler).remove_board("a/b?c")
    assert seen[0].headers["Authorization"] == "Bearer secret"
    assert seen[0].url.raw_path == b"/api/v1/boards/a%2Fb%3Fc"


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_that_would_change_the_address_is_refused(name):
    with pytest.raises(InvalidRequestError, match="is no name"):
        client(Unreachable(0)).job(name)


def test_candidates_are_fetched_page_by_page():
    def handler(request: httpx.Request) -> httpx.Response:
        offset = int(request.url.params["offset"])
        rows = [{"number": n} for n in range(offset, min(offset + PAGE_SIZE, 450))]
        return httpx.Response(200, json={"candidates": rows})

    assert [c["number"] for c in client(handler).candidates("job")] == list(range(450))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (httpx.Response(200, text="<html>hello"), "instead of JSON; check that NAS_URL"),
        (httpx.Response(200, json=[1]), "answered with list instead of an object"),
        (httpx.Response(200, json={"other": 1}), "answered without a list of jobs"),
        (httpx.Response(302, headers={"location": "https://x"}), "redirects to 'https://x'; set NAS_URL"),
    ],
)
def test_an_answer_that_is_not_the_services_is_explained(answer, text):
    with pytest.raises(NasError, match=text):
        client(lambda _: answer).jobs()


class BrokenStream(httpx.SyncByteStream):
    """Sends some bytes, then loses the connection."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __iter__(self):
        yield self.text.encode()
        raise httpx.ReadError("connection lost")


def event(number: int) -> str:
    return f'id: {number}\nevent: note\ndata: {{"message": "m{number}"}}\n\n'


def test_events_go_on_after_the_last_one_seen_when_the_stream_breaks():
    resumed_after: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/events"):
            return httpx.Response(200, json={"state": "finished"})
        resumed_after.append(request.headers["Last-Event-ID"])
        if len(resumed_after) == 1:
            return httpx.Response(200, stream=BrokenStream(event(1) + event(2) + "id: 3\ndata: {"))
        return httpx.Response(200, text=event(2) + event(3))

    assert [e.id for e in client(handler).events("job")] == [1, 2, 3]
    assert resumed_after == ["0", "2"]


def test_events_do_not_end_while_the_job_runs():
    states = iter(["searching", "finished"])

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            after = int(request.headers["Last-Event-ID"])
            return httpx.Response(200, text=event(after + 1))
        return httpx.Response(200, json={"state": next(states)})

    assert [e.message for e in client(handler).events("job")] == ["m1", "m2"]


def test_events_of_an_unknown_job_raise_at_once():
    with pytest.raises(NotFoundError, match="no job"):
        list(client(lambda _: httpx.Response(404, json={"detail": "no job 'x'"})).events("x"))


def test_events_give_up_when_nobody_answers_for_long():
    naps: list[float] = []
    with pytest.raises(RetryableError):
        list(client(Unreachable(999), naps=naps).events("job"))
    assert len(naps) == 30


@pytest.mark.parametrize("url", ["ftp://x", "nas.test:80", "http://", ""])
def test_a_url_that_is_none_is_refused(url):
    with pytest.raises(InvalidRequestError, match="must look like http://"):
        Client(url)


def test_the_environment_names_the_service_and_the_token(monkeypatch, tmp_path):
    monkeypatch.setenv("NAS_HOME", str(tmp_path))
    monkeypatch.setenv("NAS_URL", "http://elsewhere:8000/")
    assert Client.from_environment().url == "http://elsewhere:8000"


def test_without_an_environment_the_home_folder_names_the_service(monkeypatch, tmp_path):
    monkeypatch.setenv("NAS_HOME", str(tmp_path))
    monkeypatch.delenv("NAS_URL", raising=False)
    with pytest.raises(NasError, match="no service is running; start it with `nas up`"):
        Client.from_environment()
    Home(tmp_path).write_state(ServiceState(api_url="http://127.0.0.1:1234"))
    assert Client.from_environment().url == "http://127.0.0.1:1234"
