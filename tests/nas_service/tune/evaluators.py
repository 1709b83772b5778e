"""Evaluators that Ray's workers import: instant ones, slow ones, and some that are killed in mid-trial."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import ray

from nas_service.bar import Bar
from nas_service.curve import Curve
from nas_service.evaluation_report import EvaluationReport


def node() -> str:
    """Return which of Ray's nodes this process is on."""
    return str(ray.get_runtime_context().get_node_id())


class Instant:
    """Answers at once, after a pause if told so, and leaves a note of when and in which process.

    Args:
        notes: A folder; each evaluation is a file there.
        pause_s: How long an evaluation takes.
    """

    def __init__(self, *, notes: str, pause_s: float = 0.0) -> None:
        self._notes, self._pause_s = Path(notes), pause_s

    def evaluate(
        self, candidate_id: str, architecture: dict[str, Any], exports: list[str], bar: Bar | None
    ) -> EvaluationReport:
        begin = time.time()
        time.sleep(self._pause_s)
        note = {"candidate": candidate_id, "pid": os.getpid(), "node": node(), "begin": begin, "end": time.time()}
        (self._notes / uuid.uuid4().hex).write_text(json.dumps(note))
        scores = np.linspace(0.0, 1.0, 10)
        curve = Curve.from_outputs(scores, scores > 0.5, scores > 0.2)
        return EvaluationReport(candidate_id=candidate_id, status="ok", curve=curve.to_bytes())


class InCompany(Instant):
    """Waits with its first candidate, for a minute at most, until a second evaluator has one too."""

    def evaluate(
        self, candidate_id: str, architecture: dict[str, Any], exports: list[str], bar: Bar | None
    ) -> EvaluationReport:
        present = self._notes.parent / "present"
        present.mkdir(exist_ok=True)
        (present / str(os.getpid())).touch()
        give_up_at = time.monotonic() + 60
        while len(list(present.iterdir())) < 2 and time.monotonic() < give_up_at:
            time.sleep(0.05)
        return super().evaluate(candidate_id, architecture, exports, bar)


class KilledOnce(Instant):
    """Its process is killed the first time that it evaluates the third candidate."""

    def evaluate(
        self, candidate_id: str, architecture: dict[str, Any], exports: list[str], bar: Bar | None
    ) -> EvaluationReport:
        mark = self._notes.parent / "killed"
        if candidate_id.endswith("-3") and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().evaluate(candidate_id, architecture, exports, bar)


class AlwaysKilled(Instant):
    """Its process is killed whenever it evaluates the third candidate."""

    def evaluate(
        self, candidate_id: str, architecture: dict[str, Any], exports: list[str], bar: Bar | None
    ) -> EvaluationReport:
        if candidate_id.endswith("-3"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().evaluate(candidate_id, architecture, exports, bar)


class LostWithItsNode(InCompany):
    """Off the first node, its second candidate waits until the whole node is gone, which it asks for; but only once."""

    def __init__(self, *, first: str, **options: Any) -> None:
        super().__init__(**options)
        self._first, self._seen = first, 0

    def evaluate(
        self, candidate_id: str, architecture: dict[str, Any], exports: list[str], bar: Bar | None
    ) -> EvaluationReport:
        self._seen += 1
        wish = self._notes.parent / "wish"
        if node() != self._first and self._seen == 2 and not wish.exists():
            wish.write_text(candidate_id)
            time.sleep(600)
        return super().evaluate(candidate_id, architecture, exports, bar)
