"""A little and a big session joined as they are deployed: the score decides, the big takes what it carried."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edge_agent.errors import ModelRefusedError

Tensor = npt.NDArray[np.float32]

_LOGITS = ("logits",)


class Looked(NamedTuple):
    """What the little says of one image, by how much the score is above the threshold, and what the big would take."""

    logits: Tensor
    score: float
    lead: float
    tensor: Tensor
    outputs: list[Tensor]

    @property
    def escalates(self) -> bool:
        """Whether the threshold asks for the big: a score below it, or one that is no number."""
        return not self.lead >= 0


class Coupled:
    """A pair of sessions under one operating point.

    Args:
        little: `image` to `logits`, `score` and what is carried.
        big: Some of `image`, `little_logits` and what is carried, to `logits`.
        thresholds: One for each class that the little may predict, float64 (classes,).

    Raises:
        ModelRefusedError: If the graphs do not fit together.
    """

    def __init__(self, little: Any, big: Any, *, thresholds: npt.NDArray[np.float64]) -> None:
        self._run_little, self._run_big = little.run, big.run
        carried = wires(little, big)
        self._outputs = ("logits", "score", *carried)
        inputs = [value.name for value in big.get_inputs()]
        places = {**{name: at for at, name in enumerate(self._outputs)}, "little_logits": 0}
        self._takes_image = "image" in inputs
        self._wires = tuple((name, places[name]) for name in inputs if name != "image")
        self._thresholds: list[float] = thresholds.tolist()
        self._only: float | None = self._thresholds[0] if len(set(self._thresholds)) == 1 else None

    def look(self, tensor: Tensor) -> Looked:
        """Return what the little says of one image, float32 (1, C, H, W)."""
        outputs = self._run_little(self._outputs, {"image": tensor})
        logits, score = outputs[0][0], outputs[1].item()
        threshold = self._thresholds[logits.argmax()] if self._only is None else self._only
        return Looked(logits, score, score - threshold, tensor, outputs)

    def escalate(self, looked: Looked) -> Tensor:
        """Return the big's logits, (classes,), of an image that the little has looked at."""
        logits: Tensor = self._run_big(_LOGITS, self.big_feeds(looked))[0][0]
        return logits

    def big_feeds(self, looked: Looked) -> dict[str, Tensor]:
        """Return what the big takes for an image that the little has looked at."""
        outputs = looked.outputs
        feeds = {name: outputs[at] for name, at in self._wires}
        if self._takes_image:
            feeds["image"] = looked.tensor
        return feeds

    def run(self, tensor: Tensor, *, big: bool | None = None) -> Tensor:
        """Return the pair's logits of one image, through a given route, or through the one that the score asks for."""
        looked = self.look(tensor)
        if looked.escalates if big is None else big:
            return self.escalate(looked)
        return looked.logits


def wires(little: Any, big: Any) -> tuple[str, ...]:
    """Return the names of what the big takes from the little beside its logits.

    Raises:
        ModelRefusedError: If the graphs do not fit together.
    """
    carried = tuple(v.name for v in big.get_inputs() if v.name not in ("image", "little_logits"))
    have = {value.name for value in little.get_outputs()}
    if missing := [name for name in ("logits", "score", *carried) if name not in have]:
        raise ModelRefusedError(
            f"little.onnx does not give {', '.join(missing)}; its outputs are {', '.join(sorted(have))}"
        )
    if [value.name for value in little.get_inputs()] != ["image"]:
        raise ModelRefusedError("little.onnx must take `image` and nothing else; export the pair again")
    if "logits" not in {value.name for value in big.get_outputs()}:
        raise ModelRefusedError("big.onnx does not give logits; export the pair again")
    return carried


def thresholds_of(threshold: Any, *, classes: int) -> npt.NDArray[np.float64]:
    """Return an operating point's threshold as one for each class, float64 (classes,).

    Raises:
        ModelRefusedError: If there is another number of thresholds.
    """
    if threshold in ("never", "always"):
        return np.full(classes, -np.inf if threshold == "never" else np.inf)
    values = np.asarray(threshold, dtype=np.float64).reshape(-1)
    if len(values) not in (1, classes):
        raise ModelRefusedError(f"the operating point has {len(values)} thresholds for {classes} classes")
    return np.broadcast_to(values, (classes,))
