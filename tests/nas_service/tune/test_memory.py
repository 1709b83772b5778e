"""A session made anew goes on only in the space and under the constraints that its job began with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nas_service.errors import InvalidRequestError
from nas_service.pair_space import PairSpace, StageChoices
from nas_service.presets import MICRO
from nas_service.search import make_searcher
from tests.nas_service.tune.fakes import JOB, FakeTrials, MemoryArchive, make_session, make_spec, run

NO_BOARD = {"objectives": ["error", "macs"]}


def begun():
    archive = MemoryArchive()
    run(make_session(make_spec(**NO_BOARD), archive, None), None, FakeTrials())
    return archive


def with_widths(*widths):
    return replace(MICRO, big=tuple(replace(stage, widths=widths) for stage in MICRO.big))


def resume(archive, definition):
    return make_session(make_spec(**NO_BOARD), archive, None, definition=definition)


def test_a_space_whose_layers_changed_under_the_same_choices_is_refused_with_what_changed():
    changed = replace(MICRO, stem_stride=3 - MICRO.stem_stride)
    with pytest.raises(InvalidRequestError, match=f"the space has changed since the job began: for candidate {JOB}-1 "):
        resume(begun(), changed)


def test_a_space_that_lost_choices_is_refused():
    assert MICRO.big[0] != StageChoices(widths=(48,), depths=(1,))
    with pytest.raises(InvalidRequestError, match=r"no longer has its choices\. Bring the definition back as it was"):
        resume(begun(), with_widths(48))


def test_the_space_that_the_job_began_with_goes_on():
    assert resume(begun(), MICRO).told == 6


def searcher(definition=MICRO, **constraints):
    space = PairSpace(definition, channels=1, resolution=8, classes=10, constraints=constraints)
    return make_searcher("random", space, objectives=("error", "macs"), seed=0, budget=10)


@pytest.mark.parametrize(
    ("definition", "constraints", "what"),
    [
        (MICRO, {"params": 60_000}, r"the state's constraints is \{'params': 50000\}, this searcher's is"),
        (replace(MICRO, activation="hardswish"), {"params": 50_000}, "the state's definition is"),
    ],
)
def test_a_searchers_state_is_refused_under_other_constraints_or_in_another_definition(definition, constraints, what):
    state = searcher(params=50_000).state_dict()
    with pytest.raises(InvalidRequestError, match=what):
        searcher(definition, **constraints).load_state_dict(state)


def test_a_state_of_before_these_were_kept_still_loads():
    first = searcher(params=50_000)
    asked = first.ask(2)
    state = {k: v for k, v in first.state_dict().items() if k not in ("definition", "images", "constraints")}
    second = searcher(params=50_000)
    second.load_state_dict(state)
    assert second.ask(2) == asked
