"""What the cluster packs, a board reads: real images of both routes, exact shares, the split's own order."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.pair_pack import STREAM, unpack_pack
from edge_agent.pair_stream import read_stream
from workers.bundle import BundleOptions, build_bundle
from workers.evaluation import recalibrate
from workers.stream_pack import choose_images


@pytest.mark.parametrize(("big", "expected"), [(500, 128), (40, 40), (0, 0)])
def test_half_of_either_route_is_sent_or_all_there_are(big: int, expected: int) -> None:
    routes = np.zeros(1000, dtype=np.uint8)
    routes[np.random.default_rng(0).permutation(1000)[:big]] = 1
    chosen = choose_images(routes, count=256)
    assert len(chosen) == 256
    assert int(routes[chosen].sum()) == expected
    assert (np.diff(chosen) > 0).all()


def test_a_board_reads_the_pack_of_a_bundle(trained, context, digits, splits, tmp_path) -> None:
    supernet = trained[0]
    pair = supernet.extract(supernet.space.plan(supernet.space.extreme("stem", largest=False)))
    recalibrate(pair, context.recalibration)
    bundle = build_bundle(pair, digits, splits, BundleOptions(router="margin", packs=True), candidate="cand-1")
    path = tmp_path / "pair.zip"
    path.write_bytes(bundle.packs["fp32"])
    header, stream = unpack_pack(path, tmp_path), read_stream(tmp_path / STREAM)
    point = next(p for p in bundle.manifest.operating_points if p.name == bundle.manifest.default_operating_point)
    assert (header.operating_point.threshold, header.classes) == (point.threshold, 10)
    assert header.operating_point.calibration.escalation_rate == point.calibration.escalation_rate
    assert stream.natural.mean() == pytest.approx(point.calibration.escalation_rate)
    assert len(stream) <= 256
    assert stream.images.shape[1:] == (8, 8, 1)
    assert stream.labels is not None
    escalated = stream.scores < point.threshold if isinstance(point.threshold, float) else stream.routes.astype(bool)
    assert np.array_equal(escalated, stream.routes.astype(bool))


def test_packs_are_made_only_if_they_are_asked_for(trained, context, digits, splits) -> None:
    supernet = trained[0]
    pair = supernet.extract(supernet.space.plan(supernet.space.extreme("stem", largest=False)))
    recalibrate(pair, context.recalibration)
    assert build_bundle(pair, digits, splits, BundleOptions(router="margin"), candidate="cand-1").packs == {}
