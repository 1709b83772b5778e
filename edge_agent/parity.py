"""Does this board compute what the cluster computed? parity.npz holds inputs with their expected outputs.

Arrays: `images` uint8 (N, H, W, C); `little_logits` and `big_logits` float32 (N, K), the big's for every image whatever
its route; `scores` float32 (N,); `routes` uint8 (N,), 0 little and 1 big, at the bundle's default operating point.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edge_agent.bound import BoundPair
from edge_agent.errors import BundleError
from edge_agent.normaliser import Normaliser

PARITY_ARRAYS = ("images", "little_logits", "big_logits", "scores", "routes")
_MAX_UNPACKED_BYTES = 256 << 20
_TOLERANCE = {"fp32": 1e-3, "int8": 1e-1}
_MAX_MISMATCH_SHARE = 0.005
_TIE = 1e-5  # scores this close to the threshold may fall on either side of it on another processor


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityInputs:
    """The content of parity.npz."""

    images: npt.NDArray[np.uint8]
    little_logits: npt.NDArray[np.float32]
    big_logits: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    routes: npt.NDArray[np.uint8]

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in PARITY_ARRAYS}
        if len(set(lengths.values())) != 1 or lengths["images"] == 0:
            raise BundleError(f"parity arrays have lengths {lengths} but must be equal and at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """How far this board is from the cluster: over `n` inputs, logits, routes, and labels at the default point."""

    n: int
    max_abs_error: float
    route_mismatches: int
    label_mismatches: int

    def check(self, expected: ParityInputs, *, precision: Literal["fp32", "int8"]) -> None:
        """Raise BundleError if logits differ beyond rounding, or routes or labels for more than 0.5 % of the inputs."""
        largest = max(float(np.abs(logits).max()) for logits in (expected.little_logits, expected.big_logits))
        allowed = _TOLERANCE[precision] * max(1.0, largest)
        mismatches = max(self.route_mismatches, self.label_mismatches)
        if not self.max_abs_error <= allowed or mismatches > _MAX_MISMATCH_SHARE * self.n:
            raise BundleError(
                f"parity failed on {self.n} inputs: logits differ by {self.max_abs_error:.2g} (allowed {allowed:.2g}), "
                f"{self.route_mismatches} routes and {self.label_mismatches} labels differ; this machine's onnxruntime "
                "computes another thing than the exporter did: install another version, or export the pair again"
            )


def load_parity(path: Path) -> ParityInputs:
    """Return the arrays of a parity.npz; pickles and archives that unpack beyond 256 MiB are refused."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MAX_UNPACKED_BYTES:
                raise BundleError(f"{path.name} unpacks to more than {_MAX_UNPACKED_BYTES} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            if missing := sorted(set(PARITY_ARRAYS) - set(arrays.files)):
                raise BundleError(f"{path.name} lacks {', '.join(missing)}; it must hold {', '.join(PARITY_ARRAYS)}")
            content: dict[str, Any] = {name: arrays[name] for name in PARITY_ARRAYS}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path.name} cannot be read: {error}; get the bundle again") from None
    return ParityInputs(**content)


def compare(
    pair: BoundPair, expected: ParityInputs, *, normalise: Normaliser, thresholds: npt.NDArray[np.float64]
) -> ParityReport:
    """Run both halves on every input and count what comes out otherwise than in the cluster.

    Args:
        pair: The pair, whose memory nobody else uses meanwhile.
        expected: Inputs and what the cluster computed.
        normalise: From an image to the network's input.
        thresholds: Those of the point that the expected routes are of, float64 (classes,).
    """
    pair.set_thresholds(thresholds)
    error, routes, labels = 0.0, 0, 0
    for index, image in enumerate(expected.images):
        normalise(image, out=pair.image)
        escalates = not pair.look()[1] >= 0
        pair.escalate()
        little, big = pair.little_logits, pair.big_logits
        want_little, want_big = expected.little_logits[index], expected.big_logits[index]
        errors = [error, np.abs(little - want_little).max(), np.abs(big - want_big).max()]
        error = float(np.max(errors))  # unlike max, keeps what is no number
        is_tie = abs(float(expected.scores[index]) - thresholds[little.argmax()]) <= _TIE
        routes += escalates != bool(expected.routes[index]) and not is_tie
        want = want_big if expected.routes[index] else want_little
        labels += (big if escalates else little).argmax() != want.argmax()
    return ParityReport(
        n=len(expected.images), max_abs_error=error, route_mismatches=int(routes), label_mismatches=int(labels)
    )
