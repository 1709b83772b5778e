from __future__ import annotations

import io
import json

from PIL import Image

from nas_service.report.bench_plots import BenchPlot, SweepLine, bench_html, bench_png
from nas_service.report.look import SERIES

SYSTEMS = [f"system{index}" for index in range(2 * len(SERIES) + 1)]
PLOT = BenchPlot(
    title="many",
    lines=tuple(SweepLine(system=s, seed="0", points=((1e6, 0.5), (2e6, 0.6))) for s in SYSTEMS),
    nets={"static-big s0": ((2e6, 0.7),), "subnets s0": ((1e6, 0.4), (2e6, 0.65))},
)


def test_no_two_systems_look_alike_however_many_there_are():
    looks = [(PLOT.colours[system], PLOT.dashes[system]) for system in SYSTEMS]
    assert len(set(looks)) == len(SYSTEMS)
    assert [style for _, style in looks[: len(SERIES)]] == ["-"] * len(SERIES)


def test_the_picture_and_the_page_show_every_line_and_every_net():
    assert Image.open(io.BytesIO(bench_png(PLOT))).format == "PNG"
    page = bench_html(PLOT)
    names = json.dumps(["static-big s0", "subnets s0", "subnets s0"], separators=(",", ":"))
    assert names in page
    assert all(f'"name":"{system} s0"' in page for system in SYSTEMS)
