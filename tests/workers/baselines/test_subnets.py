from __future__ import annotations

import numpy as np
import pytest

from nas_service.errors import InvalidRequestError
from workers.baselines.baseline import co_training_tera_macs
from workers.baselines.subnets import SUPERNET, stratified_pairs
from workers.bench.choices import SystemChoices, freeze_system
from workers.bench.finished import Field, FinishedCell
from workers.bench.folder import CellId
from workers.bench.judging import judge_all
from workers.bench.registry import make_system
from workers.sampling import Sandwich
from workers.supernet import Supernet


@pytest.fixture
def trained(setting_of):
    """The system and its supernet, whose bigs would ask their littles if they ran as pairs."""
    system = make_system(setting_of("subnets"))
    supernet = Supernet(system.space())
    for alpha in supernet.alphas.values():
        alpha.data.fill_(5.0)
    return system, {SUPERNET: supernet}


def test_subnets_are_spread_over_the_macs_of_both_halves(micro):
    pairs = stratified_pairs(micro, 8, seed=0)
    bigs, littles = ([getattr(p, f"{h}_macs") for p in pairs] for h in ("big", "little"))
    assert len(pairs) == 8
    assert max(bigs) > 8 * min(bigs)
    assert max(littles) > 4 * min(littles)
    assert stratified_pairs(micro, 8, seed=0) == pairs


def test_too_few_subnets_are_refused(micro):
    with pytest.raises(InvalidRequestError, match="3 pairs cannot be spread over both halves; ask for at least 4"):
        stratified_pairs(micro, 3, seed=0)


def test_subnets_run_alone_with_the_supernets_weights(trained, small):
    system, modules = trained
    asking = system.finish(modules, *small)("calibration")
    for alpha in modules[SUPERNET].alphas.values():
        alpha.data.zero_()
    alone = system.finish(modules, *small)("calibration")
    assert asking.logits.shape[:2] == (len(system.costs().macs), len(small[1].calibration))
    assert np.array_equal(asking.logits, alone.logits)


def test_the_supernet_has_the_fixed_pairs_coupling_and_nothing_dearer(trained, pair):
    system, _ = trained
    assert system.space().definition.couplings == (pair.coupling,)
    whole, narrow = (Sandwich(space).largest[pair.coupling] for space in (system.setting.space, system.space()))
    assert narrow.big_macs < 0.5 * whole.big_macs
    assert system.costs().macs[-1] >= pair.big_macs


def test_the_supernet_costs_no_more_than_co_training_the_pair(setting_of):
    system = make_system(setting_of("subnets", epochs=60))
    (phase,) = system.phases()
    assert 1 < phase.config.epochs < 60
    assert system.budget().tera_macs <= co_training_tera_macs(system.setting)


def test_nothing_routes_between_subnets_and_all_are_in_the_envelope(trained, small):
    system, modules = trained
    run = system.finish(modules, *small)
    held_out = {split: run(split) for split in ("validation", "calibration")}
    choices = freeze_system("subnets-s0", held_out, costs=system.costs(), budgets=(20_000.0,))
    assert (choices.router, choices.routers, choices.exits) == (None, (), ())
    assert SystemChoices.from_dict(choices.to_dict()).sha256 == choices.sha256
    record = dict.fromkeys(
        ("tera_macs", "search_tera_macs", "params", "weights_bytes", "reference_macs", "cpu_hours", "wall_hours"), 1.0
    )
    cell = FinishedCell(
        cell=CellId(system="subnets", seed=0),
        record={**record, "epochs": {}},
        choices=choices,
        test=run("test"),
        shift={},
    )
    envelope = Field(cells=[cell], classes=()).envelope()
    assert envelope is not None
    nets = list(cell.routes())
    assert len(nets) == len(system.costs().macs) > 8
    for net in nets:
        assert envelope.accuracy(net.cost) >= net.correct.mean() - 1e-12
    measures = {row.measure for row in judge_all([cell], classes=(), resamples=2)}
    assert {m for m in measures if m.endswith("_accuracy")} == {f"exit{i}_accuracy" for i in range(len(nets))}
