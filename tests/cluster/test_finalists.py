"""Which candidates are finished: those whose curves together cover most, best first, and none that adds nothing."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cluster.finalists import FinalistPhase, choose_finalists, int8_config, routing_options
from cluster.training_phase import StopRequestedError
from nas_service.candidate import Candidate, CandidateStatus
from nas_service.job import Finalists, parse_job
from workers.evaluator import FinalistReport
from workers.routing.choice import Risk, RoutingOptions

OBJECTIVES = ("error", "macs")
JOB = {
    "kind": "search",
    "name": "finishing",
    "dataset": {"name": "digits"},
    "space": {"preset": "micro"},
    "supernet": {"epochs": 1},
    "strategy": {"name": "random", "evaluations": 1},
    "objectives": list(OBJECTIVES),
}


def candidate(number: int, *points: tuple[float, float], status: CandidateStatus = CandidateStatus.FINISHED):
    return Candidate(
        id=f"c{number}",
        job_id="job-1",
        number=number,
        strategy_index=0,
        strategy="random",
        architecture={},
        phenotype=str(number),
        status=status,
        error="it failed" if status is CandidateStatus.FAILED else None,
        values=tuple({"error": error, "macs": macs, "threshold": 0.5} for error, macs in points),
        created_at=0.0,
    )


def chosen(*candidates: Candidate, count: int = 5) -> list[str]:
    return [c.id for c in choose_finalists(candidates, objectives=OBJECTIVES, count=count)]


BROAD = candidate(1, (10.0, 5.0), (5.0, 10.0))
CHEAP = candidate(2, (20.0, 1.0))
SURE = candidate(3, (1.0, 20.0))
WORSE = candidate(4, (11.0, 6.0), (20.0, 20.0))


def test_the_one_that_covers_most_comes_first():
    assert chosen(CHEAP, SURE, WORSE, BROAD, count=1) == ["c1"]


def test_the_next_are_those_that_add_to_it():
    assert sorted(chosen(CHEAP, SURE, WORSE, BROAD, count=3)) == ["c1", "c2", "c3"]


def test_one_that_others_dominate_is_not_finished_even_if_there_is_room():
    assert "c4" not in chosen(CHEAP, SURE, WORSE, BROAD)


def test_the_choice_does_not_depend_on_the_order():
    assert chosen(CHEAP, SURE, WORSE, BROAD) == chosen(BROAD, WORSE, SURE, CHEAP)


@pytest.mark.parametrize("status", [CandidateStatus.FAILED, CandidateStatus.EVALUATED, CandidateStatus.ASKED])
def test_only_finished_candidates_are_chosen(status):
    assert chosen(candidate(1, (1.0, 1.0), status=status), SURE) == ["c3"]


def test_without_anything_that_keeps_the_constraints_nobody_is_chosen():
    assert chosen(candidate(1)) == []


def test_none_are_chosen_if_none_are_wanted():
    assert chosen(BROAD, SURE, count=0) == []


def test_what_the_job_says_of_routing_reaches_the_bundle():
    assert routing_options(Finalists()) == RoutingOptions()
    wish = Finalists.model_validate({"temperature": False, "class_thresholds": True, "risk": {"epsilon": 0.02}})
    assert routing_options(wish) == RoutingOptions(
        temperature=False, class_thresholds=True, risk=Risk(epsilon=0.02, delta=0.05)
    )


@pytest.mark.parametrize(("wish", "epochs"), [({}, None), ({"int8": True}, 2), ({"int8": True, "qat_epochs": 7}, 7)])
def test_int8_is_made_as_the_job_says(wish, epochs):
    config = int8_config(parse_job({**JOB, "finalists": wish, "seed": 3}))
    assert (config and config.qat and (config.qat.epochs, config.qat.seed)) == (epochs and (epochs, 3))


def test_int8_without_fine_tuning_is_rounding_alone():
    config = int8_config(parse_job({**JOB, "finalists": {"int8": True, "qat_epochs": 0}}))
    assert config is not None
    assert config.qat is None


class FakeStore:
    """One job and one candidate, in memory; every part of the store in one."""

    def __init__(self, only: Candidate) -> None:
        self.jobs = self.candidates = self.files = self.fleet = self
        self.only, self.events, self.artefacts = only, [], {}

    def get(self, key: str) -> object:
        return self if key == "job-1" else self.only

    def append_event(self, _, kind, message, data=None) -> None:
        self.events.append((kind, message))

    def stop_requested(self, _) -> bool:
        return False

    def states(self, keys) -> dict:
        return {}

    def put(self, data) -> str:
        return "a" * 64

    def update(self, candidate) -> None:
        self.only = candidate


def test_fine_tuning_that_was_cut_off_goes_on_after_its_last_whole_epoch(monkeypatch, tmp_path):
    """The driver dies in epoch 3 of 4; the next one asks for what follows the checkpoint of epoch 2."""
    asked: list[tuple[str, bytes | None]] = []

    def fine_tuning(architecture, dataset, tuning, *, resume, **_):
        asked.append(("tune", resume))
        for epoch in range(1 if resume is None else 3, 5):
            if resume is None and epoch == 3:
                raise ConnectionError("the driver's machine lost power")
            yield SimpleNamespace(epoch=epoch, epochs=4, checkpoint=b"epoch %d" % epoch)

    def finalist(architecture, *, finishing, **_):
        asked.append(("bundle", finishing.tuned))
        yield FinalistReport(status="failed", error="enough")

    actor = SimpleNamespace(fine_tuning=SimpleNamespace(remote=fine_tuning), finalist=SimpleNamespace(remote=finalist))
    monkeypatch.setattr("cluster.finalists.answer_of", lambda reference: reference)
    store = FakeStore(CHEAP)
    phase = FinalistPhase(
        "job-1",
        parse_job({**JOB, "finalists": {"fine_tune_epochs": 4}}),
        trained=SimpleNamespace(dataset=None),
        store=store,
        work=tmp_path,
        measurer=None,
    )
    shown: list[str] = []
    with pytest.raises(ConnectionError):
        phase._finish(actor, CHEAP, show=shown.append)
    phase._finish(actor, CHEAP, show=shown.append)
    assert asked == [("tune", None), ("tune", b"epoch 2"), ("bundle", b"epoch 4")]
    assert shown == [f"fine-tuning c2, epoch {epoch} of 4" for epoch in (1, 2, 3, 4)]


def test_fine_tuning_for_int8_that_was_stopped_goes_on_after_its_last_epoch(monkeypatch, tmp_path):
    """The user stops in the first epoch of 3; what the resumed job asks for follows it, and nothing is left behind."""
    asked: list[bytes | None] = []

    def finalist(architecture, *, finishing, **_):
        resume = finishing.bundle.int8.resume
        asked.append(resume)
        for epoch in range(1 if resume is None else 2, 4):
            yield SimpleNamespace(epoch=epoch, epochs=3, checkpoint=b"epoch %d" % epoch)
        manifest = {"operating_points": [], "default_operating_point": "iso-0.5", "provenance": {}}
        yield FinalistReport(status="ok", bundle=b"zip", manifest=manifest)

    monkeypatch.setattr("cluster.finalists.answer_of", lambda reference: reference)
    store = FakeStore(CHEAP)
    store.stop_requested = lambda _: len(asked) == 1
    spec = parse_job({**JOB, "finalists": {"fine_tune_epochs": 0, "int8": True, "qat_epochs": 3}})
    trained = SimpleNamespace(dataset=None)
    phase = FinalistPhase("job-1", spec, trained=trained, store=store, work=tmp_path, measurer=None)
    actor, shown = SimpleNamespace(finalist=SimpleNamespace(remote=finalist)), []
    with pytest.raises(StopRequestedError, match="stopped fine-tuning c2 for int8, after epoch 1 of 3"):
        phase._finish(actor, CHEAP, show=shown.append)
    assert [f.read_bytes() for f in tmp_path.iterdir()] == [b"epoch 1"]
    phase._finish(actor, CHEAP, show=shown.append)
    assert asked == [None, b"epoch 1"]
    assert shown == [f"fine-tuning c2 for int8, epoch {epoch} of 3" for epoch in (1, 2, 3)]
    assert store.only.finalist
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_had_is_said_in_the_jobs_events(monkeypatch, tmp_path):
    report = FinalistReport(
        status="ok",
        bundle=b"zip",
        manifest={"operating_points": [], "default_operating_point": "iso-0.5", "provenance": {}},
        notes=("no operating point 'risk-0.01': 30 images certify no threshold",),
    )
    asked = {}
    finalist = SimpleNamespace(remote=lambda architecture, **options: [asked.update(options)])
    monkeypatch.setattr("cluster.finalists.answer_of", lambda reference: report)
    store, wish = FakeStore(CHEAP), {"risk": {"epsilon": 0.01}}
    trained = SimpleNamespace(dataset=None)
    spec = parse_job({**JOB, "finalists": {**wish, "fine_tune_epochs": 0}})
    phase = FinalistPhase("job-1", spec, trained=trained, store=store, work=tmp_path, measurer=None)
    phase._finish(SimpleNamespace(finalist=finalist), CHEAP, show=print)
    assert asked["finishing"].bundle.routing.risk == Risk(epsilon=0.01, delta=0.05)
    assert ("routing", "c2: no operating point 'risk-0.01': 30 images certify no threshold") in store.events
    assert store.only.finalist
