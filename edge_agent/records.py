"""The values on the wire between boards, gateway and service: leases, results, heartbeats, bundle manifests.

Standard library only, because every package imports it. A record is frozen, checks itself, and goes through JSON
unchanged: ``type(r).from_dict(r.to_dict()) == r``. Unknown keys, wrong types and non-finite numbers are refused, since
what arrives here was written by another machine. Unknown quantities are None, never 0.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import math
import re
import types
import typing
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

PROTOCOL_VERSION = 1
BUNDLE_VERSION = 1
PACK_VERSION = 1

Tier = Literal["probe", "screen", "rank", "final", "sustained"]
Half = Literal["little", "big", "pair"]
Status = Literal[
    "ok",
    "infeasible_oom",
    "infeasible_timeout",
    "model_error",
    "ep_fallback",
    "parity_fail",
    "throttled",
    "drift",
    "noisy",
    "agent_error",
    "board_lost",
]
Fault = Literal["model", "board", "infra", "unknown"]
EnergyScope = Literal["package", "module", "board_input", "wall"]
SensorFaultKind = Literal["vanished", "forbidden", "not_a_number", "implausible", "failing", "stalled", "uncovered"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_HOST_KEY = re.compile(r"ssh-ed25519 AAAA[A-Za-z0-9+/]{64}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

R = TypeVar("R", bound="Record")


class RecordError(ValueError):
    """A record that does not keep its contract; the message names the field, what was got and what is allowed."""


def check_name(name: str, *, what: str = "name") -> str:
    """Return `name` if it can be a file, user and board name; raise RecordError otherwise."""
    if not _NAME.fullmatch(name):
        raise RecordError(
            f"{what} is {name!r} but must be 1 to 63 of a-z, 0-9, '.', '_', '-', and begin with a-z or 0-9"
        )
    return name


def check_sha256(digest: str, *, what: str = "sha256") -> str:
    """Return `digest` if it is 64 lower-case hexadecimal digits; raise RecordError otherwise."""
    if not _SHA256.fullmatch(digest):
        raise RecordError(f"{what} is {digest!r} but must be 64 lower-case hexadecimal digits")
    return digest


def stable_hash(value: Any) -> str:
    """Return the SHA-256 of a JSON-able value's canonical form (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


_HINTS: dict[type[Any], dict[str, Any]] = {}


def _hints_of(cls: type[Any]) -> dict[str, Any]:
    if cls not in _HINTS:
        _HINTS[cls] = typing.get_type_hints(cls)  # takes longer than all the rest of reading a record
    return _HINTS[cls]


