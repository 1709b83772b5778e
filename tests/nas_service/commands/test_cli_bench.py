from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nas_service.bench import BenchOutcome, BenchRequest, BenchView, CellView
from nas_service.commands.bench_display import BenchLines
from nas_service.commands.console import Console
from nas_service.commands.root import run
from nas_service.errors import InvalidRequestError


def cell(name: str, state: str, epoch: int = 0, hours: float | None = None, detail: str = "") -> CellView:
    return CellView(name=name, state=state, epoch=epoch, epochs=4, tera_macs=2.0, hours_left=hours, detail=detail)


@dataclass
class Bench:
    """Trains nothing; answers what it was given."""

    outcome: BenchOutcome
    requests: list[BenchRequest] = field(default_factory=list)

    def bench(self, request: BenchRequest, *, show: Any, report: Any) -> BenchOutcome:
        self.requests.append(request)
        show(self.outcome.view)
        return self.outcome


@pytest.fixture
def nas_bench(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))

    def call(bench: Bench, *arguments: str) -> tuple[int, str, str]:
        code = run(["bench", *arguments], bench)  # type: ignore[arg-type]
        return code, *capsys.readouterr()

    return call


DONE = BenchOutcome(view=BenchView(cells=(cell("ours-s0", "done", 4),), jobs=2), files=(Path("out/tables.md"),))


def test_the_options_become_a_request_and_what_is_not_given_is_left_to_the_preset(nas_bench, tmp_path):
    bench = Bench(DONE)
    code, out, _ = nas_bench(
        bench, "tiny", "--systems", "ours, cascade-kd", "--seeds", "3", "--set", "learning_rate=0.2", "-o", "out"
    )
    [request] = bench.requests
    assert (code, out) == (0, "out/tables.md\n")
    assert request == BenchRequest(
        preset="tiny",
        out=Path("out"),
        systems=("ours", "cascade-kd"),
        seeds=3,
        train={"learning_rate": "0.2"},
        cache=str(tmp_path / "home" / "data"),
    )


def test_a_dry_run_tells_what_would_be_trained_and_for_how_long(nas_bench):
    view = BenchView(cells=(cell("ours-s0", "waiting", 1, 0.5), cell("big-s0", "done", 4)), jobs=2)
    code, out, err = nas_bench(Bench(BenchOutcome(view=view)), "micro", "--dry-run", "-o", "out")
    header, ours, big = out.splitlines()
    assert code == 0
    assert header.split() == ["system", "state", "epochs", "left", "TMACs", "hours"]
    assert ours.split() == ["ours-s0", "waiting", "3", "2", "0.5"]
    assert big.split()[-1] == "-"
    assert "about 30:00 with 2 side by side" in err


def test_json_has_the_cells_and_the_files(nas_bench):
    _, out, _ = nas_bench(Bench(DONE), "micro", "--json", "-o", "out")
    told = json.loads(out)
    assert told["files"] == ["out/tables.md"]
    assert told["cells"][0]["name"] == "ours-s0"


def test_a_failed_system_is_named_with_its_reason_and_the_exit_code_tells(nas_bench):
    view = BenchView(cells=(cell("ours-s0", "failed", detail="no memory"), cell("big-s0", "done", 4)), jobs=1)
    outcome = BenchOutcome(view=view, failures={"ours-s0": "no memory"}, files=(Path("out/tables.md"),))
    code, out, err = nas_bench(Bench(outcome), "micro", "-o", "out")
    assert (code, out) == (1, "out/tables.md\n")
    assert "ours-s0 failed: no memory" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["huge"], "'huge' is not one of 'micro', 'tiny', 'small'"),
        (["micro", "--set", "learning_rate"], "'learning_rate' is not KEY=VALUE"),
        (["micro", "--seeds", "0"], "0 is not in the range x>=1"),
        (["micro", "--train-fraction", "0"], "0.0 is not in the range 0<x<=1"),
    ],
)
def test_bad_usage_is_told_and_exits_with_2(nas_bench, arguments, message):
    code, _, err = nas_bench(Bench(DONE), *arguments, "-o", "out")
    assert (code, message in err) == (2, True), err


def test_a_dry_run_writes_no_report():
    with pytest.raises(InvalidRequestError, match="give --dry-run or --report-only, not both"):
        BenchRequest(preset="micro", out=Path("out"), dry_run=True, report_only=True)


def test_the_time_left_is_shared_by_those_side_by_side_but_never_less_than_the_longest():
    cells = (cell("a", "running", hours=1.0), cell("b", "waiting", hours=1.0), cell("c", "done"))
    assert BenchView(cells=cells, jobs=2).hours_left == 1.0
    assert BenchView(cells=cells, jobs=1).hours_left == 2.0
    assert BenchView(cells=cells, jobs=8).hours_left == 1.0


def test_plain_lines_tell_what_began_and_ended_and_once_a_minute_how_far_it_is():
    err, now = io.StringIO(), [0.0]
    lines = BenchLines(console=Console(out=io.StringIO(), err=err), clock=lambda: now[0])
    for second, state in ((0, "waiting"), (1, "running"), (30, "running"), (61, "running"), (62, "done")):
        now[0] = float(second)
        lines.show(BenchView(cells=(cell("ours-s0", state, 2, 0.1),), jobs=1))
    assert err.getvalue().splitlines() == [
        "0/1 done, about 6:00 left",
        "ours-s0 running",
        "0/1 done, about 6:00 left (ours-s0 2/4)",
        "ours-s0 done",
    ]
