"""A deployed pair in a user's own program: numpy and onnxruntime, nothing else.

    with Pair.load("bundle/", operating_point="iso-0.5") as pair:
        prediction = pair.predict(image)            # uint8 (H, W, C)

The little net runs always, the big one only for images whose score is below the operating point's threshold. With
`drift=True` the share of such images is watched, and while it is not what the operating point promised, every image
goes to the big one (see edge_agent.drift). `hold` keeps that share, or the mean latency, where it is wanted (see
edge_agent.controller). The bundle's files are described in edge_agent.bundle and edge_agent.records.Manifest.

A Pair may be called from several threads: calls wait for each other, so each sees one state. Threads that shall predict
at the same time need a Pair each.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime

from edge_agent.bound import BoundPair
from edge_agent.bundle import Bundle
from edge_agent.controller import Controller, LatencyController, RateController
from edge_agent.coupled import thresholds_of
from edge_agent.drift import Band, DriftMonitor, Fallback
from edge_agent.errors import BadUsageError, BundleError, EdgeError, ModelRefusedError
from edge_agent.inference import check_threads
from edge_agent.normaliser import Image, Normaliser
from edge_agent.parity import ParityReport, compare, load_parity
from edge_agent.prediction import Prediction, softmax
from edge_agent.records import InputSpec, OperatingPoint
from edge_agent.usage import Usage, UsageCounter

__all__ = ["Pair", "Prediction"]


class Pair:
    """A little and a big network with the rule that decides between them. Made by `load`."""

    def __init__(
        self, bundle: Bundle, *, precision: Literal["fp32", "int8"] | None, threads: int, drift: bool = False
    ) -> None:
        """Open both sessions of a verified bundle; `load` is the usual way in."""
        check_threads(threads)
        self._bundle = bundle
        self._lock = threading.Lock()
        self._watches_drift, self._fallback = drift, Fallback()
        self._target: dict[str, float] = {}
        self._variant = bundle.variant(precision)
        self._classes = bundle.manifest.classes
        self._normalise = Normaliser(bundle.manifest.input)
        self._usage = UsageCounter(self._classes)
        self._sessions = tuple(
            _session(bundle.root / name, threads=threads) for name in (self._variant.little, self._variant.big)
        )
        self._bound: BoundPair | None = self._bind()
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
            threads: Threads per network, 1 to 256.
            drift: Watch the escalation rate and, while it is out of its band, escalate every image.

        Raises:
            BundleError: If the bundle is damaged, unsafe, or lacks what was asked for.
            BadUsageError: If `threads` is out of range.
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
    def input(self) -> InputSpec:
        """Size and channels of the images that `predict` takes."""
        return self._bundle.manifest.input

    @property
    def drift(self) -> DriftMonitor | None:
        """The monitor of the escalation rate: its `drift` is `none`, `low` or `high`. None if it was not asked for.

        `drift.to_dict()` and `drift.restore(state)` carry the evidence over a restart of the program.
        """
        return self._monitor

    @property
    def held(self) -> Controller | None:
        """What holds the target that `hold` set; None without one."""
        return self._controller

    @property
    def usage(self) -> Usage:
        """Counts and latencies since the pair was loaded."""
        with self._lock:
            return self._usage.read()

    def use(self, operating_point: str | None) -> None:
        """Switch to another operating point (None: the bundle's default); takes effect with the next prediction.

        A drift monitor and a held target start again, because each operating point has scores and a rate of its own.

        Raises:
            BundleError: If the bundle lacks it. What was in use stays in use.
            BadUsageError: If a target is held and the point has no threshold to hold it by.
            EdgeError: If the pair was closed.
        """
        with self._lock:
            pair = self._open()
            point = self._bundle.operating_point(operating_point, variant=self._variant)
            thresholds = self._thresholds_at(point)
            monitor = _monitor(point) if self._watches_drift else None
            controller = _controller(point, **self._target)
            pair.set_thresholds(thresholds)
            self._point, self._monitor, self._controller = point, monitor, controller

    def hold(self, *, escalation_rate: float | None = None, latency_ms: float | None = None) -> None:
        """Hold a share of escalated images, or keep the mean latency within a budget, by moving the threshold.

        The drift monitor goes on watching, but its fallback is suspended: what is held comes first. See
        edge_agent.controller for how closely it is held.

        Args:
            escalation_rate: Share of images to escalate, in [0, 1].
            latency_ms: Mean milliseconds per image that are not to be exceeded, > 0. What the operating point does not
                escalate is not escalated either.

        Raises:
            BadUsageError: If not exactly one is given, it is no number or out of range, or the operating point has no
                threshold.
            EdgeError: If the pair was closed.
        """
        given = {"escalation_rate": escalation_rate, "latency_ms": latency_ms}
        target = {name: value for name, value in given.items() if value is not None}
        if len(target) != 1:
            raise BadUsageError("give either escalation_rate or latency_ms to hold; `release` ends holding")
        for name, value in target.items():
            if not isinstance(value, Real):
                raise BadUsageError(f"{name} is {value!r} but must be a number")
        with self._lock:
            self._open()
            self._target, self._controller = target, _controller(self._point, **target)

    def release(self) -> None:
        """Let the operating point's threshold decide again.

        Raises:
            EdgeError: If the pair was closed.
        """
        with self._lock:
            self._open()
            self._target, self._controller = {}, None

    def predict(self, image: Image) -> Prediction:
        """Return what the pair says about one image, uint8 (H, W, C).

        Raises:
            WrongImageError: A ValueError: the image has another type or size than the bundle's input.
            EdgeError: If the pair was closed.
        """
        with self._lock:
            begin = time.perf_counter_ns()
            pair = self._open()
            self._normalise(image, out=pair.image)
            score, lead = pair.look()
            wanted = not lead >= 0  # what is no number asks for the big
            escalated = self._decide(lead) if self._controller or self._monitor else wanted
            middle = time.perf_counter_ns()
            if escalated:
                pair.escalate()
            top, probabilities = softmax(pair.big_logits if escalated else pair.little_logits)
            end = time.perf_counter_ns()
            latency_ms = (end - begin) / 1e6
            self._usage.add(top, escalated=escalated, wanted=wanted, latency_ms=latency_ms)
            if self._controller:
                self._controller.spent((middle - begin) / 1e6, (end - middle) / 1e6 if escalated else None)
        return Prediction(self._classes[top], probabilities, "big" if escalated else "little", score, latency_ms)

    def predict_stream(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """Yield what the pair says about each image, as they come: nothing is read ahead.

        Operating point and target may be changed between two predictions.

        Raises:
            WrongImageError: As `predict`; the stream ends there.
        """
        for image in images:
            yield self.predict(image)

    def verify_parity(self) -> ParityReport:
        """Return how this board's outputs compare with the cluster's, at the default operating point.

        Raises:
            BundleError: If logits differ beyond rounding, or routes or labels for more than 0.5 % of the inputs.
        """
        expected = load_parity(self._bundle.root / self._variant.parity)
        thresholds = self._thresholds_at(self._bundle.operating_point(None, variant=self._variant))
        report = compare(self._bind(), expected, normalise=self._normalise, thresholds=thresholds)
        report.check(expected, precision=self.precision)
        return report

    def close(self) -> None:
        """Give sessions and unpacked files back; the pair cannot predict any more."""
        with self._lock:
            self._bound, self._sessions = None, ()
        self._bundle.close()

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decide(self, lead: float) -> bool:
        """Return whether to run the big, where something else than the threshold may say so."""
        wants = not lead >= 0
        drift = self._monitor.observe(wants) if self._monitor else "none"
        if self._controller:
            return self._controller.decide(lead)
        return self._fallback.escalates(drift, wants_escalation=wants)

    def _open(self) -> BoundPair:
        if self._bound is None:
            raise EdgeError("this pair was closed; load its bundle again")
        return self._bound

    def _bind(self) -> BoundPair:
        """Return the sessions over memory of their own."""
        if not self._sessions:
            raise EdgeError("this pair was closed; load its bundle again")
        little, big = self._sessions
        shape = (1, self.input.channels, self.input.height, self.input.width)
        try:
            return BoundPair(little, big, input_shape=shape, classes=len(self._classes))
        except ModelRefusedError as error:
            raise BundleError(str(error)) from None

    def _thresholds_at(self, point: OperatingPoint) -> npt.NDArray[np.float64]:
        try:
            return thresholds_of(point.threshold, classes=len(self._classes))
        except ModelRefusedError as error:
            raise BundleError(f"operating point {point.name!r}: {error}; get the bundle again") from None


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


def _monitor(point: OperatingPoint) -> DriftMonitor:
    promised = point.calibration
    if promised.n is None:
        raise BundleError(
            f"operating point {point.name!r} does not say on how many images its escalation rate was seen, so drift "
            "cannot be told from chance; build the bundle again, or load it without drift"
        )
    return DriftMonitor(Band.around(promised.escalation_rate, calibration_n=promised.n))


def _controller(
    point: OperatingPoint, *, escalation_rate: float | None = None, latency_ms: float | None = None
) -> Controller | None:
    """Return what holds a target from an operating point on, None if there is no target."""
    if escalation_rate is None and latency_ms is None:
        return None
    if point.threshold in ("never", "always"):
        raise BadUsageError(
            f"operating point {point.name!r} has no threshold that could be moved to hold a target; use another one, "
            "or end holding with `release`"
        )
    try:
        if escalation_rate is not None:
            return RateController(escalation_rate)
        assert latency_ms is not None
        return LatencyController(latency_ms)
    except ValueError as error:
        raise BadUsageError(str(error)) from None
