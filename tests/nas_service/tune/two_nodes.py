"""Searches over several Ray nodes, in a cluster of their own: what each node did, as JSON in its folder.

A test session shares one Ray, of one node, and a process has one Ray at most; so this runs as a process of its own.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from nas_service.tune.driver import EvaluatorSetting, run_search
from tests.nas_service.tune.evaluators import InCompany, LostWithItsNode
from tests.nas_service.tune.fakes import JOB, MemoryArchive, make_session, make_spec

PAUSE_S = 0.2  # far less than an actor takes to start


def search(folder: Path, factory: Any, *, evaluations: int, setting: EvaluatorSetting, **options: Any) -> list[Any]:
    """Run a search; return what became of its candidates, and the evaluators' notes."""
    notes, archive = folder / "notes", MemoryArchive()
    notes.mkdir(parents=True)
    strategy = {"name": "random", "evaluations": evaluations, "concurrency": 4}
    session = make_session(make_spec(objectives=["error", "macs"], strategy=strategy), archive, None)
    stop_requested = options.pop("stop_requested", lambda notes: False)
    run_search(
        session,
        factory=factory,
        parameters={"notes": str(notes), "pause_s": PAUSE_S, **options},
        evaluators=setting,
        stop_requested=lambda: stop_requested(read(notes)),
    )
    return [{c.id: c.status.value for c in archive.list(JOB)}, read(notes)]


def read(notes: Path) -> list[dict[str, Any]]:
    """Return the notes that are whole."""
    return [json.loads(text) for file in notes.iterdir() if (text := file.read_text()).endswith("}")]


def main() -> None:
    """Lose a node in mid-search and have another join; then share one logical GPU."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    lost = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, namespace="nas", log_to_driver=False, configure_logging=False)
    first, joined = ray.get_runtime_context().get_node_id(), []

    def is_seen(notes: list[dict[str, Any]]) -> bool:
        """Replace the node once an evaluator wishes it; say whether the new one has evaluated anything."""
        if not joined and (folder / "loss" / "wish").exists():
            cluster.remove_node(lost, allow_graceful=False)
            joined.append(cluster.add_node(num_cpus=1, num_gpus=1).node_id)
        return any(note["node"] in joined for note in notes)

    loss = search(
        folder / "loss",
        LostWithItsNode,
        evaluations=300,
        setting=EvaluatorSetting(count=2, cpus=1.0),
        first=first,
        stop_requested=is_seen,
    )
    shared = search(folder / "gpu", InCompany, evaluations=10, setting=EvaluatorSetting(count=3, cpus=0.25, gpus=0.5))
    nodes = {"first": first, "lost": lost.node_id, "joined": joined[0]}
    seen = {"nodes": nodes, "wish": (folder / "loss" / "wish").read_text(), "loss": loss, "gpu": shared}
    (folder / "seen.json").write_text(json.dumps(seen))  # Tune writes to stdout
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
