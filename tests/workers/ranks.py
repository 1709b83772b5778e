"""Two processes that train together over gloo: tests run every scenario in the same two, and compare their answers.

A scenario is a function of the rank's team and data; what it returns on both ranks goes back to the test.
"""

from __future__ import annotations

import hashlib
import os
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from workers.cotraining.terms import CoTraining
from workers.data.augmentation import Augmentation
from workers.data.dataset import Dataset, DatasetSpec
from workers.data.loading import load
from workers.data.splits import Splits
from workers.errors import RanksDifferError, TrainingCollapsedError
from workers.evaluation import EvaluationContext
from workers.evolving.learning import make_learner
from workers.evolving.settings import Coevolution, Evolution, GradientSearch
from workers.learner import Backward, Batch, Learner, PlainLearner
from workers.learners.sandwich import SandwichLearner
from workers.parallel import ProcessGroup, Team
from workers.sampling import Sandwich
from workers.supernet import Supernet
from workers.train_config import TrainConfig
from workers.trainer import EpochReport, Trainer

SIZE = 2
CONFIG = TrainConfig(epochs=2, batch_size=32)
SHORT = TrainConfig(epochs=1, batch_size=32)
TERMS = CoTraining(teacher="average", system=0.5, router=1.0, cost=1.0, cost_target=0.4, multiplier_rate=0.1)
GRADIENT = GradientSearch(targets=(0.3,), warm_up=0.0, fine_tune=0.0)
COEVOLVE = Coevolution(population=3, every=1, warm_up=0.0, images=60, recalibration=40)
Answer = dict[str, Any]


class LinearLearner(PlainLearner):
    """One linear layer: no BatchNorm, so a batch's gradient is the mean of its shares'."""

    def __init__(self, *, nan_in: tuple[int, int] | None = None, rank: int = 0) -> None:
        module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        with torch.no_grad():
            module[1].weight.copy_(torch.linspace(-0.1, 0.1, 640).view(10, 64))
            module[1].bias.zero_()
        super().__init__(module, classes=10, identity={"name": "linear"})
        self.nan_in, self.rank, self.epoch, self.seen = nan_in, rank, 0, []

    def start_epoch(self, epoch: int, epochs: int) -> None:
        self.epoch = epoch

    def learn(self, batch: Batch, backward: Backward) -> dict[str, Tensor]:
        self.seen.append(batch)
        loss = nn.functional.cross_entropy(self.module(batch.images), batch.labels)
        if self.nan_in == (self.rank, self.epoch):
            self.nan_in, loss = None, loss * torch.nan
        backward(loss)
        return {"loss": loss.detach()}

    def watch(self, quick: EvaluationContext) -> dict[str, float]:
        return {}


class Recorder:
    """A sampler that notes every step's pairs and the weights that the step began with."""

    def __init__(self, supernet: Supernet) -> None:
        self.supernet, self.sandwich = supernet, Sandwich(supernet.space, random_pairs=1)
        self.weights: list[str] = []
        self.plans: list[str] = []

    def __call__(self, step: int, generator: torch.Generator) -> list[Any]:
        plans = self.sandwich(step, generator)
        self.weights.append(digest(self.supernet))
        self.plans.append(repr(plans[-1]))
        return plans


def digest(module: nn.Module) -> str:
    tensors = [t.detach().contiguous().numpy().tobytes() for _, t in sorted(module.state_dict().items())]
    return hashlib.sha256(b"".join(tensors)).hexdigest()


def still(dataset: Dataset) -> Dataset:
    return replace(dataset, augmentation=Augmentation())


def small() -> tuple[Dataset, Splits]:
    dataset = load(DatasetSpec(name="digits"))
    return dataset, Splits.of(dataset, seed=0, train_fraction=0.1)


def micro(evolution: Evolution | None = None, config: TrainConfig = CONFIG) -> Learner:
    from tests.workers.conftest import space_of

    return make_learner(Supernet(space_of("micro")), config, evolution, dataset=small()[0], splits=small()[1])


def run(learner: Learner, team: Team, config: TrainConfig = CONFIG, resume: bytes | None = None) -> list[EpochReport]:
    return list(Trainer(learner, *small(), config, team=team).epochs(resume))


def told(reports: list[EpochReport]) -> Answer:
    return {
        "losses": [r.losses for r in reports],
        "rollbacks": [r.rollbacks for r in reports],
        "checkpoints": [r.checkpoint for r in reports],
        "images_per_s": [r.images_per_s for r in reports],
    }


def sandwich(team: Team) -> Answer:
    learner = micro()
    assert isinstance(learner, SandwichLearner)
    recorder = Recorder(learner.supernet)
    learner.sampler = recorder
    whole = run(learner, team)
    resumed = run(micro(), team, resume=whole[0].checkpoint)
    return told(whole) | {"resumed": resumed[-1].checkpoint, "weights": recorder.weights, "plans": recorder.plans}


def linear(team: Team) -> Answer:
    learner = LinearLearner()
    dataset, splits = small()
    reports = list(Trainer(learner, still(dataset), splits, SHORT, team=team).epochs())
    return {"weight": learner.module[1].weight.detach(), "loss": reports[-1].losses["loss"]}


def every_term(team: Team) -> Answer:
    config = replace(CONFIG, cotraining=TERMS, accumulate=2)
    return told(run(micro(config=config), team, config))


def gradient(team: Team) -> Answer:
    return told(run(micro(GRADIENT, SHORT), team, SHORT))


def coevolve(team: Team) -> Answer:
    return told(run(micro(COEVOLVE, SHORT), team, SHORT))


def collapse(team: Team) -> Answer:
    return told(run(LinearLearner(nan_in=(1, 1), rank=team.rank), team))


def collapse_for_good(team: Team) -> Answer:
    try:
        run(LinearLearner(nan_in=(1, 1), rank=team.rank), team, replace(CONFIG, rollbacks=0))
    except TrainingCollapsedError as error:
        return {"error": str(error)}
    return {}


def drift(team: Team) -> Answer:
    learner = LinearLearner()
    with torch.no_grad():
        learner.module[1].bias[0] = float(team.rank)
    try:
        run(learner, team)
    except RanksDifferError as error:
        return {"error": str(error)}
    return {}


SCENARIOS: tuple[Callable[[Team], Answer], ...] = (
    sandwich,
    linear,
    every_term,
    gradient,
    coevolve,
    collapse,
    collapse_for_good,
    drift,
)


def main(rank: int, folder: str) -> None:
    """Run every scenario as `rank` and save the answers, or why there are none."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    meeting = (Path(folder) / "meeting").as_uri()
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=SIZE)
    try:
        answers = {scenario.__name__: scenario(ProcessGroup()) for scenario in SCENARIOS}
        torch.save(answers, Path(folder) / f"{rank}.pt")
    except BaseException:
        (Path(folder) / f"{rank}.txt").write_text(traceback.format_exc())
        raise
    finally:
        dist.destroy_process_group()


def both(folder: Path, *, timeout_s: float = 500.0) -> list[dict[str, Answer]]:
    """Return the answers of both ranks by scenario."""
    context = torch.multiprocessing.get_context("spawn")
    ranks = [context.Process(target=main, args=(rank, str(folder)), daemon=True) for rank in range(SIZE)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(timeout_s)
    for process in ranks:
        process.kill()
    told_why = "".join(path.read_text() for path in sorted(folder.glob("*.txt")))
    assert [process.exitcode for process in ranks] == [0] * SIZE, told_why
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(SIZE)]
