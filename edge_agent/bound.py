"""A pair's two sessions over memory of their own, as the runtime runs them: nothing is allocated or copied per image.

Inputs and outputs have one shape each (batch 1, static shapes), so every tensor has its place once and for all: the
little writes what it carries where the big reads it. Compared with `InferenceSession.run`, that saves time for every
image. The arrays are overwritten by the next image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.coupled import Tensor, wires
from edge_agent.errors import ModelRefusedError


class BoundPair:
    """Little and big, one image at a time: fill `image`, `look`, then perhaps `escalate`. Not for several threads.

    Args:
        little: Session from `image` to `logits`, `score` and what is carried.
        big: Session from some of `image`, `little_logits` and what is carried to `logits`.
        input_shape: What `image` must be, (1, C, H, W).
        classes: How many classes the logits must have.

    Attributes:
        image: float32 (1, C, H, W), to be filled with the normalised image.
        little_logits: float32 (classes,), of the image last looked at.
        big_logits: float32 (classes,), of the image last escalated.

    Raises:
        ModelRefusedError: If the graphs do not fit together or the image, or a shape is not static.
    """

    def __init__(self, little: Any, big: Any, *, input_shape: tuple[int, ...], classes: int) -> None:
        carried = wires(little, big)
        self._run_little, self._run_big = little.run_with_iobinding, big.run_with_iobinding
        self.image = _room(little.get_inputs()[0], "little.onnx", shape=input_shape)
        places = {value.name: value for value in little.get_outputs()}
        arrays = {
            name: _room(places[name], "little.onnx", shape=(1, classes) if name == "logits" else None)
            for name in ("logits", "score", *carried)
        }
        if arrays["score"].size != 1:
            raise ModelRefusedError(f"score of little.onnx is {arrays['score'].shape} but must be one number")
        [last] = [value for value in big.get_outputs() if value.name == "logits"]
        logits = _room(last, "big.onnx", shape=(1, classes))
        self._little, self._big = little.io_binding(), big.io_binding()
        _bind(self._little.bind_input, "image", self.image)
        for name, array in arrays.items():
            _bind(self._little.bind_output, name, array)
        given = {**arrays, "image": self.image, "little_logits": arrays["logits"]}
        for value in big.get_inputs():
            _bind(self._big.bind_input, value.name, _fitting(value, given[value.name]))
        _bind(self._big.bind_output, "logits", logits)
        self._kept = (arrays, logits)  # the sessions know addresses only
        self._score = arrays["score"]
        self.little_logits, self.big_logits = arrays["logits"][0], logits[0]
        self.set_thresholds(np.zeros(classes))

    def set_thresholds(self, thresholds: npt.NDArray[np.float64]) -> None:
        """Take other thresholds, one for each class that the little may predict, float64 (classes,)."""
        values: list[float] = thresholds.tolist()
        self._thresholds, self._only = values, values[0] if len(set(values)) == 1 else None

    def look(self) -> tuple[float, float]:
        """Run the little; return the score, and by how much it is above the threshold."""
        self._run_little(self._little)
        score: float = self._score.item()
        threshold = self._thresholds[self.little_logits.argmax()] if self._only is None else self._only
        return score, score - threshold

    def escalate(self) -> None:
        """Run the big on the image that the little has looked at."""
        self._run_big(self._big)


def _room(value: Any, file: str, *, shape: tuple[int, ...] | None) -> Tensor:
    """Return memory for a graph's input or output."""
    got = tuple(value.shape)
    if value.type != "tensor(float)" or not all(isinstance(side, int) and side > 0 for side in got):
        raise ModelRefusedError(
            f"{value.name} of {file} is {value.type} {got} but must be float with a static shape; export the pair again"
        )
    if shape is not None and got != shape:
        raise ModelRefusedError(f"{value.name} of {file} is {got} but bundle.json says {shape}; export the pair again")
    return np.zeros(got, dtype=np.float32)


def _fitting(value: Any, array: Tensor) -> Tensor:
    if tuple(value.shape) != array.shape or value.type != "tensor(float)":
        raise ModelRefusedError(
            f"big.onnx takes {value.name} as {value.type} {tuple(value.shape)} but the little gives float "
            f"{array.shape}; export the pair again"
        )
    return array


def _bind(bind: Any, name: str, array: Tensor) -> None:
    bind(name, "cpu", 0, np.float32, list(array.shape), array.ctypes.data)
