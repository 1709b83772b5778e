from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from nas_service.report import write_report
from tests.nas_service.report.synthetic import report_data

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium found on PATH")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_draws_every_plot_with_a_quiet_console_and_no_request(tmp_path: Path, scheme: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    html = write_report(report_data(), tmp_path)[0]
    said: list[str] = []
    asked: list[str] = []
    with playwright.sync_playwright() as run:
        browser = run.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, env=dict(os.environ))
        page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme=scheme)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(html.as_uri())
        page.wait_for_selector("#plot-front-macs .scatterlayer .trace")
        drawn = page.eval_on_selector_all(".plot", "plots => plots.map(p => p.querySelectorAll('.trace').length)")
        wide = page.evaluate("document.documentElement.scrollWidth")
        browser.close()
    assert (said, asked) == ([], [html.as_uri()])
    assert len(drawn) == 5
    assert all(traces >= 1 for traces in drawn)
    assert wide <= 1280
