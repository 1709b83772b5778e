"""What a trial runs on a worker: an evaluator over the supernet, and the way of its exported graphs to the boards."""

from __future__ import annotations

import hashlib
from typing import Any

from cluster.gateway.actor import GatewayClient, find_gateway
from edge_agent.records import Artifact
from nas_service.bar import Bar
from nas_service.evaluation_report import EvaluationReport
from nas_service.pair_space import SpaceDefinition
from workers.evaluation import EvaluationData
from workers.evaluator import EvaluatorCore, Half

HALVES: tuple[Half, ...] = ("little", "big")


class SearchEvaluator:
    """Evaluates candidates in a Tune actor and hands exported graphs to the gateway, so that trials return little.

    Args:
        definition: The job's space.
        checkpoint: The trained supernet.
        data: The images to score on.
        router: Whose curve to report.
        device: Where to run, as torch writes it.
    """

    def __init__(
        self,
        *,
        definition: SpaceDefinition,
        checkpoint: bytes,
        data: EvaluationData,
        router: str,
        device: str,
    ) -> None:
        self._core = EvaluatorCore(definition, checkpoint=checkpoint, data=data, threads=1, device=device)
        self._router = router

    def evaluate(
        self, candidate_id: str, architecture: dict[str, Any], exports: list[str], bar: Bar | None
    ) -> EvaluationReport:
        """Return the report of one candidate; failures of the candidate or of handing it over are reports too."""
        wanted = [half for half in HALVES if half in exports]
        report = self._core.evaluate(architecture, router=self._router, export=wanted, bar=bar)
        try:
            models = {half: publish(data) for half, data in report.models.items()}
        except Exception as error:
            return EvaluationReport(
                candidate_id=candidate_id, status="failed", error=f"its graphs could not be stored: {error}"
            )
        return EvaluationReport(
            candidate_id=candidate_id,
            status=report.status,
            error=report.error,
            accuracies=report.accuracies,
            curve=report.curve,
            models=models,
            split_hashes=report.split_hashes,
            seconds=report.seconds,
        )


def publish(data: bytes) -> Artifact:
    """Store a graph with the gateway, which boards pull it from, and return what identifies it."""
    sha256 = GatewayClient(find_gateway()).store_artifact(data)
    if sha256 != hashlib.sha256(data).hexdigest():
        raise ValueError(f"the gateway stored {sha256}, which is not what was sent")
    return Artifact(sha256=sha256, size_bytes=len(data))
