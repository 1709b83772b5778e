from __future__ import annotations

import json

import pytest

from nas_service.errors import InvalidRequestError
from nas_service.trajectory import Evolving, Trajectory, TrajectoryStep


def step(epoch: int, share: float) -> TrajectoryStep:
    masks = Evolving(probabilities={"little0_width": (share, 1 - share)}, expected_cost=2e5, target_cost=1e5)
    return TrajectoryStep(epoch=epoch, phase="joint", evolving={"stem@0.3": masks}, evaluations=epoch, search_macs=1e6)


TRAJECTORY = Trajectory(choices={"little0_width": (8, 16)}, steps=(step(0, 0.5), step(1, 0.25)))


def test_a_trajectory_survives_json():
    assert Trajectory.from_dict(json.loads(json.dumps(TRAJECTORY.to_dict()))) == TRAJECTORY


def test_a_trajectory_from_when_macs_were_all_is_still_read():
    old = TRAJECTORY.to_dict()
    for told in old["steps"]:
        for one in told["evolving"].values():
            del one["unit"]
            one["expected_macs"], one["target_macs"] = one.pop("expected_cost"), one.pop("target_cost")
    assert Trajectory.from_dict(old) == TRAJECTORY


def test_the_expected_value_of_a_dimension_follows_its_probabilities():
    assert TRAJECTORY.expected("stem@0.3", "little0_width") == [(0, 12.0), (1, 14.0)]


def test_a_step_replaces_its_epoch_and_all_later_ones():
    again = TRAJECTORY.with_step(step(0, 0.1))
    assert [s.epoch for s in again.steps] == [0]
    assert again.expected("stem@0.3", "little0_width") == [(0, pytest.approx(15.2))]


@pytest.mark.parametrize("change", [{"version": 9}, {"more": 1}])
def test_another_version_or_unknown_keys_are_refused(change):
    with pytest.raises(InvalidRequestError, match=r"a trajectory has (version 9|the keys)"):
        Trajectory.from_dict({**TRAJECTORY.to_dict(), **change})
