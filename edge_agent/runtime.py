"""A deployed pair in a user's own program: numpy and onnxruntime, nothing else.

    with Pair.load("bundle/", operating_point="iso-0.5") as pair:
        prediction = pair.predict(image)            # uint8 (H, W, C)

The little net runs always, the big one only for images whose score is below the operating point's threshold. With
`drift=True` the share of such images is watched, and while it is not what the operating point promised, every image
goes to the big one (see edge_agent.drift). The bundle's files are described in edge_agent.bundle and
edge_agent.records.Manifest, `parity.npz` in edge_agent.parity.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime

from edge_agent.bundle import Bundle
from edge_agent.drift import Band, DriftMonitor, Fallback
from edge_agent.errors import BundleError, WrongImageError
from edge_agent.parity import ParityInputs, ParityReport, load_parity
from edge_agent.records import InputSpec, OperatingPoint

Image = npt.NDArray[np.uint8]
Tensor = npt.NDArray[np.float32]

_TOLERANCE = {"fp32": 1e-3, "int8": 1e-1}
_MAX_MISMATCH_SHARE = 0.005
_TIE = 1e-5  # scores this close to the threshold may fall on either side of it on another processor


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a pair says about one image. `score` is the router's; `latency_ms` includes normalising."""

    label: str
    probabilities: Tensor
    route: Literal["little", "big"]
    score: float
    latency_ms: float

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict."""
        return {
            "label": self.label,
            "probabilities": [float(value) for value in self.probabilities],
            "route": self.route,
            "score": self.score,
            "latency_ms": self.latency_ms,
        }


class Normaliser:
    """uint8 (H, W, C) to float32 (1, C, H, W), `(x / 255 - mean) / std` by channel, by a table of the 256 values."""

    def __init__(self, spec: InputSpec) -> None:
        """Make the tables."""
        values = np.arange(256, dtype=np.float32) / np.float32(255)
        mean, std = (np.asarray(v, dtype=np.float32)[:, None] for v in (spec.mean, spec.std))
        self._tables = ((values[None] - mean) / std).astype(np.float32)
        self._shape = (spec.height, spec.width, spec.channels)

    def __call__(self, image: Image) -> Tensor:
        """Return the network's input; a (H, W) image is taken as one channel."""
        if image.ndim == 2:
            image = image[:, :, None]
        if image.dtype != np.uint8 or image.shape != self._shape:
            raise WrongImageError(
                f"image is {image.dtype} {image.shape} but must be uint8 {self._shape}, (height, width, channels), "
                "with values from 0 to 255; resize or convert it"
            )
        height, width, channels = self._shape
        out = np.empty((1, channels, height, width), dtype=np.float32)
        planes = np.ascontiguousarray(image.transpose(2, 0, 1))
        for channel in range(channels):
            np.take(self._tables[channel], planes[channel], out=out[0, channel], mode="clip")
        return out


