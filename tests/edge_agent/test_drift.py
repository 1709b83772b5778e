from __future__ import annotations

import json
import random

import pytest

from edge_agent.drift import Band, DriftMonitor, Fallback

BAND = Band(low=0.15, high=0.25)


def inputs(rate: float, n: int, *, seed: int = 0) -> list[bool]:
    rng = random.Random(seed)
    return [rng.random() < rate for _ in range(n)]


def first_alarm(monitor: DriftMonitor, stream: list[bool]) -> int | None:
    """Return how many inputs the monitor saw until it spoke, or None."""
    return next((i for i, escalated in enumerate(stream, 1) if monitor.observe(escalated) != "none"), None)


def test_a_rate_inside_its_band_raises_no_alarm():
    assert first_alarm(DriftMonitor(BAND), inputs(0.2, 20_000)) is None


@pytest.mark.parametrize("rate", [BAND.low, BAND.high])
def test_on_the_edge_of_the_band_false_alarms_are_rarer_than_promised(rate):
    every, runs, length = 400, 60, 1000
    alarms = [
        first_alarm(DriftMonitor(BAND, false_alarm_every=every), inputs(rate, length, seed=seed))
        for seed in range(runs)
    ]
    seen = sum(length if at is None else at for at in alarms)  # exposure, so that seen / alarms is the mean time to one
    assert seen / max(1, sum(at is not None for at in alarms)) >= every


@pytest.mark.parametrize(
    ("rate", "drift", "within"), [(0.0, "low", 150), (0.05, "low", 600), (0.4, "high", 300), (1.0, "high", 20)]
)
def test_a_drifted_rate_is_named_within_so_many_inputs(rate, drift, within):
    monitor = DriftMonitor(BAND)
    at = first_alarm(monitor, inputs(rate, 2 * within))
    assert monitor.drift == drift
    assert at <= within


def test_a_long_quiet_time_does_not_delay_the_alarm():
    fresh, seasoned = DriftMonitor(BAND), DriftMonitor(BAND)
    assert first_alarm(seasoned, inputs(0.2, 20_000, seed=1)) is None
    late = first_alarm(seasoned, inputs(0.5, 1000, seed=2))
    assert late <= first_alarm(fresh, inputs(0.5, 1000, seed=2)) + 5


def test_looking_after_every_input_is_paid_for_where_a_fixed_test_is_not():
    """A 5 % z-test repeated at every input alarms in most runs of 2,000; the monitor, at its edge, in almost none."""
    fooled, alarmed = 0, 0
    for seed in range(40):
        stream, count = inputs(BAND.high, 2000, seed=seed), 0
        for n, escalated in enumerate(stream, 1):
            count += escalated
            if n >= 20 and count / n > BAND.high + 1.645 * (BAND.high * (1 - BAND.high) / n) ** 0.5:
                fooled += 1
                break
        alarmed += first_alarm(DriftMonitor(BAND), stream) is not None
    assert fooled >= 10
    assert alarmed == 0


@pytest.mark.parametrize(("drifted", "drift"), [(0.01, "low"), (0.6, "high")])
def test_when_the_rate_is_back_the_monitor_says_so(drifted, drift):
    monitor = DriftMonitor(BAND)
    first_alarm(monitor, inputs(drifted, 2000))
    assert {monitor.observe(x) for x in inputs(drifted, 2000, seed=1)} == {drift}
    states = [monitor.observe(x) for x in inputs(0.2, 5000, seed=2)]
    assert states[0] == drift
    assert states[-1] == "none"


def test_evidence_of_an_earlier_recovery_does_not_count_for_the_next():
    monitor = DriftMonitor(BAND)
    for rate in (0.0, 0.2):
        for escalated in inputs(rate, 5000):
            monitor.observe(escalated)
    assert monitor.drift == "none"
    first_alarm(monitor, inputs(0.0, 1000))
    assert {monitor.observe(x) for x in inputs(0.2, 30)} == {"low"}


def test_from_one_side_to_the_other_goes_without_recovery():
    monitor = DriftMonitor(BAND)
    first_alarm(monitor, inputs(0.6, 2000))
    assert monitor.drift == "high"
    states = [monitor.observe(x) for x in inputs(0.0, 3000)]
    assert states[-1] == "low"


@pytest.mark.parametrize(("band", "stream"), [(Band(low=0, high=0), [True]), (Band(low=1, high=1), [False])])
def test_what_cannot_happen_inside_the_band_alarms_at_once(band, stream):
    assert first_alarm(DriftMonitor(band), stream) == 1


def test_a_band_of_everything_never_alarms():
    assert first_alarm(DriftMonitor(Band(low=0, high=1)), inputs(0.0, 500) + inputs(1.0, 500)) is None


def test_a_restart_forgets_nothing():
    stream = inputs(0.35, 3000)
    whole, first = DriftMonitor(BAND), DriftMonitor(BAND)
    expected = [whole.observe(x) for x in stream]
    got = [first.observe(x) for x in stream[:100]]
    second = DriftMonitor(BAND)
    second.restore(json.loads(json.dumps(first.to_dict(), allow_nan=False)))
    assert got + [second.observe(x) for x in stream[100:]] == expected


@pytest.mark.parametrize(
    "state", [{}, {"version": 2, "drift": "none"}, {**DriftMonitor(BAND).to_dict(), "alarms": {"low": [], "high": []}}]
)
def test_a_state_of_another_form_is_refused(state):
    with pytest.raises(ValueError, match=r"no state of a drift monitor .* start with a new monitor"):
        DriftMonitor(BAND).restore(state)


def test_the_band_is_wider_after_a_smaller_calibration_and_stays_in_range():
    narrow, wide = (Band.around(0.2, calibration_n=n) for n in (10_000, 100))
    assert (narrow.low, narrow.high) == (pytest.approx(0.168), pytest.approx(0.232))
    assert wide.low < narrow.low
    assert Band.around(0.0, calibration_n=100) == Band(low=0.0, high=0.02)


def test_a_calibrated_band_seldom_excludes_the_true_rate():
    missed = 0
    for seed in range(300):
        estimate = sum(inputs(0.2, 500, seed=seed)) / 500
        band = Band.around(estimate, calibration_n=500, margin=0.0)
        missed += not band.low <= 0.2 <= band.high
    assert missed <= 6


@pytest.mark.parametrize(
    ("drift", "wants", "escalates"),
    [("none", False, False), ("none", True, True), ("low", False, True), ("high", False, True), ("low", True, True)],
)
def test_in_drift_everything_goes_to_the_big(drift, wants, escalates):
    assert Fallback().escalates(drift, wants_escalation=wants) is escalates


def test_a_side_may_keep_its_threshold():
    rule = Fallback(on_high="keep")
    assert not rule.escalates("high", wants_escalation=False)
    assert rule.escalates("low", wants_escalation=False)


def test_a_falsely_sure_little_costs_accuracy_only_until_the_alarm():
    """Under shift the little is sure of everything and wrong on half; the big stays right."""
    monitor, rule, wrong = DriftMonitor(BAND), Fallback(), 0
    for index in range(2000):
        escalated = rule.escalates(monitor.observe(False), wants_escalation=False)
        wrong += not escalated and index % 2
    assert wrong <= 75


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Band(low=0.5, high=0.4), "must be 0 <= low <= high <= 1"),
        (lambda: Band.around(1.5, calibration_n=10), r"give a rate in \[0, 1\]"),
        (lambda: DriftMonitor(BAND, false_alarm_every=0), "both must be >= 1"),
        (lambda: Fallback(on_low="never"), "fallback is 'never'; choose one of: always, keep"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
