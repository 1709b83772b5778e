"""The values on the wire between boards, gateway and service: leases, results, heartbeats, bundle manifests.

Standard library only, because every package imports them, from here and from nowhere else: the modules of
`edge_agent.wire`, one noun each, are this module's own. A record is frozen, checks itself, and goes through JSON
unchanged: ``type(r).from_dict(r.to_dict()) == r``. Unknown keys, wrong types and non-finite numbers are refused, since
what arrives here was written by another machine. Unknown quantities are None, never 0.
"""

from __future__ import annotations

from edge_agent.wire.board import AgentSettings, Heartbeat
from edge_agent.wire.bundle import BUNDLE_VERSION, BundleFile, InputSpec, Manifest, Variant
from edge_agent.wire.energy import Calibration, Energy, EnergyScope, SensorFault, SensorFaultKind
from edge_agent.wire.enrolment import EnrolmentAnswer, EnrolmentCode, EnrolmentRequest
from edge_agent.wire.figures import Latency, Memory, PairFigures, RouteCost
from edge_agent.wire.lease import Artifact, Half, Lease, RuntimeSettings, Tier, UnreadableLeaseError
from edge_agent.wire.operating_point import OperatingPoint, Promise
from edge_agent.wire.pack import PACK_VERSION, PackHeader
from edge_agent.wire.record import (
    CAUSE_LIMIT,
    PROTOCOL_VERSION,
    Record,
    RecordError,
    check_name,
    check_plain,
    check_sha256,
    shortened,
    stable_hash,
)
from edge_agent.wire.result import RESULT_LIMIT_BYTES, Acknowledgement, Fault, Result, Status

__all__ = [
    "BUNDLE_VERSION",
    "CAUSE_LIMIT",
    "PACK_VERSION",
    "PROTOCOL_VERSION",
    "RESULT_LIMIT_BYTES",
    "Acknowledgement",
    "AgentSettings",
    "Artifact",
    "BundleFile",
    "Calibration",
    "Energy",
    "EnergyScope",
    "EnrolmentAnswer",
    "EnrolmentCode",
    "EnrolmentRequest",
    "Fault",
    "Half",
    "Heartbeat",
    "InputSpec",
    "Latency",
    "Lease",
    "Manifest",
    "Memory",
    "OperatingPoint",
    "PackHeader",
    "PairFigures",
    "Promise",
    "Record",
    "RecordError",
    "Result",
    "RouteCost",
    "RuntimeSettings",
    "SensorFault",
    "SensorFaultKind",
    "Status",
    "Tier",
    "UnreadableLeaseError",
    "Variant",
    "check_name",
    "check_plain",
    "check_sha256",
    "shortened",
    "stable_hash",
]