class Pair:
    """A little and a big network with the rule that decides between them. Made by `load`."""

    def __init__(
        self, bundle: Bundle, *, precision: Literal["fp32", "int8"] | None, threads: int, drift: bool = False
    ) -> None:
        """Open both sessions of a verified bundle; `load` is the usual way in."""
        self._bundle = bundle
        self._watches_drift, self._fallback = drift, Fallback()
        self._variant = bundle.variant(precision)
        self._classes = bundle.manifest.classes
        self._normalise = Normaliser(bundle.manifest.input)
        self._little = _session(bundle.root / self._variant.little, threads=threads)
        self._big = _session(bundle.root / self._variant.big, threads=threads)
        self._big_inputs = [value.name for value in self._big.get_inputs()]
        self._little_outputs = _wired(self._little, self._big_inputs)
        self.use(None)

    @classmethod
    def load(
        cls,
        path: str | Path,
        operating_point: str | None = None,
        *,
        precision: Literal["fp32", "int8"] | None = None,
        threads: int = 1,
        drift: bool = False,
    ) -> Pair:
        """Return the pair of a bundle after checking every file's size and hash.

        Args:
            path: The bundle's folder or zip.
            operating_point: A name from the bundle; None for its default.
            precision: Which variant; None for the bundle's default.
            threads: Threads per network.
            drift: Watch the escalation rate and, while it is out of its band, escalate every image.

        Raises:
            BundleError: If the bundle is damaged, unsafe, or lacks what was asked for.
        """
        bundle = Bundle(path)
        try:
            pair = cls(bundle, precision=precision, threads=threads, drift=drift)
            pair.use(operating_point)
        except BaseException:
            bundle.close()
            raise
        return pair

    @property
    def operating_point(self) -> OperatingPoint:
        """The operating point in use, with what it promises."""
        return self._point

    @property
    def precision(self) -> Literal["fp32", "int8"]:
        """The precision of weights and activations in use."""
        return self._variant.precision

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels in the order of `probabilities`."""
        return self._classes

    @property
    def drift(self) -> DriftMonitor | None:
        """The monitor of the escalation rate: its `drift` is `none`, `low` or `high`. None if it was not asked for.

        `drift.to_dict()` and `drift.restore(state)` carry the evidence over a restart of the program.
        """
        return self._monitor

    def use(self, operating_point: str | None) -> None:
        """Switch to another operating point (None: the bundle's default); takes effect with the next prediction.

        A drift monitor starts again, because each operating point has a rate of its own.
        """
        point = self._bundle.operating_point(operating_point, variant=self._variant)
        self._thresholds = _thresholds(point, classes=len(self._classes))
        self._monitor = _monitor(point) if self._watches_drift else None
        self._point = point

    def predict(self, image: Image) -> Prediction:
        """Return what the pair says about one image, uint8 (H, W, C).

        Raises:
            ValueError: If the image has another type or size than the bundle's input.
        """
        begin = time.perf_counter_ns()
        values = self._run_little(self._normalise(image))
        logits, score = values["little_logits"][0], float(values["score"].item())
        escalate = self._escalates(not score >= self._thresholds[logits.argmax()])
        if escalate:
            logits = self._run_big(values)
        probabilities = np.exp(logits - logits.max())
        probabilities /= probabilities.sum()
        label = self._classes[int(probabilities.argmax())]
        latency_ms = (time.perf_counter_ns() - begin) / 1e6
        return Prediction(label, probabilities, "big" if escalate else "little", score, latency_ms)

    def verify_parity(self) -> ParityReport:
        """Return how this board's outputs compare with the cluster's, at the default operating point.

        Raises:
            BundleError: If logits differ beyond rounding, or routes or labels for more than 0.5 % of the inputs.
        """
        expected = load_parity(self._bundle.root / self._variant.parity)
        report = self._compare(expected)
        logits = np.concatenate([expected.little_logits, expected.big_logits])
        allowed = _TOLERANCE[self._variant.precision] * max(1.0, float(np.abs(logits).max()))
        mismatches = max(report.route_mismatches, report.label_mismatches)
        if not report.max_abs_error <= allowed or mismatches > _MAX_MISMATCH_SHARE * report.n:
            raise BundleError(
                f"parity failed on {report.n} inputs: logits differ by {report.max_abs_error:.2g} (allowed "
                f"{allowed:.2g}), {report.route_mismatches} routes and {report.label_mismatches} labels differ; this "
                f"onnxruntime {onnxruntime.__version__} computes another thing than the exporter did"
            )
        return report

    def close(self) -> None:
        """Give sessions and unpacked files back; the pair cannot predict any more."""
        self._little = self._big = None
        self._bundle.close()

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _escalates(self, wants_escalation: bool) -> bool:
        """Return whether to run the big, where the threshold says `wants_escalation`."""
        if self._monitor is None:
            return wants_escalation
        return self._fallback.escalates(self._monitor.observe(wants_escalation), wants_escalation=wants_escalation)

    def _run_little(self, tensor: Tensor) -> dict[str, Tensor]:
        outputs = self._little.run(self._little_outputs, {"image": tensor})
        values = dict(zip(self._little_outputs, outputs, strict=True))
        values["image"], values["little_logits"] = tensor, values["logits"]
        return values

    def _run_big(self, values: dict[str, Tensor]) -> Tensor:
        logits: Tensor = self._big.run(("logits",), {name: values[name] for name in self._big_inputs})[0][0]
        return logits

    def _compare(self, expected: ParityInputs) -> ParityReport:
        point = self._bundle.operating_point(None, variant=self._variant)
        thresholds = _thresholds(point, classes=len(self._classes))
        error, routes, labels = 0.0, 0, 0
        for index, image in enumerate(expected.images):
            values = self._run_little(self._normalise(image))
            little, big = values["little_logits"][0], self._run_big(values)
            want_little, want_big = expected.little_logits[index], expected.big_logits[index]
            error = max(error, float(np.abs(little - want_little).max()), float(np.abs(big - want_big).max()))
            threshold = thresholds[little.argmax()]
            escalate = not float(values["score"].item()) >= threshold
            is_tie = abs(float(expected.scores[index]) - threshold) <= _TIE
            routes += escalate != bool(expected.routes[index]) and not is_tie
            want = want_big if expected.routes[index] else want_little
            labels += (big if escalate else little).argmax() != want.argmax()
        return ParityReport(
            n=len(expected.images), max_abs_error=error, route_mismatches=int(routes), label_mismatches=int(labels)
        )


def _session(path: Path, *, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes are private, and differ between versions
        raise BundleError(f"onnxruntime {onnxruntime.__version__} cannot load {path.name}: {error}") from None


def _wired(little: Any, big_inputs: list[str]) -> tuple[str, ...]:
    """Return the little's outputs to ask for: logits, score, and what the big takes from it."""
    have = {value.name for value in little.get_outputs()}
    carries = [name for name in big_inputs if name not in ("image", "little_logits")]
    wanted = ("logits", "score", *carries)
    if missing := [
        name for name in wanted if name not in have or not (name in wanted[:2] or name.startswith("carry_"))
    ]:
        raise BundleError(f"little.onnx does not give {', '.join(missing)}; its outputs are {', '.join(sorted(have))}")
    return wanted


def _monitor(point: OperatingPoint) -> DriftMonitor:
    promised = point.calibration
    if promised.n is None:
        raise BundleError(
            f"operating point {point.name!r} does not say on how many images its escalation rate was seen, so drift "
            "cannot be told from chance; build the bundle again, or load it without drift"
        )
    return DriftMonitor(Band.around(promised.escalation_rate, calibration_n=promised.n))


def _thresholds(point: OperatingPoint, *, classes: int) -> npt.NDArray[np.float64]:
    """Return the threshold for each class that the little may predict, shape (classes,)."""
    if point.threshold in ("never", "always"):
        return np.full(classes, -np.inf if point.threshold == "never" else np.inf)
    values = np.asarray(point.threshold, dtype=np.float64).reshape(-1)
    if len(values) not in (1, classes):
        raise BundleError(
            f"operating point {point.name!r} has {len(values)} thresholds but the bundle {classes} classes"
        )
    return np.broadcast_to(values, (classes,))
