"""Measured costs of a pair whole, at every operating point of its bundle."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from edge_agent.records import Manifest, Memory, PairFigures, Result, RouteCost
from nas_service.bundle_costs import pair_costs, with_costs
from tests.edge_agent.bundles import make_bundle


def route(name: str, mean_ms: float, gross_mj: float | None = None) -> RouteCost:
    return RouteCost(
        route=name,  # type: ignore[arg-type]
        share=0.5,
        n=100,
        mean_ms=mean_ms,
        median_ms=mean_ms,
        mean_ci95_low_ms=mean_ms,
        mean_ci95_high_ms=mean_ms,
        gross_mj=gross_mj,
    )


def result(*routes: RouteCost) -> Result:
    pair = PairFigures(
        operating_point="half",
        routes=routes,
        stream_n=64,
        route_agreement=1.0,
        max_score_error=0.0,
        replay_n=100,
        process_means_ms=(2.0,),
    )
    digest = "0" * 64
    return Result(
        result_id="r-1",
        lease_id="l-1",
        token=1,
        attempt=1,
        board="pi",
        board_class="rpi5",
        incarnation="i-1",
        measurement_key=digest,
        structure_key=digest,
        model_sha256=digest,
        tier="final",
        half="pair",
        status="noisy",
        fault="board",
        memory=Memory(baseline_kib=100, peak_load_kib=150, peak_run_kib=180, model_file_bytes=10),
        pair=pair,
        finished_unix_s=0.0,
    )


def test_a_pair_costs_its_little_route_and_what_the_big_route_adds() -> None:
    costs = pair_costs(result(route("little", 1.0, 2.0), route("big", 4.0, 9.0)), board_class="rpi5")
    assert costs == {"latency_ms@rpi5": (1.0, 3.0), "energy_mj@rpi5": (2.0, 7.0), "memory_kib@rpi5": (80.0, 0.0)}


def test_energy_that_was_not_measured_is_absent() -> None:
    assert "energy_mj@rpi5" not in pair_costs(result(route("little", 1.0), route("big", 4.0)), board_class="rpi5")


@pytest.fixture
def zipped(tmp_path) -> bytes:
    make_bundle(tmp_path)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(tmp_path.iterdir()):
            archive.write(path, path.name)
    return buffer.getvalue()


def test_every_operating_point_is_priced_by_its_own_rate(zipped: bytes) -> None:
    _, manifest = with_costs(zipped, {"fp32": {"latency_ms@pi": (1.0, 3.0)}}, measured={"pi": {"fp32": "key"}})
    for points in (manifest.operating_points, manifest.variants[0].operating_points):
        for point in points:
            promise = point.calibration
            assert promise.expected_cost["latency_ms@pi"] == pytest.approx(1.0 + 3.0 * promise.escalation_rate)
            assert promise.worst_cost["latency_ms@pi"] == 4.0
    assert manifest.provenance["pair_measurements"] == {"pi": {"fp32": "key"}}


def test_all_else_in_the_bundle_stays_as_it_was(zipped: bytes) -> None:
    data, manifest = with_costs(zipped, {}, measured={})
    with zipfile.ZipFile(io.BytesIO(zipped)) as old, zipfile.ZipFile(io.BytesIO(data)) as new:
        assert old.namelist() == new.namelist()
        for name in set(old.namelist()) - {"bundle.json"}:
            assert old.read(name) == new.read(name)
        assert Manifest.from_dict(json.loads(new.read("bundle.json"))) == manifest


def test_a_record_from_before_pairs_were_measured_whole_is_still_read() -> None:
    old = result(route("little", 1.0), route("big", 4.0)).to_dict()
    del old["pair"], old["sensor_fault"]
    assert Result.from_dict(old).pair is None
