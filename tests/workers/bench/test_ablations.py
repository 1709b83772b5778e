from __future__ import annotations

import pytest

from workers.bench.registry import make_system
from workers.bench.system import Setting
from workers.train_config import TrainConfig


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("ours", {"system": 0.5, "router": 1.0}),
        ("ours-no-kd", {"system": 0.5, "router": 1.0, "little_distillation": 0.0}),
        (
            "ours-average",
            {"system": 0.5, "router": 1.0, "teacher": "average", "epochs": 3},
        ),  # which pay for the teacher
        ("ours-no-system", {}),
        ("ours-cost", {"system": 0.5, "router": 1.0, "cost": 1.0}),
    ],
)
def test_a_variant_of_ours_trains_with_the_terms_that_its_name_says(micro, name, changed):
    plan, config = micro.plan(micro.extreme("stem", largest=False)), TrainConfig(epochs=4, learning_rate=0.3)
    (phase,) = make_system(Setting(name=name, seed=0, space=micro, pair=plan, config=config, images=64)).phases()
    terms = {**flat(phase.config)}
    assert {key: value for key, value in terms.items() if flat(config)[key] != value} == changed


def flat(config: TrainConfig) -> dict[str, object]:
    return {**{k: getattr(config, k) for k in config.__slots__ if k != "cotraining"}, **config.cotraining.to_dict()}


def test_an_averaged_teachers_forward_passes_are_paid_for(micro):
    plan, config = micro.plan(micro.extreme("stem", largest=False)), TrainConfig(epochs=40)
    ours, average = (
        make_system(Setting(name=name, seed=0, space=micro, pair=plan, config=config, images=64)).budget().tera_macs
        for name in ("ours", "ours-average")
    )
    assert 0.95 * ours < average <= ours
