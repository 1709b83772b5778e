"""Training a supernet: sample pairs, forward, losses, step; after every epoch a report and a checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nas_service.errors import InvalidRequestError
from nas_service.plan import PairPlan
from workers.checkpoint import Checkpoint, load_weights, space_identity
from workers.data.augment import augment, normalise
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.errors import TrainingCollapsedError
from workers.evaluation import EvaluationContext, EvaluationData, evaluate
from workers.losses import pair_losses
from workers.sampling import FixedPair, PairSampler, Sandwich
from workers.supernet import Supernet
from workers.train_config import TrainConfig, one_cycle

QUICK_IMAGES = 1000
QUICK_RECALIBRATION = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReport:
    """What one epoch of training gave.

    Attributes:
        epoch: Finished epochs, from 1.
        epochs: Epochs in all.
        losses: Mean over the epoch of `big` and `little` of the teaching pair, and of `all` pairs.
        seconds: Time of the epoch's steps.
        images_per_s: Training images per second; each is seen by every pair of its step.
        learning_rate: Of the last step.
        accuracies: Shares in [0, 1] of at most 1,000 validation images: `largest_little`, `largest_big`,
            `smallest_little`, `smallest_big`; of the one pair, `little` and `big`, when fine-tuning.
        rollbacks: Rollbacks so far.
        checkpoint: What `train` resumes from.
    """

    epoch: int
    epochs: int
    losses: dict[str, float]
    seconds: float
    images_per_s: float
    learning_rate: float
    accuracies: dict[str, float]
    rollbacks: int
    checkpoint: bytes = field(repr=False)


def train(
    supernet: Supernet,
    dataset: Dataset,
    splits: Splits,
    config: TrainConfig,
    *,
    resume: bytes | None = None,
    device: str = "cpu",
) -> Iterator[EpochReport]:
    """Train `supernet` in place with the sandwich rule and yield a report after every epoch.

    Only the weights split is learnt from; the validation split is looked at for the reports alone. With `resume`, a
    report's checkpoint of the same configuration, training goes on and, on one CPU thread, ends with the same bits.

    Raises:
        InvalidRequestError: the checkpoint is damaged, or of another space, data split or configuration.
        TrainingCollapsedError: the loss went to NaN or back to guessing more than `config.rollbacks` times.
    """
    sampler = Sandwich(supernet.space, random_pairs=config.random_pairs)
    coupling = supernet.space.definition.couplings[0]
    watched = {"largest_": sampler.largest[coupling], "smallest_": sampler.smallest[coupling]}
    yield from _Run(supernet, dataset, splits, config, device).epochs(sampler, watched, resume)


def fine_tune(
    supernet: Supernet, plan: PairPlan, dataset: Dataset, splits: Splits, config: TrainConfig, *, device: str = "cpu"
) -> Iterator[EpochReport]:
    """Train the one pair `plan` inside `supernet`, in place, from the weights it has; yield after every epoch.

    Weights that both halves slice stay shared. Give a copy of the supernet if other pairs are still needed.

    Raises:
        TrainingCollapsedError: as in `train`.
    """
    yield from _Run(supernet, dataset, splits, config, device).epochs(FixedPair(plan), {"": plan}, None)


class _Run:
    """One training run: model, data, optimiser, generator, and how far it has come."""

    def __init__(self, supernet: Supernet, dataset: Dataset, splits: Splits, config: TrainConfig, device: str) -> None:
        if len(splits.weights) < 2:
            raise InvalidRequestError(
                f"the weights split has {len(splits.weights)} image but training needs at least 2"
            )
        torch.set_num_threads(config.threads)
        self.supernet, self.dataset, self.config, self.device = supernet.to(device), dataset, config, device
        self.hashes = splits.hashes
        self.indices = torch.from_numpy(splits.weights)
        self.batch_size = min(config.batch_size, len(self.indices))
        self.steps_per_epoch = len(self.indices) // self.batch_size
        self.quick = EvaluationContext(
            EvaluationData.of(dataset, splits, recalibration=QUICK_RECALIBRATION, limit=QUICK_IMAGES), device=device
        )
        self.optimizer = _optimizer(supernet, config)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.step = self.epoch = self.rollbacks = 0
        self.rate_scale = 1.0
        self.best_loss: float | None = None

    def epochs(self, sampler: PairSampler, watched: dict[str, PairPlan], resume: bytes | None) -> Iterator[EpochReport]:
        """Yield a report after every epoch, from the first or from where `resume` stopped."""
        if resume is not None:
            self._restore(Checkpoint.from_bytes(resume))
        last = self._checkpoint()
        while self.epoch < self.config.epochs:
            started = time.perf_counter()
            losses = self._epoch(sampler)
            seconds = time.perf_counter() - started
            if self._collapsed(losses["big"]):
                self._roll_back(last, losses["big"])
                continue
            self.epoch += 1
            self.best_loss = min(losses["big"], self.best_loss or math.inf)
            last = self._checkpoint()
            yield EpochReport(
                epoch=self.epoch,
                epochs=self.config.epochs,
                losses=losses,
                seconds=seconds,
                images_per_s=self.steps_per_epoch * self.batch_size / seconds,
                learning_rate=self.optimizer.param_groups[0]["lr"],
                accuracies=self._watch(watched),
                rollbacks=self.rollbacks,
                checkpoint=last.to_bytes(),
            )

    def _epoch(self, sampler: PairSampler) -> dict[str, float]:
        """Run one epoch's steps and return the mean losses."""
        order = self.indices[torch.randperm(len(self.indices), generator=self.generator)]
        totals = torch.zeros(3, device=self.device)
        for chosen in order[: self.steps_per_epoch * self.batch_size].split(self.batch_size):
            rate = one_cycle(self.step, self.config.epochs * self.steps_per_epoch, peak=self.config.learning_rate)
            for group in self.optimizer.param_groups:
                group["lr"] = rate * self.rate_scale
            totals += self._train_step(chosen, sampler(self.step, self.generator))
            self.step += 1
        big, little, every = (totals / self.steps_per_epoch).tolist()
        return {"big": big, "little": little, "all": every}

    def _train_step(self, chosen: Tensor, plans: list[PairPlan]) -> Tensor:
        """Learn from one batch with every plan; return the teacher's big and little loss and the sum of all."""
        images = self.dataset.train_images[chosen].to(self.device)
        images = augment(images, self.dataset.augmentation, generator=self.generator)
        x = normalise(images, self.dataset.mean, self.dataset.std)
        labels = self.dataset.train_labels[chosen].to(self.device)
        self.optimizer.zero_grad(set_to_none=True)
        teacher: Tensor | None = None
        sums: list[Tensor] = []
        for plan in plans:
            little, big, escalated = self._backward(x, labels, plan, teacher)
            teacher = escalated if teacher is None else teacher
            sums += [big, little]
        torch.nn.utils.clip_grad_norm_(self.supernet.parameters(), self.config.clip_norm, foreach=True)
        self.optimizer.step()
        return torch.stack([sums[0], sums[1], torch.stack(sums).sum()])

    def _backward(
        self, x: Tensor, labels: Tensor, plan: PairPlan, teacher: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Add the gradients of one plan; return its detached little loss, big loss and escalated logits."""
        with torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16, enabled=self.config.autocast):
            little, escalated = self.supernet(x, plan)
        losses = pair_losses(little.float(), escalated.float(), labels, teacher=teacher, config=self.config)
        (losses[0] + losses[1]).backward()
        return losses[0].detach(), losses[1].detach(), escalated.detach().float()

    def _collapsed(self, loss: float) -> bool:
        """Whether the epoch's mean loss is no number, or is back at guessing after having been well below."""
        guessing = math.log(self.supernet.space.classes)
        return not math.isfinite(loss) or (self.best_loss is not None and self.best_loss < 0.8 * guessing <= loss * 0.8)

    def _roll_back(self, last: Checkpoint, loss: float) -> None:
        if self.rollbacks >= self.config.rollbacks:
            raise TrainingCollapsedError(
                f"the loss was {loss:.3g} in epoch {self.epoch + 1} after {self.rollbacks} rollbacks; lower "
                f"learning_rate (it was {self.config.learning_rate:g}) or clip_norm, and train again"
            )
        rollbacks, scale = self.rollbacks + 1, self.rate_scale / 2
        self._restore(last)
        self.rollbacks, self.rate_scale = rollbacks, scale
        self.generator.manual_seed(self.config.seed + 1_000_003 * rollbacks)

    def _watch(self, watched: dict[str, PairPlan]) -> dict[str, float]:
        accuracies: dict[str, float] = {}
        for prefix, plan in watched.items():
            evaluation = evaluate(self.supernet, plan, self.quick)
            accuracies[f"{prefix}little"] = evaluation.little_accuracy
            accuracies[f"{prefix}big"] = evaluation.big_accuracy
        return accuracies

    def _checkpoint(self) -> Checkpoint:
        momenta = {
            name: self.optimizer.state[p]["momentum_buffer"].detach().clone()
            for name, p in self.supernet.named_parameters()
            if self.optimizer.state.get(p, {}).get("momentum_buffer") is not None
        }
        return Checkpoint(
            epoch=self.epoch,
            step=self.step,
            rate_scale=self.rate_scale,
            rollbacks=self.rollbacks,
            best_loss=self.best_loss,
            config=self.config.to_dict(),
            space=space_identity(self.supernet),
            splits=self.hashes,
            model={name: p.detach().clone() for name, p in self.supernet.named_parameters()},
            momentum=momenta,
            rng=self.generator.get_state(),
        )

    def _restore(self, checkpoint: Checkpoint) -> None:
        if checkpoint.splits != self.hashes:
            raise InvalidRequestError(
                "the checkpoint was trained on other data splits; use the same data set, seed and train_fraction"
            )
        config = self.config.to_dict()
        if changed := sorted(k for k in config if config[k] != checkpoint.config.get(k)):
            raise InvalidRequestError(
                f"the checkpoint was trained with {changed[0]} {checkpoint.config.get(changed[0])!r} but this job has "
                f"{config[changed[0]]!r}; resume with the same configuration"
            )
        load_weights(self.supernet, checkpoint)
        self.optimizer.state.clear()
        for name, parameter in self.supernet.named_parameters():
            if name in checkpoint.momentum:
                buffer = torch.empty_like(parameter).copy_(checkpoint.momentum[name])
                self.optimizer.state[parameter]["momentum_buffer"] = buffer
        self.generator.set_state(checkpoint.rng)
        self.step, self.epoch = checkpoint.step, checkpoint.epoch
        self.rate_scale, self.rollbacks, self.best_loss = (
            checkpoint.rate_scale,
            checkpoint.rollbacks,
            checkpoint.best_loss,
        )


def _optimizer(supernet: Supernet, config: TrainConfig) -> torch.optim.Optimizer:
    decayed = [*supernet.weights.parameters(), *supernet.heads.parameters()]
    free = [
        p for table in (supernet.scales, supernet.shifts, supernet.biases, supernet.alphas) for p in table.parameters()
    ]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=True, foreach=True)
