"""The networks of the tables, their costs, and how each is trained by itself on handwritten digits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from nas_service.block import Block
from nas_service.plan import NetworkPlan

TRAINING_IMAGES = 500  # of 1,797: few, so that networks differ; the rest is what they are scored on
STEPS = 60
BATCH = 64
LEARNING_RATE = 0.01
EDGES = ((0, 1), (0, 2), (1, 2), (1, 3), (2, 3))
CELL_WIDTH = 16
CELL_SIDE = 4
STAGE_GENES: dict[str, tuple[Any, ...]] = {
    f"{name}{stage}": values
    for stage in range(2)
    for name, values in {
        "width": (8, 16, 24),
        "depth": (1, 2),
        "kernel": (3, 5),
        "kind": ("separable", "conv"),
    }.items()
}


class Digits:
    """Handwritten digits, 8x8, standardised, in a fixed shuffled order: the first are for training."""

    def __init__(self) -> None:
        bunch = load_digits()
        order = np.random.default_rng(0).permutation(len(bunch.target))
        images = torch.tensor(bunch.images[order], dtype=torch.float32)[:, None]
        self.images = (images - images.mean()) / images.std()
        self.labels = torch.tensor(bunch.target[order], dtype=torch.int64)

    def outputs(self, network: nn.Module, *, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Train the network; what it gives for the other images: whether it is right (n,), and its margin (n,)."""
        generator = torch.Generator().manual_seed(seed)
        optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-3, foreach=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
        network.train()
        for _ in range(STEPS):
            drawn = torch.randperm(TRAINING_IMAGES, generator=generator)[:BATCH]
            optimiser.zero_grad()
            F.cross_entropy(network(self.images[drawn]), self.labels[drawn]).backward()
            optimiser.step()
            schedule.step()
        network.eval()
        with torch.no_grad():
            likely = network(self.images[TRAINING_IMAGES:]).softmax(1)
        best = likely.topk(2, dim=1)
        right = best.indices[:, 0] == self.labels[TRAINING_IMAGES:]
        return right.numpy(), (best.values[:, 0] - best.values[:, 1]).numpy()


class CellNetwork(nn.Module):
    """A stem, one cell of four nodes whose five edges each hold an operation, pooling and a linear head."""

    def __init__(self, operations: Mapping[str, str]) -> None:
        super().__init__()
        self.stem = _unit(1, 3, stride=2)
        self.edges = nn.ModuleDict(
            {edge: _unit(CELL_WIDTH, KERNELS[op]) for edge, op in operations.items() if op in KERNELS}
        )
        self.operations = dict(operations)
        self.head = nn.Linear(CELL_WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, 10) of images (N, 1, 8, 8)."""
        nodes = [F.relu(self.stem(x))]
        for node in range(1, 4):
            total = torch.zeros_like(nodes[0])
            for index, (start, end) in enumerate(EDGES):
                operation = self.operations[f"e{index}"]
                if end != node or operation == "none":
                    continue
                x = nodes[start]
                total = total + (x if operation == "skip" else self.edges[f"e{index}"](F.relu(x)))
            nodes.append(total)
        logits: Tensor = self.head(F.relu(nodes[3]).mean((2, 3)))
        return logits


KERNELS = {"conv1": 1, "conv3": 3}
OPERATIONS = ("none", "skip", *KERNELS)


def working(operations: Mapping[str, str]) -> dict[str, str]:
    """The same cell with `none` on every edge that lies on no way from the first node to the last."""
    used = {f"e{i}" for i in range(len(EDGES)) if operations[f"e{i}"] != "none"}
    while True:
        kept = {
            f"e{i}"
            for i, (start, end) in enumerate(EDGES)
            if f"e{i}" in used
            and (start == 0 or any(f"e{j}" in used and to == start for j, (_, to) in enumerate(EDGES)))
            and (end == 3 or any(f"e{j}" in used and source == end for j, (source, _) in enumerate(EDGES)))
        }
        if kept == used:
            return {edge: op if edge in used else "none" for edge, op in operations.items()}
        used = kept


def cell_macs(operations: Mapping[str, str]) -> int:
    """Multiply-accumulates of the whole network for one image."""
    area = CELL_SIDE**2
    convolutions = sum(KERNELS[op] ** 2 for op in operations.values() if op in KERNELS)
    return area * CELL_WIDTH * 9 + area * CELL_WIDTH**2 * convolutions + CELL_WIDTH * 10


def staged(genes: Mapping[str, Any]) -> NetworkPlan:
    """A stem and two stages; `width0`, `depth0`, `kernel0`, `kind0` and so on say how each is."""
    blocks = [_block("conv", 1, 8, slot="stem.0")]
    for stage in range(2):
        for position in range(genes[f"depth{stage}"]):
            kind, width, kernel = genes[f"kind{stage}"], genes[f"width{stage}"], genes[f"kernel{stage}"]
            reads, slot = blocks[-1].out_channels, f"stage{stage}.{position}"
            blocks.append(_block(kind, reads, width, kernel=kernel, stride=1 if position else 2, slot=slot))
    return NetworkPlan(channels=1, resolution=8, blocks=tuple(blocks), classes=10, head="big")


def _block(kind: str, reads: int, writes: int, *, kernel: int = 3, stride: int = 1, slot: str) -> Block:
    return Block(
        kind=kind,
        in_channels=reads,
        out_channels=writes,
        kernel=kernel,
        stride=stride,
        bank="big",
        slot=slot,
        norm="big",
    )


def _unit(channels: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels, CELL_WIDTH, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(CELL_WIDTH))
