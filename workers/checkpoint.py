"""Checkpoints: safetensors with JSON metadata, never pickle, since they travel between machines.

Names of tensors: `model.NAME`, `extra.NAME`, `momentum.model.NAME`, `momentum.extra.NAME`, `rng`. The metadata holds
one JSON text under `checkpoint`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from nas_service.errors import InvalidRequestError
from workers.supernet import Supernet

VERSION = 3
MIN_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Everything that training needs to go on as if it had not stopped.

    Attributes:
        epoch: Finished epochs.
        step: Finished steps.
        rate_scale: Factor on the learning rate; halved by every rollback.
        rollbacks: Rollbacks so far.
        best_losses: The least mean of an epoch so far of each loss that tells a collapse, by name.
        config: The training configuration, as data.
        identity: What must be equal for the weights to fit: of a supernet, its space's name and hash and the data's
            shape.
        splits: SHA-256 of each data split.
        learner: What the learner remembers beside tensors.
        model: Weights and buffers by name.
        extra: Those trained beside the model, such as architecture masks.
        momentum: SGD's momentum by `model.NAME` or `extra.NAME`; absent for weights that no step has used yet.
        rng: State of the generator.
    """

    epoch: int
    step: int
    rate_scale: float = 1.0
    rollbacks: int = 0
    best_losses: dict[str, float] = field(default_factory=dict)
    config: dict[str, Any]
    identity: dict[str, Any]
    splits: dict[str, str]
    learner: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Tensor] = field(repr=False)
    extra: dict[str, Tensor] = field(default_factory=dict, repr=False)
    momentum: dict[str, Tensor] = field(repr=False)
    rng: Tensor = field(repr=False)

    def to_bytes(self) -> bytes:
        """Return the checkpoint as safetensors."""
        tensors = {f"{kind}.{n}": t for kind in _TENSORS for n, t in getattr(self, kind).items()}
        tensors["rng"] = self.rng
        meta = {name: getattr(self, name) for name in _META} | {"version": VERSION}
        plain = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
        return save_tensors(plain, metadata={"checkpoint": json.dumps(meta, sort_keys=True)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Checkpoint:
        """Return the checkpoint in `data`; InvalidRequestError if it is damaged or of another version."""
        try:
            meta = json.loads(read_metadata(data)["checkpoint"])
            tensors = load_tensors(data)
            version = meta.pop("version")
            rng = tensors.pop("rng")
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise InvalidRequestError(
                f"these {len(data)} bytes are no whole checkpoint ({type(error).__name__}: {error}); "
                "fetch the file again, or go back to an earlier epoch"
            ) from None
        if version == 2 and "best_loss" in meta:  # which watched one loss alone
            best, version = meta.pop("best_loss"), VERSION
            meta["best_losses"] = {} if best is None else {"loss": best}
        if version != VERSION or set(meta) != set(_META):
            raise InvalidRequestError(
                f"the checkpoint has version {version!r} but this code reads {VERSION}; train again"
            )
        model, extra, momentum = (
            {n.removeprefix(f"{kind}."): t for n, t in tensors.items() if n.startswith(f"{kind}.")} for kind in _TENSORS
        )
        return cls(**meta, model=model, extra=extra, momentum=momentum, rng=rng)


_META = ("epoch", "step", "rate_scale", "rollbacks", "best_losses", "config", "identity", "splits", "learner")
_TENSORS = ("model", "extra", "momentum")


def read_metadata(data: bytes) -> dict[str, str]:
    """Return the safetensors header's metadata; ValueError or KeyError if there is none."""
    size = int.from_bytes(data[:MIN_BYTES], "little")
    if len(data) < MIN_BYTES or size > len(data) - MIN_BYTES:
        raise ValueError("the header is cut off")
    metadata: dict[str, str] = json.loads(data[MIN_BYTES : MIN_BYTES + size])["__metadata__"]
    return metadata


def space_identity(supernet: Supernet) -> dict[str, Any]:
    """Return what must be equal for weights to fit: the space's hash and the data's shape."""
    space = supernet.space
    return {
        "name": space.definition.name,
        "hash": space.definition.hash(),
        "channels": space.channels,
        "resolution": space.resolution,
        "classes": space.classes,
    }


def load_weights(supernet: Supernet, checkpoint: Checkpoint) -> None:
    """Copy the checkpoint's weights into `supernet`; InvalidRequestError if they belong to another space."""
    check_identity(space_identity(supernet), checkpoint)
    load_state(supernet, checkpoint.model)


def check_identity(identity: dict[str, Any], checkpoint: Checkpoint) -> None:
    """Raise InvalidRequestError unless the checkpoint is of `identity`, saying what differs."""
    here, there = identity, checkpoint.identity
    if differing := sorted(key for key in here.keys() | there.keys() if here.get(key) != there.get(key)):
        key = "name" if "name" in differing else differing[0]
        raise InvalidRequestError(
            f"the checkpoint belongs to space {there.get('name')!r} ({key} {there.get(key)!r}), but this job has "
            f"{here.get('name')!r} ({key} {here.get(key)!r}); use that space and data set, or train a new supernet"
        )


def load_state(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copy `tensors` into the module's parameters and buffers; InvalidRequestError if names or shapes differ."""
    state = module.state_dict()
    if set(state) != set(tensors) or any(state[n].shape != t.shape for n, t in tensors.items()):
        raise InvalidRequestError("the checkpoint's weights do not fit what it says it is; train again")
    with torch.no_grad():
        for name, tensor in tensors.items():
            state[name].copy_(tensor)
