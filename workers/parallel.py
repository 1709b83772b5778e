"""Several processes that train one model: each learns from its share of every batch, and all take the same step.

Not DistributedDataParallel: its reducer counts on one forward and one backward pass, in which every parameter has its
turn once. A sandwich's step has several of both over different parameters; what the last pass leaves out would not be
reduced, and each pass would be reduced by itself. Here every rank draws the same pairs from the same generator, so the
same parameters have gradients everywhere, and all of a step's gradients are averaged at once after its last backward
pass. What batches leave in buffers (running means, multipliers) is averaged after every step, so ranks stay bit-equal.
BatchNorm normalises a rank's share by the statistics of that share, as it does under DistributedDataParallel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from nas_service.errors import InvalidRequestError
from workers.errors import RanksDifferError


class Team(Protocol):
    """The processes of one training run, as one of them sees it.

    Attributes:
        rank: Of this process, from 0.
        size: Processes in all.
    """

    rank: int
    size: int

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor, in place, by its mean over the ranks; all ranks give the same shapes in order."""
        ...

    def from_first(self, text: str) -> str:
        """Return the text of rank 0."""
        ...

    def check_equal(self, data: bytes, *, what: str) -> None:
        """Raise RanksDifferError, on every rank, unless all ranks give the same `data`."""
        ...


class Alone:
    """A team of one."""

    rank, size = 0, 1

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Leave the tensors as they are."""

    def from_first(self, text: str) -> str:
        """Return `text`."""
        return text

    def check_equal(self, data: bytes, *, what: str) -> None:
        """Do nothing."""


class ProcessGroup:
    """The ranks of torch's default process group, which must have been initialised: gloo on CPUs, NCCL on GPUs.

    Args:
        device: Where this rank's tensors live, as torch writes it.
    """

    def __init__(self, *, device: str = "cpu") -> None:
        self.rank, self.size, self._device = dist.get_rank(), dist.get_world_size(), torch.device(device)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Average all tensors by one all-reduce of one flat copy, in the widest of their types."""
        if not tensors:
            return
        with torch.no_grad():
            flat = torch.cat([tensor.reshape(-1).to(self._device) for tensor in tensors])
            dist.all_reduce(flat)
            flat /= self.size
            for tensor, mean in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
                tensor.copy_(mean.view(tensor.shape))

    def from_first(self, text: str) -> str:
        """Return the text of rank 0."""
        said = [text]
        dist.broadcast_object_list(said, src=0, device=self._device)
        return said[0]

    def check_equal(self, data: bytes, *, what: str) -> None:
        """Compare SHA-256 over the ranks.

        Raises:
            RanksDifferError: a rank has other data than rank 0.
        """
        digests: list[str] = [""] * self.size
        dist.all_gather_object(digests, hashlib.sha256(data).hexdigest())
        if others := [rank for rank, digest in enumerate(digests) if digest != digests[0]]:
            raise RanksDifferError(
                f"{what} of worker {others[0]} differs from worker 0's; use the same GPU model and the same version of "
                "torch on all workers, or one worker, and resume"
            )


ALONE = Alone()


def shared_batch(batch_size: int, *, images: int, size: int, parts: int) -> int:
    """Return how many images a step takes: at most `batch_size` and `images`, and the same number for every rank.

    Args:
        batch_size: Images wished for.
        images: Images that there are.
        size: Ranks.
        parts: Parts that a rank's share is run in.

    Raises:
        InvalidRequestError: a part would have fewer than 2 images, too few for BatchNorm.
    """
    least = min(batch_size, images)
    if (size > 1 or parts > 1) and least // size < 2 * parts:
        raise InvalidRequestError(
            f"a batch of {least} images over {size} workers in {parts} parts each leaves fewer than 2 images for a "
            f"part; raise batch_size to {2 * size * parts} or more, or lower workers or accumulate"
        )
    return least - least % size
