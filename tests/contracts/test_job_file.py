"""The contract's example of a job: it validates, but for the parts that this version refuses by name."""

from __future__ import annotations

import pytest

from nas_service.job import InvalidJobError, parse_job
from nas_service.objective import Objective

EXAMPLE = """
kind: search
name: cifar10-on-pi5
dataset: {name: cifar10, root: ~/data}
space: {preset: tiny, couplings: [stem, nested, triangular]}
supernet: {epochs: 60}
strategy: {name: linas, evaluations: 200, concurrency: 8}
objectives: [error, latency_ms@rpi5, energy_mj@rpi5]
constraints: {params: 100000, memory_kib@rpi5: 30000}
measurement: {tier: rank}
finalists: {count: 5, fine_tune_epochs: 10, int8: true, tier: final}
resources: {trainer: {gpus: 1}, evaluators: {count: 4, gpus: 0.25}}
seed: 0
"""
OBJECTIVES = (
    "error macs worst_macs params weights_kib latency_ms@rpi5 worst_latency_ms@rpi5 energy_mj@rpi5 memory_kib@rpi5"
)


def test_the_example_means_what_it_says():
    spec = parse_job(EXAMPLE)
    assert spec.finalists.tier == "final"
    assert [(s.name, s.evaluations, s.concurrency) for s in spec.strategy] == [("linas", 200, 8)]
    assert spec.board_classes() == ("rpi5",)
    assert spec.constraints == {"params": 100_000, "memory_kib@rpi5": 30_000}
    assert (spec.resources.trainer.gpus, spec.resources.evaluators.count, spec.resources.evaluators.gpus) == (
        1,
        4,
        0.25,
    )
    assert (spec.dataset.root, spec.space.couplings) == ("~/data", ("stem", "nested", "triangular"))


@pytest.mark.parametrize("name", OBJECTIVES.split())
def test_every_objective_of_the_contract_is_known(name):
    assert Objective.parse(name).format() == name


def test_an_unknown_key_is_refused_with_the_nearest_known_one():
    with pytest.raises(InvalidJobError, match=r"stratgy.*strategy"):
        parse_job(EXAMPLE.replace("strategy:", "stratgy:"))
