from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from nas_service.errors import InvalidRequestError
from nas_service.layers import macs
from workers.baselines.baseline import co_training_tera_macs, epochs_within
from workers.baselines.static import scaled_to
from workers.bench.registry import make_system
from workers.trainer import Trainer

MSDNETS = ("msdnet", "msdnet-boosted")
EQUAL = ("static-mid3", "static-mid4", "static-big", "cascade", "cascade-kd", "cascade-nas", "branchy", "boosted")


def trained(system, dataset, splits):
    modules = {}
    for phase in system.phases():
        trainer = Trainer(phase.learner(dict(modules)), dataset, splits, phase.config)
        list(trainer.epochs())
        modules[phase.name] = trainer.learner.module.eval()
    return modules


@pytest.mark.parametrize("name", EQUAL)
def test_training_costs_what_co_training_the_pair_does(name, setting_of):
    setting = setting_of(name, epochs=60)
    spent = make_system(setting).budget().tera_macs
    assert 0.97 * co_training_tera_macs(setting) < spent <= co_training_tera_macs(setting)


@pytest.mark.parametrize("name", MSDNETS)
def test_an_msdnet_costs_what_co_training_the_pair_does(name, larger):
    setting = larger(name, epochs=60)
    system = make_system(setting)
    assert 0.97 < system.budget().tera_macs / co_training_tera_macs(setting) <= 1
    assert 0.9 < system.costs().macs[-1] / setting.pair.big_macs <= 1


def test_the_budget_of_co_training_is_that_of_the_pair_itself(setting_of):
    setting = setting_of("ours", epochs=7)
    assert make_system(setting).budget().tera_macs == pytest.approx(co_training_tera_macs(setting))


def test_a_net_far_smaller_than_the_pair_is_trained_three_times_as_long_at_most(setting_of):
    (phase,) = make_system(setting_of("static-little", epochs=10)).phases()
    assert phase.config.epochs == 30


@pytest.mark.parametrize(("tera_macs", "epochs"), [(3.0, 3), (2.999, 2), (0.1, 1)])
def test_epochs_are_what_the_budget_pays_for_and_one_at_least(tera_macs, epochs):
    assert epochs_within(tera_macs, macs_per_image=1e9, images=1000) == epochs


def test_the_distilled_cascade_pays_for_its_teacher_with_epochs(setting_of):
    plain, distilled = (make_system(setting_of(name, epochs=60)) for name in ("cascade", "cascade-kd"))
    assert [phase.name for phase in distilled.phases()] == ["big", "little"]
    assert distilled.epochs < plain.epochs
    teacher = distilled.budget().phases[-1]
    assert (teacher.name, teacher.trained, teacher.forward_macs) == ("teacher", False, 38400)


def test_a_cascade_computes_nothing_twice_and_shares_nothing(setting_of, pair):
    costs = make_system(setting_of("cascade")).costs()
    little, big = macs(pair.little.layers()), macs(pair.big.layers())
    assert costs.macs == (little, little + big)
    assert costs.params == sum(layer.params for layer in (*pair.little.layers(), *pair.big.layers()))
    assert costs.big_macs == big


def test_nets_between_are_widths_of_the_big_at_rising_macs(setting_of, pair):
    nets = [make_system(setting_of(f"static-mid{i}")) for i in range(1, 5)]
    costs = [net.costs().macs[0] for net in nets]
    assert pair.little_macs < costs[0] < costs[1] < costs[2] < costs[3] < pair.big_macs
    assert all([b.kind for b in net.plan.blocks] == [b.kind for b in pair.big.blocks] for net in nets)


def test_macs_below_the_narrowest_net_are_refused(pair):
    with pytest.raises(InvalidRequestError, match="at 8 channels everywhere the net still costs 10,128 MACs"):
        scaled_to(pair.big, 100)


@pytest.mark.parametrize("name", ["cascade-kd", "boosted"])
def test_a_finished_system_gives_the_same_outputs_again_and_has_not_seen_the_test_split(name, setting_of, small):
    dataset, splits = small
    system = make_system(setting_of(name))
    modules = trained(system, dataset, splits)
    blind = replace(
        dataset, test_images=255 - dataset.test_images, test_labels=(dataset.test_labels + 1) % len(dataset.classes)
    )
    one, two = system.finish(modules, dataset, splits), system.finish(modules, blind, splits)
    for split in ("validation", "calibration"):
        np.testing.assert_array_equal(one(split).logits, two(split).logits)
    assert len(one("test").logits) == len(system.costs().macs)
    assert not np.array_equal(one("test").logits, two("test").logits)


def test_the_big_of_a_distilled_cascade_is_the_teacher(setting_of, small):
    system = make_system(setting_of("cascade-kd"))
    big, little = system.phases()
    first = big.learner({})
    learner = little.learner({"big": first.module})
    for ours, theirs in zip(learner.teacher.parameters(), first.module.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_second_phase_of_early_exits_goes_on_from_the_first_ones_weights(setting_of, small):
    system = make_system(setting_of("branchy"))
    backbone, exits = system.phases()
    first = backbone.learner({})
    second = exits.learner({"backbone": first.module})
    assert first.weights == (0.0, 1.0)
    assert second.weights == (1.0, 1.0)
    assert second.module is not first.module
    assert torch.equal(second.module.backbone.head.weight, first.module.backbone.head.weight)


def test_two_early_heads_make_three_exits(setting_of):
    assert len(make_system(setting_of("branchy2")).costs().macs) == 3


def test_a_search_without_data_is_refused(setting_of):
    with pytest.raises(InvalidRequestError, match="'cascade-nas' searches on validation images, but its setting has"):
        make_system(replace(setting_of("cascade-nas"), data=None))


def test_an_msdnet_for_a_pair_that_is_too_small_is_refused(setting_of):
    with pytest.raises(InvalidRequestError, match=r"no MSDNet of 4 exits comes near 38,400 MACs"):
        make_system(setting_of("msdnet"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["static-big", "cascade-kd", "cascade-nas", "branchy2", "boosted"])
def test_every_system_learns_the_digits(name, setting_of, digits, splits):
    setting = setting_of(name, epochs=8)
    setting = replace(
        setting,
        images=len(splits.weights) // 64 * 64,
        config=replace(setting.config, batch_size=64),
        data=(setting.data[0], splits),
    )
    system = make_system(setting)
    if name == "cascade-nas":
        system = replace(system, evaluations=4)
    finished = system.finish(trained(system, digits, splits), digits, splits)
    outputs = finished("calibration")
    accuracies = (outputs.logits.argmax(axis=2) == outputs.labels).mean(axis=1)
    assert accuracies[-1] == max(accuracies) > 0.6
    assert len(accuracies) == len(system.costs().macs)


@pytest.mark.slow
def test_an_msdnet_learns_the_digits(larger, digits, splits):
    setting = replace(larger("msdnet", epochs=4), images=len(splits.weights) // 64 * 64)
    setting = replace(setting, config=replace(setting.config, batch_size=64))
    system = make_system(setting)
    outputs = system.finish(trained(system, digits, splits), digits, splits)("calibration")
    accuracies = (outputs.logits.argmax(axis=2) == outputs.labels).mean(axis=1)
    assert accuracies.shape == (4,)
    assert accuracies[-1] == max(accuracies) > 0.6
