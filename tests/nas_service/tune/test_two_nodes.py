"""A search over several Ray nodes: both work, one dies, another joins, and two evaluators share a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import accumulate
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Return what `two_nodes` saw; two evaluators are asked for in its first search, three of half a GPU in the next.

    The GPU is one that Ray is told of: what is tried is who is let in.
    """
    folder = tmp_path_factory.mktemp("two-nodes")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.nas_service.tune.two_nodes", str(folder)],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "seen.json").read_text())


def test_a_search_outlives_one_of_its_nodes_and_uses_one_that_joins(seen):
    statuses, notes = seen["loss"]
    assert {note["node"] for note in notes} == set(seen["nodes"].values())
    assert set(statuses.values()) == {"finished"}
    assert sorted(note["candidate"] for note in notes) == sorted(statuses)  # none is lost, none evaluated twice


def test_the_candidate_that_was_on_the_lost_node_is_evaluated_on_another(seen):
    [note] = [note for note in seen["loss"][1] if note["candidate"] == seen["wish"]]
    assert note["node"] in (seen["nodes"]["first"], seen["nodes"]["joined"])


def test_two_evaluators_of_half_a_gpu_share_the_node_that_has_one_and_a_third_waits(seen):
    statuses, notes = seen["gpu"]
    assert list(statuses.values()) == ["finished"] * 10
    assert {note["node"] for note in notes} == {seen["nodes"]["joined"]}
    changes = sorted([(note["begin"], 1) for note in notes] + [(note["end"], -1) for note in notes])
    assert max(accumulate(change for _, change in changes)) == 2
