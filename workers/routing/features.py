"""What the learned router looks at, computed in the graph from the little's outputs alone.

After Kag et al., Efficient Edge Inference by Selective Query, ICLR 2023, whose router takes the entropy, the margins of
the ten likeliest classes and a projected feature; here: the sorted top-k probabilities, the margins between neighbours
in that order (as log-probabilities, which do not saturate), the entropy, and optionally the pooled last feature.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from workers.network import Pair

TOP = 10


class RouterFeatures(nn.Module):
    """Turns logits (N, classes) and, if `pooled` > 0, pooled features (N, pooled) into (N, size)."""

    def __init__(self, *, classes: int, pooled: int = 0) -> None:
        super().__init__()
        self.classes, self.pooled = classes, pooled
        self.top = min(TOP, classes)

    @property
    def size(self) -> int:
        """Features per input."""
        return 2 * self.top + self.pooled

    def forward(self, logits: Tensor, pooled: Tensor | None = None) -> Tensor:
        """Return (N, size): top probabilities, top - 1 margins, entropy, pooled features."""
        logs = torch.log_softmax(logits, dim=1)
        best = logs.topk(self.top, dim=1).values
        entropy = -(logs.exp() * logs).sum(dim=1, keepdim=True)
        columns = [best.exp(), best[:, :-1] - best[:, 1:], entropy]
        return torch.cat([*columns, pooled] if pooled is not None else columns, dim=1)


def pool_last_features(pair: Pair, images: Iterable[Tensor]) -> Tensor:
    """Return (N, channels) what the little's head sees, for normalised batches (B, C, H, W); the pair in eval mode."""
    with torch.inference_mode():
        return torch.cat([pair.little.features(batch, len(pair.little.blocks)).mean((2, 3)) for batch in images])
