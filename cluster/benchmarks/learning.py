"""Benchmarks of learning: what co-training, evaluating and escalating cost beside plain networks doing the same work.

All networks that are timed are untrained, since weights do not change how long they take. Both sides take turns within
one process, on one thread; of each the least of several rounds counts, which is what a machine shared with others
disturbs least.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence

import numpy as np
import onnxruntime
import torch
from rich.progress import track
from torch import Tensor, nn

from cluster.benchmarks.ranking import fashion_mnist
from cluster.benchmarks.row import Row
from nas_service.pair_space import PairSpace
from nas_service.plan import PairPlan
from nas_service.presets import PRESETS
from workers.data.augment import normalise
from workers.data.splits import Splits
from workers.evaluation import EvaluationContext, EvaluationData, evaluate, recalibrate
from workers.export import export_big, export_little
from workers.learner import decayed_groups
from workers.learners.pair import PairLearner
from workers.losses import pair_losses
from workers.network import Pair
from workers.sampling import Sandwich
from workers.supernet import Supernet
from workers.train_config import TrainConfig
from workers.trainer import QUICK_IMAGES, Trainer

BATCH = 128
ROUNDS = 5
IMAGES = 5000
RUNS = 300
TRAIN_FRACTION = 0.1
EPOCHS = 6


def sandwich_step() -> list[Row]:
    """L8: one sandwich step over the same plain networks' steps."""
    torch.set_num_threads(1)
    space, config = _space("tiny"), TrainConfig(epochs=1)
    net, sampler, generator = Supernet(space), Sandwich(space), torch.Generator().manual_seed(0)
    images, labels = _batch(BATCH, seed=0)
    together = _optimizer(net, config)
    ratios, names = [], []
    for step in range(len(space.definition.couplings)):
        plans = sampler(step, generator)
        pairs = [net.extract(plan).train() for plan in plans]
        alone = [_optimizer(pair, config) for pair in pairs]

        def sandwich(plans: Sequence[PairPlan] = plans) -> None:
            _step(net, together, [(net, plan) for plan in plans], images, labels, config)

        def plain(pairs: Sequence[Pair] = pairs, alone: Sequence[torch.optim.Optimizer] = alone) -> None:
            for pair, optimizer in zip(pairs, alone, strict=True):
                _step(pair, optimizer, [(pair, None)], images, labels, config)

        ratios.append(_ratio(sandwich, plain))
        names.append(f"{'+'.join(plan.coupling for plan in plans)} {ratios[-1]:.2f}")
    detail = f"tiny, batch {BATCH}, three pairs a step, the largest first: {'; '.join(names)}"
    value = float(np.mean(ratios))
    return [Row(name="L8", figure="sandwich step / plain steps", value=value, must=1.15, aim=1.0, detail=detail)]


def evaluation() -> list[Row]:
    """L9: evaluating a candidate over plain inference of the same images."""
    torch.set_num_threads(1)
    space, rng = _space("tiny"), np.random.default_rng(0)
    net, context = Supernet(space), EvaluationContext(_images(IMAGES))
    ratios, names = [], []
    for coupling in space.definition.couplings:
        plan = space.plan(space.fold({**space.sample(rng), "coupling": coupling}))
        pair = evaluate(net, plan, context).pair

        def whole(plan: PairPlan = plan) -> None:
            evaluate(net, plan, context).outputs.curve("margin")

        def plain(pair: Pair = pair) -> None:
            with torch.inference_mode():
                for batch in context.batches:
                    pair(batch)

        ratios.append(_ratio(whole, plain, rounds=3))
        names.append(f"{coupling} {ratios[-1]:.2f}")
    detail = f"tiny, recalibration, {IMAGES} images, both halves, curve: {'; '.join(names)}"
    value = float(np.mean(ratios))
    return [Row(name="L9", figure="evaluation / plain inference", value=value, must=1.5, aim=1.2, detail=detail)]


def escalation() -> list[Row]:
    """L5: a triangular pair's little then tail over the dense big of the same widths, onnxruntime, one thread."""
    rows = []
    for preset in ("tiny", "small"):
        space, rng = _space(preset), np.random.default_rng(0)
        plans = [space.plan(space.fold({**space.sample(rng), "coupling": "triangular"})) for _ in range(3)]
        ratios = [_escalation_ratio(Supernet(space).extract(plan), plan) for plan in plans]
        shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        figure = f"triangular, little then tail / dense big, {preset}"
        detail = f"three random pairs, median times of {RUNS} runs in turn, batch 1: {shown}"
        if preset == "tiny":
            detail += _trained_both_ways()
        value = float(np.median(ratios))
        rows.append(Row(name="L5", figure=figure, value=value, must=1.15, aim=1.05, detail=detail))
    return rows


