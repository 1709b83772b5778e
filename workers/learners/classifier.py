"""A static net that learns from labels, and from a trained teacher if it has one.

Hinton et al., Distilling the Knowledge in a Neural Network (2015): the teacher sees the very images that the student
sees, augmentation included. Its forward passes are part of what the student costs to train.
"""

from __future__ import annotations

import copy
import hashlib

import torch
from torch import Tensor, nn

from nas_service.errors import InvalidRequestError
from workers.baselines.multi_exit import Classifier, MultiExit, scored
from workers.evaluation import EvaluationContext
from workers.learner import Backward, Batch, PlainLearner
from workers.losses import branch_loss
from workers.train_config import TrainConfig


class ClassifierLearner(PlainLearner):
    """One net, one loss.

    Args:
        net: Trained in place.
        config: Its `little_distillation` is the teacher's share of the loss, its `temperature` the distillation's.
        teacher: A trained net whose last exit teaches; it is copied and stays as it is. None: labels alone.

    Raises:
        InvalidRequestError: the teacher knows other classes.
    """

    def __init__(self, net: Classifier, config: TrainConfig, *, teacher: MultiExit | None = None) -> None:
        if teacher is not None and teacher.classes != net.classes:
            raise InvalidRequestError(
                f"the teacher knows {teacher.classes} classes but the student {net.classes}; train it on the same data"
            )
        taught_by = None if teacher is None else weights_digest(teacher)
        identity = {"name": "classifier", "net": net.key, "teacher": taught_by}
        super().__init__(net, classes=net.classes, identity=identity)
        self.net, self.config = net, config
        self.teacher = None if teacher is None else _frozen(teacher)

    def learn(self, batch: Batch, backward: Backward) -> dict[str, Tensor]:
        """Learn from one batch; `loss` is what is minimised, `labels` the cross-entropy with the labels alone."""
        labels = batch.labels if batch.targets is None else batch.targets
        (logits,) = self.net(batch.images)
        logits, lesson = logits.float(), self._lesson(batch.images)
        loss = branch_loss(logits, labels, teacher=lesson, weight=self.config.little_distillation, config=self.config)
        backward(loss)
        with torch.no_grad():
            hard = branch_loss(logits, labels, teacher=None, weight=0.0, config=self.config)
        return {"loss": loss.detach(), "labels": hard}

    def watch(self, quick: EvaluationContext) -> dict[str, float]:
        """Return the accuracy of a recalibrated copy as `net`."""
        (accuracy,) = exit_accuracies(self.net, quick)
        return {"net": accuracy}

    def _lesson(self, images: Tensor) -> Tensor | None:
        if self.teacher is None or self.config.little_distillation == 0:
            return None
        with torch.no_grad():
            lesson: Tensor = self.teacher.to(images.device)(images)[-1]
        return lesson.float()


def exit_accuracies(net: MultiExit, quick: EvaluationContext) -> tuple[float, ...]:
    """Return the accuracy in [0, 1] of every exit of a recalibrated copy, on the context's images."""
    plain, labels = scored(net, quick.recalibration), torch.from_numpy(quick.labels)
    with torch.inference_mode():
        answers = [torch.stack([logits.argmax(1).cpu() for logits in plain(batch)]) for batch in quick.batches]
    right = torch.cat(answers, dim=1) == labels
    return tuple(float(share) for share in right.double().mean(1))


def weights_digest(net: nn.Module) -> str:
    """Return the SHA-256 of all weights and buffers, by name: equal for equal teachers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _frozen(teacher: MultiExit) -> MultiExit:
    return copy.deepcopy(teacher).eval().requires_grad_(False)
