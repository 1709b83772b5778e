"""Running both graphs of a pair in onnxruntime over many images, as a board does but many at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_service.errors import InvalidRequestError
from workers.evaluation import Outputs
from workers.export import ExportedPair
from workers.quantize.graph import with_free_batch

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GraphOutputs:
    """What two graphs say of N images: the logits of both routes, and the (N,) scores that the little computes."""

    outputs: Outputs = field(repr=False)
    scores: Floats = field(repr=False)

    @property
    def accuracies(self) -> dict[str, float]:
        """Shares in [0, 1] that `little` and `big` (everything escalated) classify rightly."""
        return {
            "little": float(self.outputs.little_correct.mean()),
            "big": float(self.outputs.big_correct.mean()),
        }


class GraphRunner:
    """One graph, open in onnxruntime on one thread; float or quantised.

    Args:
        model: An ONNX file of batch 1.
    """

    def __init__(self, model: bytes) -> None:
        proto = onnx.load_model_from_string(model)
        free = with_free_batch(proto)
        self._one_by_one = free is None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        content = model if free is None else free.SerializeToString()
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.inputs = tuple(value.name for value in self._session.get_inputs())
        self.outputs = tuple(value.name for value in self._session.get_outputs())

    def __call__(self, values: dict[str, Floats]) -> dict[str, Floats]:
        """Return the outputs by name for N images; `values` holds the inputs, and may hold more."""
        feed = {name: values[name] for name in self.inputs}
        if not self._one_by_one:
            return dict(zip(self.outputs, self._session.run(None, feed), strict=True))
        count = len(next(iter(feed.values())))
        rows = [self._session.run(None, {k: v[i : i + 1] for k, v in feed.items()}) for i in range(count)]
        return {name: np.concatenate([row[i] for row in rows]) for i, name in enumerate(self.outputs)}


def little_values(little: GraphRunner, batches: Iterable[Tensor]) -> Iterator[dict[str, Floats]]:
    """Yield, batch by batch, all that a big may read: `image`, `carry_*`, `little_logits`; and `score`.

    Args:
        little: The little's graph.
        batches: Normalised images (N, C, H, W).
    """
    for batch in batches:
        image = np.ascontiguousarray(batch.numpy())
        values = little({"image": image})
        yield {**values, "image": image, "little_logits": values["logits"]}


def run_pair(models: ExportedPair, batches: Iterable[Tensor], *, labels: NDArray[np.int64]) -> GraphOutputs:
    """Return the outputs of both graphs for every image.

    Args:
        models: The two graphs.
        batches: Normalised images (N, C, H, W).
        labels: (N,) of all the images.

    Raises:
        InvalidRequestError: no images, or outputs that are not finite.
    """
    little, big = GraphRunner(models.little), GraphRunner(models.big)
    rows = [(v["logits"], big(v)["logits"], v["score"]) for v in little_values(little, batches)]
    if not rows:
        raise InvalidRequestError("there are no images to run the graphs on; give a split with at least one image")
    logits, escalated, scores = (np.concatenate([row[i] for row in rows]) for i in range(3))
    outputs = Outputs(
        little_logits=torch.from_numpy(logits), escalated_logits=torch.from_numpy(escalated), labels=labels
    )
    return GraphOutputs(outputs=outputs, scores=scores.reshape(-1))
