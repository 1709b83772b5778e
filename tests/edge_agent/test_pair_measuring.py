"""A pair measured whole, with real children: what the record holds, what it says of the board, and how it fails."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest

from edge_agent.child_run import Supervision
from edge_agent.cli import main
from edge_agent.measuring import Measurement
from edge_agent.pair_measuring import measure_pair
from edge_agent.records import PairFigures, RuntimeSettings
from edge_agent.tiers import TIERS
from tests.edge_agent.bundles import make_bundle
from tests.edge_agent.models import big_model, endless_model
from tests.edge_agent.packs import make_pack

SHORT = dataclasses.replace(
    TIERS["final"],
    processes=2,
    min_n=200,
    min_window_s=0.2,
    max_window_s=0.2,
    ci_fraction=None,
    max_drift_fraction=None,
    min_warmup_s=0.02,
    steady_fraction=None,
    replay_s=0.1,
)


@pytest.fixture(autouse=True)
def short_tiers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TIERS, "final", SHORT)
    monkeypatch.setitem(TIERS, "probe", dataclasses.replace(SHORT, processes=1))


def measure(pack: Path, tmp_path: Path, *, tier: str = "probe", **options) -> Measurement:
    return measure_pair(pack, tier=tier, settings=RuntimeSettings(), work=tmp_path, **options)


def test_a_pair_measured_whole_has_every_figure(tmp_path: Path) -> None:
    measured = measure(make_pack(tmp_path, labels=np.zeros(32, dtype=np.int64)), tmp_path, tier="final")
    assert (measured.verdict.status, measured.verdict.cause) == ("ok", None)
    latency, memory, pair = measured.latency, measured.memory, measured.pair
    assert latency is not None
    assert memory is not None
    assert pair is not None
    little, big = pair.routes
    assert 0 < little.median_ms < big.median_ms
    assert latency.mean_ms == pytest.approx(0.5 * little.mean_ms + 0.5 * big.mean_ms)
    assert (pair.mean_ms(0.0), pair.mean_ms(1.0)) == (little.mean_ms, big.mean_ms)
    assert latency.n >= little.n + big.n >= 200
    assert (pair.route_agreement, pair.max_score_error, pair.stream_n) == (1.0, 0.0, 32)
    assert pair.stream_accuracy is not None
    assert (pair.replay_n > 64, pair.replay_escalation_rate) == (True, pytest.approx(0.5, abs=0.1))
    assert len(pair.process_means_ms) == 2
    assert set(pair.stages_ms) == {"normalise", "little", "big"}
    assert memory.memory_kib > 0
    assert measured.runtime["node_providers"]["CPUExecutionProvider"] > 5
    assert PairFigures.from_dict(json.loads(json.dumps(pair.to_dict()))) == pair
    assert not list(tmp_path.glob("measure-*"))


@pytest.mark.slow
def test_routes_that_differ_a_little_are_flagged_and_the_boards_own_share_counts(tmp_path: Path) -> None:
    pack = make_pack(tmp_path, n=64)
    scores = np.load(pack.parent / "bundle" / "parity.npz")["scores"]
    routes = (scores < np.sort(scores)[30]).astype(np.uint8)  # two of the 32 bigs are said to be littles
    measured = measure(make_pack(tmp_path / "changed", n=64, routes=routes), tmp_path)
    assert measured.pair is not None
    assert measured.pair.route_agreement == pytest.approx(1 - 2 / 64)
    assert "route_mismatch" in measured.pair.flags
    assert measured.pair.routes[1].share == pytest.approx(0.5 + 0.5 * 2 / 34)


@pytest.mark.slow
def test_a_board_that_computes_another_thing_fails_parity(tmp_path: Path) -> None:
    verdict = measure(make_pack(tmp_path, routes=np.arange(32, dtype=np.uint8) % 2), tmp_path).verdict
    assert (verdict.status, verdict.fault) == ("parity_fail", "board")
    assert "of 32 images take another route than in the cluster" in (verdict.cause or "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("big", "cause"),
    [
        (big_model()[:-40], "truncated or damaged"),
        (big_model().replace(b"carry_stem", b"carry_leaf"), "little.onnx does not give carry_leaf"),
        (endless_model(), "Required inputs|does not give|Invalid"),
    ],
    ids=["truncated", "takes what the little does not give", "takes an image of another shape"],
)
def test_a_pair_that_does_not_fit_together_is_a_model_fault(tmp_path: Path, big: bytes, cause: str) -> None:
    verdict = measure(make_pack(tmp_path, big=big), tmp_path).verdict
    assert (verdict.status, verdict.fault) == ("model_error", "model")
    assert re.search(cause, verdict.cause or "")


def test_what_is_no_pack_is_a_model_fault_without_a_child(tmp_path: Path) -> None:
    path = tmp_path / "pair.zip"
    path.write_bytes(b"PK no zip")
    verdict = measure(path, tmp_path, supervision=Supervision(on_start=lambda pid: pytest.fail("a child ran"))).verdict
    assert (verdict.status, verdict.fault) == ("model_error", "model")
    assert "no whole zip" in (verdict.cause or "")


@pytest.mark.slow
def test_a_second_process_that_dies_ends_the_measurement(tmp_path: Path) -> None:
    children: list[int] = []

    def kill_second() -> None:
        if len(children) == 2:
            os.kill(children[1], signal.SIGSEGV)

    supervision = Supervision(on_start=children.append, before_timing=kill_second)
    measured = measure(make_pack(tmp_path), tmp_path, tier="final", supervision=supervision)
    assert measured.verdict.status == "model_error"
    assert "died of SIGSEGV" in (measured.verdict.cause or "")
    assert measured.latency is None


@pytest.mark.slow
def test_nas_edge_measures_a_bundle_whole_and_prices_every_operating_point(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundle(tmp_path / "bundle")
    assert main(["measure", str(tmp_path / "bundle"), "--tier", "final", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["model"], row["status"], row["pair"]["operating_point"]) == ("pair fp32", "ok", "half")
    assert set(row["operating_points"]) == {"half", "never", "always"}
    assert main(["measure", str(tmp_path / "bundle"), "--tier", "final"]) == 0
    assert "mean ms by operating point: half" in capsys.readouterr().out
