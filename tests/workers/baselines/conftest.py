from __future__ import annotations

from dataclasses import replace

import pytest

from nas_service.pair_space import PairSpace
from nas_service.plan import PairPlan
from workers.bench.outputs import without_test
from workers.bench.presets import bench_preset
from workers.bench.system import Setting
from workers.bench.workload import preset_point
from workers.train_config import TrainConfig


@pytest.fixture(scope="session")
def pair(micro: PairSpace) -> PairPlan:
    """The bench's pair of the preset `micro`: a stem pair, big of 38,400 MACs, little of 7,744."""
    return micro.plan(preset_point(micro, bench_preset("micro")))


@pytest.fixture
def setting_of(micro, pair, small):
    """Return the setting of a system by name, on a tenth of the digits."""
    dataset, splits = small

    def make(name: str, *, epochs: int = 1, seed: int = 0) -> Setting:
        return Setting(
            name=name,
            seed=seed,
            space=micro,
            pair=pair,
            config=TrainConfig(epochs=epochs, batch_size=32, seed=seed),
            images=len(splits.weights) // 32 * 32,
            data=(without_test(dataset), splits),
        )

    return make


@pytest.fixture
def larger(setting_of, micro):
    """The same with the space's largest pair, whose MACs an MSDNet can match."""

    def make(name: str, *, epochs: int = 1) -> Setting:
        return replace(setting_of(name, epochs=epochs), pair=micro.plan(micro.extreme("stem", largest=True)))

    return make
