"""A pair pack from a bundle alone, for measuring by hand: its parity images are a stream that holds both routes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_agent.bundle import Bundle
from edge_agent.pair_pack import write_pack
from edge_agent.pair_stream import STEPS, Stream, stream_bytes
from edge_agent.parity import load_parity
from edge_agent.records import PackHeader, Variant


def pack_of_bundle(bundle: Bundle, variant: Variant, *, path: Path) -> None:
    """Write the pair pack of one of a bundle's variants, at its default operating point.

    The parity images are calibration images spread over the scores. The natural order is drawn with the escalation rate
    that the operating point promises, since a bundle does not hold the whole split.

    Raises:
        BundleError: If the parity inputs cannot be read.
    """
    point = bundle.operating_point(None, variant=variant)
    parity = load_parity(bundle.root / variant.parity)
    rng = np.random.default_rng(0)
    stream = Stream(
        images=parity.images,
        routes=parity.routes,
        scores=parity.scores,
        natural=(rng.random(STEPS) < point.calibration.escalation_rate).astype(np.uint8),
    )
    header = PackHeader(
        precision=variant.precision,
        classes=len(bundle.manifest.classes),
        input=bundle.manifest.input,
        operating_point=point,
    )
    write_pack(
        path,
        header=header,
        little=bundle.root / variant.little,
        big=bundle.root / variant.big,
        stream=stream_bytes(stream),
    )