def _decode(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _decode(next(a for a in arguments if a is not type(None)), value, where)
    if origin is Literal:
        if value not in arguments:
            raise RecordError(f"{where} is {value!r} but must be one of: {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise RecordError(f"{where} is {type(value).__name__} but must be a list")
        return tuple(_decode(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict) or not all(isinstance(k, str) for k in value):
            raise RecordError(f"{where} is {type(value).__name__} but must be an object")
        return {k: _decode(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(hint, type) and issubclass(hint, Record):
        return hint.from_dict(value, where=where)
    return _decode_scalar(hint, value, where)


def _decode_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise RecordError(f"{where} is {value!r} ({type(value).__name__}) but must be {hint.__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise RecordError(f"{where} is {value!r} but must be finite")
    return value


def _encode(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, (tuple, list)):
        return [_encode(v) for v in value]
    if isinstance(value, dict):
        return {k: _encode(v) for k, v in value.items()}
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A value that crosses a process; subclasses add fields of scalars, records, tuples and string-keyed dicts."""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict, the exact inverse of `from_dict`."""
        return {f.name: _encode(getattr(self, f.name)) for f in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls: type[R], data: Any, *, where: str = "") -> R:
        """Return the record that `data` holds; raise RecordError for anything that is not one."""
        where = where or cls.__name__.lower()
        if not isinstance(data, dict):
            raise RecordError(f"{where} is {type(data).__name__} but must be an object")
        hints = _hints_of(cls)
        fields = {f.name: f for f in dataclasses.fields(cls)}
        if unknown := sorted(set(data) - set(fields)):
            raise RecordError(f"{where} has unknown keys {', '.join(map(repr, unknown))}; allowed: {', '.join(fields)}")
        required = {
            n
            for n, f in fields.items()
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        }
        if missing := sorted(required - set(data)):
            raise RecordError(f"{where} lacks {', '.join(map(repr, missing))}")
        values = {k: _decode(hints[k], v, f"{where}.{k}") for k, v in data.items()}
        return cls(**values)

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls: type[R], text: str | bytes, *, where: str = "") -> R:
        """Return the record in `text`; raise RecordError if it is no JSON or no such record."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RecordError(f"{where or cls.__name__.lower()} is not JSON: {error}") from None
        return cls.from_dict(data, where=where)


def _check_version(got: int, allowed: int, what: str) -> None:
    if got != allowed:
        raise RecordError(f"{what} has version {got} but this side speaks {allowed}; update the older side")


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact(Record):
    """A content-addressed file that a board pulls from /artifacts/SHA256."""

    sha256: str
    size_bytes: int

    MAX_BYTES: ClassVar[int] = 1 << 30

    def __post_init__(self) -> None:
        check_sha256(self.sha256)
        if not 0 < self.size_bytes <= self.MAX_BYTES:
            raise RecordError(f"size_bytes is {self.size_bytes} but must be 1 to {self.MAX_BYTES}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeSettings(Record):
    """The onnxruntime settings of a board class; the same for all candidates and part of every measurement's key."""

    provider: str = "CPUExecutionProvider"
    threads: int = 1
    arena: bool = True
    prepare_timeout_s: float = 120.0
    measure_timeout_s: float = 180.0
    memory_limit_mib: int | None = None

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise RecordError(f"threads is {self.threads} but must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease(Record):
    """The right of one board to one measurement: what, until when, and the fencing token of this grant."""

    version: int = PROTOCOL_VERSION
    lease_id: str
    token: int
    board: str
    board_class: str
    tier: Tier
    half: Half
    model: Artifact
    structure_key: str
    measurement_key: str
    settings: RuntimeSettings = RuntimeSettings()
    ttl_s: float
    deadline_unix_s: float
    attempt: int = 1

    def __post_init__(self) -> None:
        _check_version(self.version, PROTOCOL_VERSION, "lease")
        check_name(self.lease_id, what="lease_id")
        check_sha256(self.measurement_key, what="measurement_key")
        check_sha256(self.structure_key, what="structure_key")
        if self.token < 1 or self.attempt < 1:
            raise RecordError(f"token is {self.token} and attempt {self.attempt} but both must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency(Record):
    """What timing single inferences gave. Percentiles are None below the n that bounds them (n >= 64 for p90)."""

    n: int
    duration_s: float
    mean_ms: float
    median_ms: float
    p90_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    min_ms: float
    max_ms: float
    cv: float
    mean_ci95_low_ms: float
    mean_ci95_high_ms: float
    warmup_n: int
    cold_start_ms: float
    outliers: int = 0
    drift_fraction: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory(Record):
    """Peak resident memory of the child, less that after importing onnxruntime."""

    baseline_kib: int
    peak_load_kib: int
    peak_run_kib: int
    model_file_bytes: int

    @property
    def memory_kib(self) -> int:
        """The objective `memory_kib`: peak after the run less the baseline."""
        return max(self.peak_load_kib, self.peak_run_kib) - self.baseline_kib


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration(Record):
    """How a sensor's power becomes true power: `gain` times it plus `offset_mw`, fitted against `reference`.

    `rmse_fraction` is the fit's error as a share of the power; `date` is the day of the fit, YYYY-MM-DD.
    """

    gain: float = 1.0
    offset_mw: float = 0.0
    rmse_fraction: float
    reference: str
    date: str

    def __post_init__(self) -> None:
        if not self.gain > 0 or not 0 <= self.rmse_fraction < 1:
            raise RecordError(
                f"gain is {self.gain} and rmse_fraction {self.rmse_fraction} but must be above 0 and 0 to 1"
            )
        try:
            datetime.date.fromisoformat(self.date)
        except ValueError:
            raise RecordError(f"date is {self.date!r} but must be a day such as 2026-01-31") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy(Record):
    """Energy of the timed window from a real sensor; a result without a sensor has no Energy at all.

    `gross_mj` and `net_mj` (idle subtracted) are per inference, after `calibration` where there is one; `rail` is what
    was read. Class a: external and calibrated to 2 %; b: calibrated to 5 %; c: as the sensor says. `sampling_u95` is
    the share by which sampling alone may have missed the mean power at 95 %; None for counters, which miss nothing.
    """

    source: str
    scope: EnergyScope
    gross_mj: float
    net_mj: float | None = None
    mean_power_mw: float
    idle_power_mw: float | None = None
    samples: int
    coverage: float
    uncertainty_class: Literal["a", "b", "c"] = "c"
    rail: str | None = None
    calibration: Calibration | None = None
    sampling_u95: float | None = None
    max_gap_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorFault(Record):
    """Why a result has no energy although the board has a sensor."""

    source: str
    kind: SensorFaultKind
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteCost(Record):
    """What one route of a pair costs, measured as it runs: `big` is the little, the decision and the big after it.

    `share` is how much of the cluster's images take the route. Energy is per inference, from a window of this route.
    """

    route: Literal["little", "big"]
    share: float
    n: int
    mean_ms: float
    median_ms: float
    p90_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    mean_ci95_low_ms: float
    mean_ci95_high_ms: float
    gross_mj: float | None = None
    net_mj: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFigures(Record):
    """What only a pair measured whole tells; its Result's `latency` is the routes' costs weighted by their shares.

    `route_agreement` is the share of the stream's images that the board routes as the cluster did. The replay is the
    stream in its natural order, routed by the board; `interaction_fraction` is how far its mean is from the routes'
    costs. `flags` names what a reader must know: `route_mismatch`, `interaction`, `process_spread`, `idle_drift`.
    """

    operating_point: str
    routes: tuple[RouteCost, ...]
    stream_n: int
    route_agreement: float
    stream_accuracy: float | None = None
    max_score_error: float
    replay_n: int
    replay_mean_ms: float | None = None
    replay_escalation_rate: float | None = None
    interaction_fraction: float | None = None
    process_means_ms: tuple[float, ...]
    first_minute_ms: float | None = None
    last_minute_ms: float | None = None
    stages_ms: dict[str, float] = dataclasses.field(default_factory=dict)
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if [route.route for route in self.routes] != ["little", "big"]:
            raise RecordError(f"routes are {[route.route for route in self.routes]} but must be little and big")

    def mean_ms(self, escalation_rate: float) -> float:
        """Return the expected latency at any threshold, by the share of images that it escalates."""
        little, big = self.routes
        return little.mean_ms + escalation_rate * (big.mean_ms - little.mean_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Record):
    """A board's answer to one lease. `latency`, `memory` and `energy` are present only if they were measured."""

    version: int = PROTOCOL_VERSION
    result_id: str
    lease_id: str
    token: int
    attempt: int
    board: str
    board_class: str
    incarnation: str
    measurement_key: str
    structure_key: str
    model_sha256: str
    tier: Tier
    half: Half
    status: Status
    fault: Fault | None = None
    cause: str | None = None
    latency: Latency | None = None
    memory: Memory | None = None
    energy: Energy | None = None
    sensor_fault: SensorFault | None = None
    pair: PairFigures | None = None
    grade: Literal["gold", "silver", "bronze", "local"] = "bronze"
    runtime: dict[str, Any] = dataclasses.field(default_factory=dict)
    health: dict[str, Any] = dataclasses.field(default_factory=dict)
    phases_s: dict[str, float] = dataclasses.field(default_factory=dict)
    finished_unix_s: float

    def __post_init__(self) -> None:
        _check_version(self.version, PROTOCOL_VERSION, "result")
        check_name(self.result_id, what="result_id")
        check_name(self.lease_id, what="lease_id")
        check_sha256(self.measurement_key, what="measurement_key")
        check_sha256(self.structure_key, what="structure_key")
        if self.status == "ok" and self.latency is None:
            raise RecordError("status is 'ok' but latency is absent; a result without a latency is no measurement")
        if self.status != "ok" and self.fault is None:
            raise RecordError(f"status is {self.status!r} but fault is absent; say model, board, infra or unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat(Record):
    """What a board says of itself every 10 s; `quiet_until_unix_s` announces the silence of a timed window.

    `next_host_key_sha256` is of the key that the gateway has announced and that the board will accept from now on.
    """

    version: int = PROTOCOL_VERSION
    board: str
    incarnation: str
    state: Literal["idle", "fetching", "measuring", "stopping"]
    sent_unix_s: float
    quiet_until_unix_s: float | None = None
    lease_id: str | None = None
    agent_version: str
    next_host_key_sha256: str | None = None
    fingerprint: dict[str, Any] = dataclasses.field(default_factory=dict)
    health: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings(Record):
    """/agent.json: what the gateway tells a board about time, protocol and its class.

    `next_host_key` is the line of the host key that the gateway will show before long; None while it changes none.
    """

    version: int = PROTOCOL_VERSION
    board: str
    board_class: str
    host_unix_s: float
    poll_s: float = 1.0
    heartbeat_s: float = 10.0
    next_host_key: str | None = None
    settings: RuntimeSettings = RuntimeSettings()

    def __post_init__(self) -> None:
        if self.next_host_key is not None and not _HOST_KEY.fullmatch(self.next_host_key):
            raise RecordError(f"next_host_key is {self.next_host_key[:40]!r} but must be `ssh-ed25519 AAAA...`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement(Record):
    """inbox/ack-RESULT_ID.json: the gateway has stored (or finally refused) a result; the board drops its copy."""

    version: int = PROTOCOL_VERSION
    result_id: str
    stored: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentCode:
    """The one-time code `nas1-TOKEN-FINGERPRINT`: a secret, and the SHA-256 of the server's host key blob in hex.

    The whole text is the password of user `enroll`; the fingerprint lets the board check the server before it sends it.
    """

    token: str
    host_key_sha256: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z2-7]{16,64}", self.token):
            raise RecordError("the enrolment code's token must be 16 to 64 of a-z and 2-7; copy the whole code again")
        check_sha256(self.host_key_sha256, what="the enrolment code's fingerprint")

    def format(self) -> str:
        """Return the code as the user copies it."""
        return f"nas1-{self.token}-{self.host_key_sha256}"

    @classmethod
    def parse(cls, text: str) -> EnrolmentCode:
        """Return the code in `text`; raise RecordError if it is none."""
        parts = text.strip().split("-")
        if len(parts) != 3 or parts[0] != "nas1":
            raise RecordError(
                f"enrolment code begins {text.strip()[:8]!r} but must read nas1-TOKEN-FINGERPRINT; "
                "copy the whole line that `nas board add` printed"
            )
        return cls(token=parts[1], host_key_sha256=parts[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentRequest(Record):
    """/request.json that a board writes as user `enroll`: its public key and what it is."""

    version: int = PROTOCOL_VERSION
    public_key: str
    agent_version: str
    fingerprint: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentAnswer(Record):
    """/answer.json that the gateway writes back: who the board now is, or why not."""

    version: int = PROTOCOL_VERSION
    accepted: bool
    board: str | None = None
    board_class: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise(Record):
    """What an operating point promises: shares in [0, 1]; expected and worst cost by objective, such as `macs`.

    `n` images say so, None where that is not known: a drift monitor's band is the wider, the fewer there were.
    """

    accuracy: float
    escalation_rate: float
    expected_cost: dict[str, float] = dataclasses.field(default_factory=dict)
    worst_cost: dict[str, float] = dataclasses.field(default_factory=dict)
    n: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint(Record):
    """A named threshold and its promise. Escalate when score < threshold; `never` and `always` need no number."""

    name: str
    threshold: Any
    calibration: Promise
    test: Promise | None = None

    def __post_init__(self) -> None:
        check_name(self.name, what="operating point")
        if self.threshold in ("never", "always"):
            return
        values = self.threshold if isinstance(self.threshold, (list, tuple)) else [self.threshold]
        if not values or not all(
            isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in values
        ):
            raise RecordError(
                f"threshold of {self.name!r} is {self.threshold!r} but must be a finite number, one per class, "
                "'never' or 'always'"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFile(Record):
    """A file of a bundle: its name in the bundle, SHA-256 and size."""

    name: str
    sha256: str
    size_bytes: int

    def __post_init__(self) -> None:
        check_sha256(self.sha256)
        if "/" in self.name or "\\" in self.name or self.name.startswith("."):
            raise RecordError(f"bundle file is {self.name!r} but must be a plain file name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant(Record):
    """One precision of a bundle (fp32 or int8): its two graphs, parity inputs, and its own thresholds."""

    precision: Literal["fp32", "int8"]
    little: str
    big: str
    parity: str
    operating_points: tuple[OperatingPoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec(Record):
    """What the runtime feeds: float32 (1, C, H, W), `(uint8 / 255 - mean) / std` by channel, of a (H, W, C) image."""

    channels: int
    height: int
    width: int
    layout: Literal["NCHW"] = "NCHW"
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != self.channels or len(self.std) != self.channels or min(self.std, default=0.0) <= 0:
            raise RecordError(f"mean {self.mean} and std {self.std} must have {self.channels} values, std above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackHeader(Record):
    """pack.json of a pair pack: the zip of `little.onnx`, `big.onnx` and `stream.npz` that a pair is measured from.

    `operating_point` decides the routes; its calibration promise has the exact share of escalated images.
    """

    version: int = PACK_VERSION
    precision: Literal["fp32", "int8"]
    classes: int
    input: InputSpec
    operating_point: OperatingPoint

    def __post_init__(self) -> None:
        _check_version(self.version, PACK_VERSION, "pair pack")
        if self.classes < 2:
            raise RecordError(f"classes is {self.classes} but must be at least 2")
        if not 0 <= self.operating_point.calibration.escalation_rate <= 1:
            raise RecordError(
                f"escalation_rate is {self.operating_point.calibration.escalation_rate} but must be 0 to 1"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(Record):
    """bundle.json: everything a board must know to run one candidate, and where it came from."""

    version: int = BUNDLE_VERSION
    candidate: str
    classes: tuple[str, ...]
    input: InputSpec
    coupling: Literal["independent", "stem", "nested", "triangular"]
    router: Literal["msp", "margin", "entropy", "learned"]
    files: tuple[BundleFile, ...]
    operating_points: tuple[OperatingPoint, ...]
    default_operating_point: str
    default_precision: Literal["fp32", "int8"] = "fp32"
    variants: tuple[Variant, ...]
    provenance: dict[str, Any]

    def __post_init__(self) -> None:
        _check_version(self.version, BUNDLE_VERSION, "bundle")
        names = {f.name for f in self.files}
        for variant in self.variants:
            if missing := {variant.little, variant.big, variant.parity} - names:
                raise RecordError(
                    f"bundle variant {variant.precision} names files that `files` lacks: {sorted(missing)}"
                )
        precisions = [variant.precision for variant in self.variants]
        if self.variants and self.default_precision not in precisions:
            raise RecordError(
                f"default_precision is {self.default_precision!r} but must be one of: {', '.join(precisions)}"
            )
        points = [p.name for p in self.operating_points]
        if self.default_operating_point not in points:
            raise RecordError(
                f"default_operating_point is {self.default_operating_point!r} but must be one of: {', '.join(points)}"
            )
