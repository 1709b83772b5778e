"""Graphs of pairs with untrained weights: what the weights are does not change how long a board takes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch

from edge_agent.records import Half
from nas_service.plan import PairPlan
from workers.evaluation import recalibrate
from workers.export import export_big, export_little
from workers.network import Pair
from workers.routers import LEARNED, Router
from workers.routing.learned import untaught_router

IMAGES = 4


def untrained_graphs(pair: Pair, *, router: str, halves: Collection[Half]) -> dict[Half, bytes]:
    """Return the ONNX files of the halves asked for, BatchNorm calibrated on noise.

    Args:
        pair: Freshly built; left in eval mode.
        router: Whose score is part of the little's graph, a fitted one's as large as after fitting.
        halves: `little`, `big` or both.
    """
    plan: PairPlan = pair.plan
    noise = torch.Generator().manual_seed(0)
    side = plan.little.resolution
    recalibrate(pair, [torch.randn((IMAGES, plan.little.channels, side, side), generator=noise)])
    graphs: dict[Half, bytes] = {}
    if "little" in halves:
        graphs["little"] = export_little(pair, router=_router(router, classes=plan.little.classes))
    if "big" in halves:
        graphs["big"] = export_big(pair)
    return graphs


def _router(name: str, *, classes: int) -> Router:
    learned: Any = untaught_router(classes) if name == LEARNED else None
    return Router(name=name, learned=learned)
