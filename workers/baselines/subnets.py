"""The supernet's own subnets as static nets: the envelope that routing has to beat with the very same weights.

EVALUATION protocol, section 3 (B0): without it, a gain over other families of nets could come from the architecture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from nas_service.errors import InvalidRequestError
from nas_service.pair_space import PairSpace
from nas_service.plan import PairPlan
from workers.bench.outputs import run_exits
from workers.data.augment import batches
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.evaluation import BATCH, EvaluationData, fold, recalibrate
from workers.protocol.envelope import StaticNet
from workers.sampling import Sandwich
from workers.supernet import Supernet

DRAWS = 16  # pairs drawn for every one that is kept
HALVES = ("little", "big")


def stratified_pairs(space: PairSpace, count: int, *, seed: int) -> dict[str, PairPlan]:
    """Return `count` pairs of `space` by name, spread over the MACs of both halves.

    Half of them are evenly spaced in the order of the big's MACs of many random pairs, half in that of the little's,
    the ends included.

    Raises:
        InvalidRequestError: fewer than 4 pairs are asked for.
    """
    if count < 4:
        raise InvalidRequestError(f"{count} pairs cannot be spread over both halves; ask for at least 4")
    sampler, generator = Sandwich(space, random_pairs=DRAWS * count), torch.Generator().manual_seed(seed)
    drawn = [*sampler.largest.values(), *sampler.smallest.values(), *sampler(0, generator)]
    orders: tuple[Callable[[PairPlan], int], ...] = (lambda plan: plan.big_macs, lambda plan: plan.little_macs)
    chosen: list[PairPlan] = []
    for part, order in zip((count - count // 2, count // 2), orders, strict=True):
        ranked = sorted(drawn, key=order)
        chosen += [ranked[index * (len(ranked) - 1) // (part - 1)] for index in range(part)]
    return {f"subnet{index}": plan for index, plan in enumerate(chosen)}


def static_subnets(
    supernet: Supernet, pairs: Mapping[str, PairPlan], dataset: Dataset, splits: Splits, split: str
) -> tuple[StaticNet, ...]:
    """Return both halves of every pair as static nets on one split, named `NAME-little` and `NAME-big`.

    Each pair is extracted and its BatchNorm recalibrated; the big is run without the little's logits. A test split that
    is asked for is opened: ask after everything is chosen.
    """
    return tuple(net for name, plan in pairs.items() for net in _halves(supernet, name, plan, dataset, splits, split))


def _halves(
    supernet: Supernet, name: str, plan: PairPlan, dataset: Dataset, splits: Splits, split: str
) -> list[StaticNet]:
    pair = supernet.extract(plan)
    pair.alpha = 0.0
    data = EvaluationData.of(dataset, splits, limit=1)
    recalibrate(pair, batches(data.recalibration, data.mean, data.std, size=BATCH))
    outputs = run_exits(fold(pair), dataset, splits, split)
    right = outputs.logits.argmax(axis=2) == outputs.labels
    costs = (plan.little_macs, plan.big_macs)
    return [
        StaticNet(name=f"{name}-{half}", cost=float(cost), correct=correct)
        for half, cost, correct in zip(HALVES, costs, right, strict=True)
    ]
