"""The dashboard in a real browser, over a real server."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn

from nas_service.api import create_app
from nas_service.job_state import JobState
from nas_service.store import Store
from nas_service.store.tokens import Role

from .archive import fill
from .fakes import FakeLauncher, StoredFleet
from .test_service import ENDPOINTS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `dev`)")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on the PATH"),
]


@dataclass
class Served:
    """A running service over a filled store."""

    url: str
    token: str
    store: Store
    job_id: str


@dataclass
class Watched:
    """A page, and everything that its console said or that it failed to load."""

    page: Any
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda m: m.type in ("error", "warning") and self.complaints.append(m.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", lambda r: r.url.endswith("/events") or self.complaints.append(f"failed {r.url}"))


@pytest.fixture
def served(store: Store) -> Iterator[Served]:
    job_id = fill(store, candidates=30, now=time.time())
    app = create_app(store=store, launcher=FakeLauncher(), fleet=StoredFleet(store), version="1.2.3")
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Served(f"http://127.0.0.1:{port}", store.tokens.create("browser", Role.VIEWER), store, job_id)
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def watched(browser: Any) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    yield Watched(context.new_page())
    context.close()


def open_dashboard(served: Served, watched: Watched) -> Any:
    """The page, signed in by its address, with its front drawn."""
    watched.page.goto(f"{served.url}/#token={served.token}")
    watched.page.wait_for_selector("#front .scatterlayer .points path")
    return watched.page


def test_the_dashboard_shows_the_job_its_front_boards_and_events(served: Served, watched: Watched) -> None:
    page = open_dashboard(served, watched)
    assert page.inner_text("#job-name") == "cifar10 on rpi5"
    assert page.inner_text("#job-state") == "searching"
    assert page.get_attribute("#job-progress", "aria-valuenow") == "30"
    assert page.locator("#candidates tbody tr").count() == 33
    assert "pi-attic" in page.inner_text("#boards")
    boards = page.inner_text("#boards")
    assert "class rpi5 · heard" in boards
    assert "big half at tier screen, leased" in boards
    page.wait_for_function("document.querySelectorAll('#log li').length > 40")
    assert watched.complaints == []


def test_the_token_leaves_the_address_and_stays_for_the_tab(served: Served, watched: Watched) -> None:
    page = open_dashboard(served, watched)
    assert served.token not in page.url
    page.reload()
    page.wait_for_selector("#front .scatterlayer .points path")
    assert watched.complaints == []


def test_a_chosen_candidate_shows_its_whole_curve_and_both_ends(served: Served, watched: Watched) -> None:
    page = open_dashboard(served, watched)
    page.click("#candidates tbody tr:has-text('finished')")
    page.wait_for_selector("#front text:has-text('always big')")
    assert page.locator("#front text:has-text('little only')").count() == 1
    assert watched.complaints == []


def test_the_cost_can_be_a_boards_latency(served: Served, watched: Watched) -> None:
    page = open_dashboard(served, watched)
    page.select_option("#axis", "latency_ms@rpi5")
    page.wait_for_selector("#front .xtitle:has-text('Expected latency (ms) on rpi5')")
    page.wait_for_function("document.querySelector('#front-note').textContent.includes('latency_ms@rpi5')")
    assert watched.complaints == []


def test_new_events_and_states_appear_by_themselves(served: Served, watched: Watched) -> None:
    page = open_dashboard(served, watched)
    served.store.jobs.append_event(served.job_id, "note", "<b>a new line</b>")
    page.wait_for_selector("#log li:has-text('<b>a new line</b>')")
    served.store.jobs.transition(served.job_id, JobState.STOPPED, "asked to")
    page.wait_for_selector("#job-state:has-text('stopped')")
    served.store.jobs.transition(served.job_id, JobState.QUEUED, "resumed")
    page.wait_for_selector("#log li:has-text('resumed')")
    texts = page.locator("#log .text").all_inner_texts()
    assert texts.count("asked to") == texts.count("resumed") == 1
    assert watched.complaints == []


def test_without_a_token_the_page_asks_for_one_and_refuses_a_wrong_one(served: Served, watched: Watched) -> None:
    page = watched.page
    page.goto(served.url)
    page.fill("#token", "nas_wrong")
    page.click("button[type=submit]")
    page.wait_for_selector("#token-error:has-text('not known or was revoked')")
    page.fill("#token", served.token)
    page.click("button[type=submit]")
    page.wait_for_selector("#front .scatterlayer .points path")
    assert all("401" in complaint for complaint in watched.complaints)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light"), (390, "dark")])
def test_it_fits_a_phone_and_the_dark(served: Served, browser: Any, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    watched = Watched(context.new_page())
    page = open_dashboard(served, watched)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(18, 21, 19)") == (scheme == "dark")
    assert watched.complaints == []
    context.close()


def test_the_api_page_lists_every_endpoint(served: Served, watched: Watched) -> None:
    page = open_dashboard(served, watched)
    page.click("text=API")
    page.wait_for_selector(".endpoint:has-text('/api/v1/jobs/{job_id}/front')")
    assert page.locator(".endpoint").count() == sum(len(verbs) for verbs in ENDPOINTS.values())
    assert watched.complaints == []
