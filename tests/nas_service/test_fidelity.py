"""What an audit says of a search: orders that held, costs that were off, points that stayed on the front."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from nas_service.fidelity import AUDIT, PREDICTOR, audit, fidelity_facts
from nas_service.report.fidelity import fidelity_notes, fidelity_table
from nas_service.server_events import JobEvent


def point(accuracy: float, rate: float, **costs: float) -> dict[str, Any]:
    return {"test": {"accuracy": accuracy, "escalation_rate": rate, "expected_cost": costs}}


def candidate(number: int, shared: float, final: float | None = None, **more: Any) -> Any:
    told = {} if final is None else {"accuracies": {"little": final, "big": final + 5}, **more}
    return SimpleNamespace(
        id=f"c-{number}", accuracies={"little": shared, "big": shared + 3}, final=told, finalist=final is not None,
        measurements={"pi": {"little": f"l{number}", "big": f"b{number}"}},
    )  # fmt: skip


def test_a_search_without_finalists_has_nothing_to_audit():
    nothing = audit([candidate(1, 80.0), candidate(2, 81.0)])
    assert nothing.empty
    assert fidelity_table(nothing) is None


def test_the_order_of_finalists_before_and_after_fine_tuning_is_a_tau_with_a_wide_interval():
    shared, final = (70.0, 72.0, 74.0, 76.0, 78.0), (80.0, 81.0, 84.0, 83.0, 85.0)
    pairs = zip(shared, final, strict=True)
    found = audit([candidate(i, s, f, fine_tune_epochs=2) for i, (s, f) in enumerate(pairs)])
    little = found.agreements[0]
    assert (little.half, little.against, little.tau.tau, little.gain) == (
        "little",
        "fine-tuned",
        0.8,
        pytest.approx(8.6),
    )
    assert little.tau.high - little.tau.low > 0.9
    assert "of 5 pairs" in dict(fidelity_facts(found))["little: shared weights against the pair after fine-tuning, "
                                                       "on test images"]  # fmt: skip
    assert "rests on 5 pairs: a tau of so few has a wide interval" in fidelity_notes(found)[0]


def test_finalists_that_were_not_fine_tuned_are_not_said_to_be():
    found = audit([candidate(1, 70.0, 71.0, fine_tune_epochs=0), candidate(2, 72.0, 70.0, fine_tune_epochs=0)])
    assert {a.against for a in found.agreements} == {"finished"}
    assert "too few for an interval" in fidelity_facts(found)[0][1]


def test_pairs_trained_alone_are_compared_with_what_shared_weights_said():
    events = [JobEvent(id=i, kind=AUDIT, data={"candidate": f"c-{i}", "accuracies": {"little": 90.0 - i, "big": 95.0}})
              for i in range(6)]  # fmt: skip
    found = audit([candidate(i, 60.0 + i) for i in range(8)], events)
    assert [(a.half, a.against, a.tau.n, a.tau.tau) for a in found.agreements] == [
        ("little", "alone", 6, -1.0),
        ("big", "alone", 6, None),
    ]


def test_finalists_that_others_beat_by_the_final_figures_have_left_the_front():
    found = audit([
        candidate(1, 70.0, 90.0, operating_points=[point(0.90, 0.1, macs=5.0), point(0.95, 0.5, macs=9.0)]),
        candidate(2, 71.0, 91.0, operating_points=[point(0.89, 0.1, macs=6.0)]),
        candidate(3, 72.0, 92.0, operating_points=[point(0.96, 0.1, macs=20.0)]),
    ])  # fmt: skip
    assert [(s.cost, s.stayed, s.of) for s in found.stayed] == [("macs", 2, 3)]


def measured(number: int, whole: tuple[float, float], *, again: bool = True) -> Any:
    keys = {"little": f"l{number}", "big": f"b{number}", **({"pair-fp32": "p"} if again else {})}
    cost = "latency_ms@pi"
    points = [point(0.8 + number / 100, 0.0, **{cost: whole[0]}), point(0.9 + number / 100, 0.5, **{cost: whole[1]})]
    return candidate(number, 70.0, 80.0 + number, operating_points=points, measurements={"pi": keys})


SEARCHED = {f"{half}{n}": ms for half, ms in (("l", 1.0), ("b", 2.0)) for n in (1, 2)}


def test_composed_latencies_are_held_against_pairs_that_were_measured_whole():
    found = audit([measured(1, (1.0, 2.5)), measured(2, (2.0, 4.0))], latencies_ms=SEARCHED)
    [cost] = found.costs
    assert (cost.objective, cost.n) == ("latency_ms@pi", 2)
    assert cost.mape == pytest.approx(100 * (0 + 0.2 + 0.5 + 0.5) / 4)
    question, answer = fidelity_facts(found)[-2]
    assert (question, answer[:10]) == ("latency_ms@pi: halves put together against the pair whole", "off by 30.")
    asked = "still on the finalists' front, test error against latency_ms@pi measured again"
    assert fidelity_facts(found)[-1][0] == asked


def test_halves_that_were_measured_again_at_another_tier_are_audited_too():
    finalists = [measured(1, (1.0, 2.5), again=False), measured(2, (2.0, 4.0), again=False)]
    for finalist in finalists:
        finalist.final["measurements"]["pi"] = {"little": "anew", "big": "anew"}
    found = audit(finalists, latencies_ms=SEARCHED)
    [cost] = found.costs
    assert (cost.whole, cost.mape) == (False, pytest.approx(100 * (0 + 0.2 + 0.5 + 0.5) / 4))
    assert "halves measured again" in fidelity_facts(found)[-2][0]
    assert [(s.cost, s.of) for s in found.stayed] == [("latency_ms@pi", 2)]


def test_points_that_were_promised_to_be_on_the_front_are_counted_where_they_still_are():
    def promised(accuracy, came_out, macs):
        said = {"accuracy": accuracy, "escalation_rate": 0.1, "expected_cost": {"macs": macs}}
        return {"calibration": said, "test": {**said, "accuracy": came_out}}

    found = audit([
        candidate(1, 70.0, 90.0, operating_points=[promised(0.90, 0.90, 5.0), promised(0.95, 0.91, 9.0)]),
        candidate(2, 71.0, 91.0, operating_points=[promised(0.92, 0.93, 6.0), promised(0.80, 0.80, 7.0)]),
    ])  # fmt: skip
    [stayed] = found.stayed
    assert (stayed.points, stayed.points_of, stayed.stayed, stayed.of) == (2, 3, 2, 2)
    assert fidelity_facts(found)[-1][1] == "2 of 3 points; 2 of 2 finalists have one"


def test_what_was_not_measured_whole_is_not_said_to_be_measured_again():
    found = audit([measured(1, (1.0, 2.0), again=False), measured(2, (2.0, 4.0), again=False)],
                  latencies_ms=SEARCHED)  # fmt: skip
    assert (found.costs, found.stayed) == ((), ())


def test_predictors_show_their_error_and_whether_the_search_went_by_them():
    data = {"objective": "latency_ms@pi", "halves": 30, "mape": 4.0, "tau": 0.9, "used": False}
    [(question, answer)] = fidelity_facts(audit([], [JobEvent(id=1, kind=PREDICTOR, data=data)]))
    assert question == "latency_ms@pi: halves predicted from the others"
    assert answer.startswith("off by 4.0 %; tau 0.90 (0.")
    assert answer.endswith("not good enough, so not used")


def test_a_predictor_that_was_used_tells_what_it_spared():
    data = {"objective": "latency_ms@pi", "halves": 30, "mape": 4.0, "tau": 0.9, "used": True}
    answers = [
        fidelity_facts(audit([], [JobEvent(id=1, kind=PREDICTOR, data={**data, **more})]))[0][1]
        for more in ({"spared": 7}, {})
    ]
    assert answers[0].endswith("; 7 candidates not measured because of it")
    assert answers[1].endswith("of 30 pairs")
