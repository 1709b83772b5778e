"""Trials under a real Ray Tune: reused actors, a worker that is killed, and Ray's halving told twice."""

from __future__ import annotations

import pytest

from tests.nas_service.tune.tunings import KilledOnce, Memory, Pretended, session_over, tune_of

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


@pytest.fixture
def train(ray_cluster, notes):
    """Run a tuning and return its session."""
    from nas_service.tune.driver import EvaluatorSetting
    from nas_service.tune.driver_trials import RayAsha, run_trials

    def run(factory, tune, memory):
        session = session_over(memory, tune, stopper=RayAsha(tune, epochs=4))
        run_trials(
            session,
            factory=factory,
            parameters={"notes": str(notes)},
            workers=EvaluatorSetting(count=1, cpus=1.0),
        )
        return session

    return run


@pytest.mark.parametrize("tune", [tune_of(trials=10), tune_of("pbt", trials=5, interval=2)], ids=["asha", "pbt"])
def test_all_trials_run_on_one_reused_actor(train, notes, tune):
    memory = Memory()
    session = train(Pretended, tune, memory)
    assert session.finished
    assert len({note.name.split("-")[0] for note in notes.iterdir()}) == 1
    assert len(list(notes.iterdir())) == len(memory.rungs())


def test_a_worker_that_is_killed_goes_on_from_the_last_recorded_epoch(train, notes):
    memory = Memory()
    session = train(KilledOnce, tune_of(trials=3), memory)
    assert session.finished
    assert session.tuning.count("failed") == 0
    assert len(list(notes.iterdir())) == len(memory.rungs()) == len(set(memory.rungs()))


def test_rays_halving_stops_the_worse_part_of_every_rung_and_decides_the_same_when_told_again():
    from nas_service.tune.driver_trials import RayAsha

    values = [0.5, 0.6, 0.4, 0.7, 0.2, 0.8, 0.55, 0.65]

    def verdicts():
        asha = RayAsha(tune_of(), epochs=9)
        return [asha.goes_on(trial, epoch=1, value=value) for trial, value in enumerate(values, start=1)]

    assert verdicts() == verdicts() == [True, True, False, True, False, True, False, True]
