"""Training anything: batches, steps and learning rate; after every epoch a report and a checkpoint."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from nas_service.errors import InvalidRequestError
from workers.checkpoint import Checkpoint, check_identity, load_state
from workers.compiling import compile_module
from workers.data.augment import augment, normalise
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.errors import TrainingCollapsedError
from workers.evaluation import EvaluationContext, EvaluationData
from workers.learner import Backward, Batch, Learner
from workers.parallel import ALONE, Team, shared_batch
from workers.train_config import TrainConfig, one_cycle

QUICK_IMAGES = 1000
QUICK_RECALIBRATION = 500
TELLING = ("loss", "little")  # of the losses that a learner reports, those that tell a collapse
WELL_BELOW = 0.8  # of a guess's cross-entropy: who was below it has learnt something


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReport:
    """What one epoch of training gave.

    Attributes:
        epoch: Finished epochs, from 1.
        epochs: Epochs in all.
        losses: Means over the epoch of what the learner reports; those in TELLING tell a collapse.
        seconds: Time of the epoch's steps.
        images_per_s: Training images per second; each may be seen by several networks of its step.
        learning_rate: Of the last step.
        accuracies: Shares in [0, 1] of at most 1,000 validation images, by the learner's names.
        rollbacks: Rollbacks so far.
        learner: What the learner remembers beside tensors, JSON-able.
        checkpoint: What `Trainer.epochs` resumes from.
    """

    epoch: int
    epochs: int
    losses: dict[str, float]
    seconds: float
    images_per_s: float
    learning_rate: float
    accuracies: dict[str, float]
    rollbacks: int
    learner: dict[str, Any] = field(repr=False, default_factory=dict)
    checkpoint: bytes = field(repr=False)


class Trainer:
    """One training run: a learner, data, optimiser, generator, and how far it has come.

    Only the weights split is learnt from; the validation split is looked at for the reports alone. In a team of
    several, every rank runs the same trainer on learners of the same weights: all draw the same numbers, each learns
    from its share of every batch, and all give the same reports and checkpoints.

    Args:
        learner: What learns; its module is trained in place.
        dataset: Images and labels.
        splits: Of the data set.
        config: Hyperparameters.
        device: Where to train, as torch writes it.
        team: The processes that train together.

    Raises:
        InvalidRequestError: the weights split has fewer than two images, or a batch is too small for the team.
    """

    def __init__(
        self,
        learner: Learner,
        dataset: Dataset,
        splits: Splits,
        config: TrainConfig,
        *,
        device: str = "cpu",
        team: Team = ALONE,
    ) -> None:
        if len(splits.weights) < 2:
            raise InvalidRequestError(
                f"the weights split has {len(splits.weights)} image but training needs at least 2"
            )
        torch.set_num_threads(config.threads)
        self.learner, self.dataset, self.config, self.device, self.team = learner, dataset, config, device, team
        learner.module.to(device)
        learner.extras.to(device)
        self.hashes = splits.hashes
        self.indices = torch.from_numpy(splits.weights)
        self.batch_size = shared_batch(
            config.batch_size, images=len(self.indices), size=team.size, parts=config.accumulate
        )
        self.steps_per_epoch = len(self.indices) // self.batch_size
        self.quick = EvaluationContext(
            EvaluationData.of(dataset, splits, recalibration=QUICK_RECALIBRATION, limit=QUICK_IMAGES), device=device
        )
        self.optimizer = torch.optim.SGD(
            learner.groups(weight_decay=config.weight_decay),
            lr=config.learning_rate,
            momentum=config.momentum,
            nesterov=config.momentum > 0,
            foreach=True,
        )
        self.generator = torch.Generator().manual_seed(config.seed)
        self.step = self.epoch = self.rollbacks = 0
        self.rate_scale = 1.0
        self.best_losses: dict[str, float] = {}
        if config.compile:
            compile_module(learner.module)

    def epochs(self, resume: bytes | None = None) -> Iterator[EpochReport]:
        """Yield a report after every epoch, from the first or from where the checkpoint `resume` stopped.

        Resumed on CPUs with one thread each, by as many ranks, training ends with the same bits as if it had not been
        interrupted.

        Raises:
            InvalidRequestError: the checkpoint is damaged, or of another learner, data split or configuration.
            TrainingCollapsedError: the loss went to NaN or back to guessing more than `config.rollbacks` times.
            RanksDifferError: the team's weights came apart.
        """
        if resume is not None:
            self._restore(Checkpoint.from_bytes(resume))
        last = self._checkpoint()
        while self.epoch < self.config.epochs:
            started = time.perf_counter()
            losses = self._epoch()
            seconds = time.perf_counter() - started
            if (collapse := self._collapse(losses)) is not None:
                self._roll_back(last, collapse)
                continue
            self.epoch += 1
            best = self.best_losses
            self.best_losses = best | {n: min(losses[n], best.get(n, math.inf)) for n in TELLING if n in losses}
            last = self._checkpoint()
            checkpoint = last.to_bytes()
            self.team.check_equal(checkpoint, what=f"the checkpoint of epoch {self.epoch}")
            yield EpochReport(
                epoch=self.epoch,
                epochs=self.config.epochs,
                losses=losses,
                seconds=seconds,
                images_per_s=self.steps_per_epoch * self.batch_size / seconds,
                learning_rate=self.optimizer.param_groups[0]["lr"],
                accuracies=self.learner.watch(self.quick),
                rollbacks=self.rollbacks,
                learner=last.learner,
                checkpoint=checkpoint,
            )

    def _epoch(self) -> dict[str, float]:
        """Run one epoch's steps and return the mean losses."""
        self.learner.start_epoch(self.epoch, self.config.epochs)
        self._remember_alike()
        self.learner.module.train()
        order = self.indices[torch.randperm(len(self.indices), generator=self.generator)]
        steps = self.config.epochs * self.steps_per_epoch
        totals: dict[str, Tensor] = {}
        for chosen in order[: self.steps_per_epoch * self.batch_size].split(self.batch_size):
            rate = one_cycle(self.step, steps, peak=self.config.learning_rate)
            for group in self.optimizer.param_groups:
                group["lr"] = rate * self.rate_scale * group.get("lr_scale", 1.0)
            for name, value in self._train_step(chosen, steps).items():
                totals[name] = totals.get(name, 0) + value
            self.step += 1
        self.team.average([totals[name] for name in sorted(totals)])
        return {name: float(total) / self.steps_per_epoch for name, total in totals.items()}

    def _remember_alike(self) -> None:
        """Let every rank remember what the first one does: on GPUs, what learners score may differ in the last bits."""
        mine = json.dumps(self.learner.state(), sort_keys=True) if self.team.size > 1 else ""
        if (agreed := self.team.from_first(mine)) != mine:
            self.learner.restore(json.loads(agreed))

    def _train_step(self, chosen: Tensor, steps: int) -> dict[str, Tensor]:
        """Learn from this rank's share of a batch, in `accumulate` parts whose gradients add up to their mean's."""
        self.optimizer.zero_grad(set_to_none=True)
        mine = chosen.view(self.team.size, -1)[self.team.rank]
        means: dict[str, Tensor] = {}
        for part in mine.tensor_split(self.config.accumulate):
            share = len(part) / len(mine)
            with self._autocast(enabled=self.config.autocast):
                losses = self.learner.learn(self._batch(part, steps), self._backward(share))
            for name, value in losses.items():
                means[name] = means.get(name, 0) + share * value.float()
        self._move()
        return means

    def _move(self) -> None:
        """Take the optimiser's step along the gradients of all ranks."""
        learner = self.learner
        groups = [[p for p in m.parameters() if p.grad is not None] for m in (learner.module, learner.extras)]
        self.team.average([p.grad for moved in groups for p in moved if p.grad is not None])
        for moved in groups:
            if moved:
                nn.utils.clip_grad_norm_(moved, self.config.clip_norm, foreach=True)
        self.optimizer.step()
        learner.finish_step()
        self.team.average([b for m in (learner.module, learner.extras) for b in m.buffers() if b.is_floating_point()])

    def _autocast(self, *, enabled: bool) -> torch.autocast:
        return torch.autocast(torch.device(self.device).type, dtype=torch.bfloat16, enabled=enabled)

    def _backward(self, share: float) -> Backward:
        def backward(loss: Tensor) -> None:
            with self._autocast(enabled=False):  # gradients have the types of what they belong to
                (loss if share == 1 else loss * share).backward()

        return backward

    def _batch(self, chosen: Tensor, steps: int) -> Batch:
        spec, generator = self.dataset.augmentation, self._images_generator()
        images = augment(self.dataset.train_images[chosen].to(self.device), spec, generator=generator)
        images = normalise(images, self.dataset.mean, self.dataset.std)
        labels = self.dataset.train_labels[chosen].to(self.device)
        targets: Tensor | None = None
        if spec.mixes:
            from workers.data.mixing import mix  # torchvision's transforms take a second to import

            images, targets = mix(images, labels, classes=self.learner.classes, spec=spec, generator=generator)
        return Batch(
            images=images, labels=labels, targets=targets, step=self.step, steps=steps, generator=self.generator
        )

    def _images_generator(self) -> torch.Generator:
        """Return what this rank's images are augmented from: the run's own generator leaves all ranks in one state."""
        if self.team.size == 1:
            return self.generator
        seed = int(torch.randint(2**62, (), generator=self.generator))
        return torch.Generator().manual_seed(seed + self.team.rank)

    def _collapse(self, losses: Mapping[str, float]) -> str | None:
        """What went wrong in an epoch of these mean losses: no number, or guessing after having been well below."""
        guessing = math.log(self.learner.classes)
        for name in (name for name in TELLING if name in losses):
            value, best = losses[name], self.best_losses.get(name, math.inf)
            if not math.isfinite(value) or best < WELL_BELOW * guessing <= WELL_BELOW * value:
                return f"the {'loss' if name == 'loss' else f'loss of the {name}'} was {value:.3g}"
        tensors = (*self.learner.module.state_dict().values(), *self.learner.extras.state_dict().values())
        if not all(bool(t.isfinite().all()) for t in tensors if t.is_floating_point()):
            return "a weight was no number after the last step"  # losses are taken before their step
        return None

    def _roll_back(self, last: Checkpoint, collapse: str) -> None:
        if self.rollbacks >= self.config.rollbacks:
            raise TrainingCollapsedError(
                f"{collapse} in epoch {self.epoch + 1} after {self.rollbacks} rollbacks; lower "
                f"learning_rate (it was {self.config.learning_rate:g}) or clip_norm, and train again"
            )
        rollbacks, scale = self.rollbacks + 1, self.rate_scale / 2
        self._restore(last)
        self.rollbacks, self.rate_scale = rollbacks, scale
        self.generator.manual_seed(self.config.seed + 1_000_003 * rollbacks)

    def _parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        yield from ((f"model.{n}", p) for n, p in self.learner.module.named_parameters())
        yield from ((f"extra.{n}", p) for n, p in self.learner.extras.named_parameters())

    def _checkpoint(self) -> Checkpoint:
        momenta = {
            name: self.optimizer.state[p]["momentum_buffer"].detach().clone()
            for name, p in self._parameters()
            if self.optimizer.state.get(p, {}).get("momentum_buffer") is not None
        }
        return Checkpoint(
            epoch=self.epoch,
            step=self.step,
            rate_scale=self.rate_scale,
            rollbacks=self.rollbacks,
            best_losses=self.best_losses,
            config=self.config.to_dict(),
            identity=self.learner.identity(),
            splits=self.hashes,
            learner=self.learner.state(),
            model=_copies(self.learner.module),
            extra=_copies(self.learner.extras),
            momentum=momenta,
            rng=self.generator.get_state(),
        )

    def _restore(self, checkpoint: Checkpoint) -> None:
        if checkpoint.splits != self.hashes:
            raise InvalidRequestError(
                "the checkpoint was trained on other data splits; use the same data set, seed and train_fraction"
            )
        _check_config(self.config.to_dict(), checkpoint.config)
        check_identity(self.learner.identity(), checkpoint)
        if checkpoint.step != checkpoint.epoch * self.steps_per_epoch:
            raise InvalidRequestError(
                f"the checkpoint took {checkpoint.step} steps in {checkpoint.epoch} epochs but here an epoch has "
                f"{self.steps_per_epoch}, since batches are shared by {self.team.size} workers; resume with as many "
                "workers as before"
            )
        self.learner.restore(checkpoint.learner)
        load_state(self.learner.module, checkpoint.model)
        load_state(self.learner.extras, checkpoint.extra)
        self.optimizer.state.clear()
        for name, parameter in self._parameters():
            if name in checkpoint.momentum:
                buffer = torch.empty_like(parameter).copy_(checkpoint.momentum[name])
                self.optimizer.state[parameter]["momentum_buffer"] = buffer
        self.generator.set_state(checkpoint.rng)
        self.step, self.epoch = checkpoint.step, checkpoint.epoch
        self.rate_scale, self.rollbacks, self.best_losses = (
            checkpoint.rate_scale,
            checkpoint.rollbacks,
            checkpoint.best_losses,
        )


def _copies(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _check_config(config: dict[str, Any], trained: dict[str, Any]) -> None:
    if changed := sorted(k for k in config.keys() | trained.keys() if config.get(k) != trained.get(k)):
        raise InvalidRequestError(
            f"the checkpoint was trained with {changed[0]} {trained.get(changed[0])!r} but this job has "
            f"{config.get(changed[0])!r}; resume with the same configuration"
        )