def _trained_both_ways() -> str:
    """Return the accuracies of a triangular pair and of a dense one of the same widths, trained alike, in words."""
    dataset = fashion_mnist()
    splits = Splits.of(dataset, seed=0, train_fraction=TRAIN_FRACTION)
    space = PairSpace(PRESETS["tiny"], channels=dataset.channels, resolution=dataset.resolution, classes=10)
    plan = space.plan(space.fold({**space.sample(np.random.default_rng(0)), "coupling": "triangular"}))
    config, found = TrainConfig(epochs=EPOCHS), []
    for arranged in (plan, _dense(plan)):
        trainer = Trainer(PairLearner.untrained(arranged, config), dataset, splits, config)
        *_, last = track(trainer.epochs(), total=EPOCHS, description="L5, accuracies")
        found.append({half: f"{share:.1%}" for half, share in last.accuracies.items()})
    return (
        f"; the first of them, trained for {EPOCHS} epochs on {len(splits.weights)} images of {dataset.name}, on "
        f"{min(QUICK_IMAGES, len(splits.validation))} validation images: triangular little {found[0]['little']}, "
        f"escalated {found[0]['big']}; dense little {found[1]['little']}, escalated {found[1]['big']}"
    )


def _dense(plan: PairPlan) -> PairPlan:
    """Return the pair of the same halves with nothing shared."""
    return PairPlan(coupling="independent", little=plan.little, big=plan.big)


def _escalation_ratio(pair: Pair, plan: PairPlan) -> float:
    dense = Pair(_dense(plan))
    generator = torch.Generator().manual_seed(0)
    shape = (16, plan.little.channels, plan.little.resolution, plan.little.resolution)
    noise = [torch.randn(shape, generator=generator)]
    for module in (pair, dense):
        recalibrate(module, noise)
    little, tail, big = (
        _session(data) for data in (export_little(pair, router="margin"), export_big(pair), export_big(dense))
    )
    image = noise[0][:1].numpy()
    logits = np.zeros((1, plan.big.classes), np.float32)
    names = [output.name for output in little.get_outputs()]

    def both() -> None:
        outputs = dict(zip(names, little.run(names, {"image": image}), strict=True))
        carried = {i.name: outputs[i.name] for i in tail.get_inputs() if i.name in outputs}
        tail.run(None, {**carried, "little_logits": outputs["logits"]})

    def alone() -> None:
        big.run(None, {"image": image, "little_logits": logits})

    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(RUNS):
        for function, noted in zip((both, alone), times, strict=True):
            noted.append(_seconds(function, clock=time.perf_counter))
    return float(np.median(times[0]) / np.median(times[1]))


def _session(data: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(data, sess_options=options, providers=["CPUExecutionProvider"])


def _space(preset: str) -> PairSpace:
    return PairSpace(PRESETS[preset], channels=3, resolution=32, classes=10)


def _batch(count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (count,), generator=generator)
    return normalise(images, (0.5,) * 3, (0.25,) * 3), labels


def _images(count: int) -> EvaluationData:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count + 2000, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return EvaluationData(
        recalibration=pixels[count:],
        images=pixels[:count],
        labels=torch.randint(0, 10, (count,), generator=generator),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        classes=10,
        split_hashes={},
    )


def _optimizer(module: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    groups = decayed_groups(module, weight_decay=config.weight_decay)
    return torch.optim.SGD(groups, lr=0.01, momentum=0.9, nesterov=True, foreach=True)


def _step(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    runs: Sequence[tuple[nn.Module, PairPlan | None]],
    images: Tensor,
    labels: Tensor,
    config: TrainConfig,
) -> None:
    optimizer.zero_grad(set_to_none=True)
    teacher: Tensor | None = None
    for network, plan in runs:
        little, escalated = network(images) if plan is None else network(images, plan)
        sum(pair_losses(little, escalated, labels, teacher=teacher, config=config)).backward()  # type: ignore[union-attr]
        teacher = escalated.detach() if teacher is None else teacher
    nn.utils.clip_grad_norm_(module.parameters(), config.clip_norm, foreach=True)
    optimizer.step()


def _ratio(ours: Callable[[], None], peer: Callable[[], None], *, rounds: int = ROUNDS) -> float:
    """Return the least CPU time of `ours` over that of `peer`, which take turns; one round before is not counted."""
    times = [(_seconds(ours), _seconds(peer)) for _ in range(rounds + 1)][1:]
    least = [min(column) for column in itertools.zip_longest(*times)]
    return least[0] / least[1]


def _seconds(function: Callable[[], None], *, clock: Callable[[], float] = time.process_time) -> float:
    started = clock()
    function()
    return clock() - started
