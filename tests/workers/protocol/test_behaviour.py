from __future__ import annotations

import numpy as np
import pytest

from nas_service.errors import InvalidRequestError
from tests.workers.protocol.systems import COSTS, latent, outcomes
from workers.protocol.answers import Answers
from workers.protocol.bootstrap import Resamples
from workers.protocol.groups import cross_entropy, difficulty_groups, group_table, worst_group
from workers.protocol.shift import ShiftRow, shift_table, skewed_indices
from workers.protocol.thinking import Thinking

# By rising score: rescued, spoilt, futile, needless | kept: missed, right, both wrong, right.
EIGHT = outcomes(range(8), [0, 1, 0, 1, 0, 1, 0, 1], [1, 0, 0, 1, 1, 1, 0, 0])


def at(made, threshold):
    return Answers.of_pair(made, threshold, costs=COSTS)


def test_thinking_of_eight_inputs_by_hand():
    found = Thinking.of(at(EIGHT, 3.5))
    assert (found.over, found.destructive, found.under) == (2 / 8, 1 / 8, 1 / 8)
    assert (found.futile, found.useful) == (1 / 8, 1 / 8)


@pytest.mark.parametrize("threshold", [-np.inf, -0.5, 0.3, np.inf])
def test_escalations_are_either_needless_futile_or_useful(threshold):
    made = latent(300, seed=0)
    found = Thinking.of(at(made, threshold))
    assert found.over + found.futile + found.useful == pytest.approx(made.escalates(threshold).mean())
    p01 = (made.gain > 0).mean()
    assert found.under + found.useful == pytest.approx(p01)


def test_rows_are_those_of_each_class_and_the_worst_is_named():
    groups = np.array([0, 0, 0, 0, 2, 2, 2, 2])
    table = group_table(at(EIGHT, 3.5), groups=groups, names=("cat", "none", "dog"))
    cat, dog = table.rows
    assert (cat.group, cat.n, cat.accuracy, cat.rate, cat.cost) == ("cat", 4, 0.5, 1.0, 100.0)
    assert (dog.group, dog.accuracy, dog.rate, dog.reference_accuracy) == ("dog", 0.5, 0.0, 0.5)
    assert (cat.drop_points, table.worst.group, table.rate_rises) == (0.0, "cat", False)


def test_the_worst_class_is_judged_against_the_reference_that_is_given():
    reference = np.array([0, 0, 0, 0, 1, 1, 1, 1], dtype=bool)
    table = group_table(at(EIGHT, 3.5), groups=np.arange(8) // 4, names=("cat", "dog"), reference_correct=reference)
    assert (table.worst.group, table.worst.drop_points) == ("dog", 50.0)


def test_the_largest_drop_has_the_interval_of_the_largest_drop_on_every_resample():
    reference = np.array([0, 0, 0, 0, 1, 1, 1, 1], dtype=bool)
    counts = np.array([[1] * 8, [4, 0, 4, 0, 0, 0, 0, 0], [0, 4, 0, 4, 0, 0, 0, 0]], dtype=np.float32)
    found = worst_group(
        at(EIGHT, 3.5),
        groups=np.arange(8) // 4,
        names=("cat", "dog"),
        resamples=Resamples(counts=counts),
        reference_correct=reference,
    )
    # Of cats the escalated answers are right, wrong, wrong, right: -50 of all four, and no dog on the last resamples.
    assert (found.group, found.drop_points.estimate) == ("dog", 50.0)
    assert (found.drop_points.low, found.drop_points.high) == pytest.approx((-50.0, 45.0), abs=1e-3)


def test_groups_sum_up_to_the_whole():
    made = latent(500, seed=0)
    table = group_table(at(made, 0.0), groups=np.arange(500) % 3, names=("a", "b", "c"))
    assert sum(row.n * row.accuracy for row in table.rows) / 500 == pytest.approx(made.correct(0.0).mean())


@pytest.mark.parametrize("groups", [np.zeros(3, dtype=int), np.full(8, 2), np.full(8, -1)])
def test_groups_without_a_name_or_of_other_inputs_are_refused(groups):
    with pytest.raises(InvalidRequestError, match="give one index into the names for every input"):
        group_table(at(EIGHT, 0.0), groups=groups, names=("a", "b"))


def test_difficulty_is_five_equal_groups_by_loss():
    losses = np.random.default_rng(0).permutation(100).astype(float)
    groups = difficulty_groups(losses)
    assert np.bincount(groups).tolist() == [20] * 5
    assert all(losses[groups == g].max() < losses[groups == g + 1].min() for g in range(4))


def test_equal_losses_are_equally_difficult():
    assert len(set(difficulty_groups(np.array([0.0] * 7 + [1.0] * 3))[:7])) == 1


def test_a_router_that_sees_difficulty_escalates_harder_quintiles_more():
    made = latent(3000, seed=0, noise=0.1)
    names = ("1", "2", "3", "4", "5")
    by_loss = group_table(at(made, -0.5), groups=difficulty_groups(-made.scores), names=names)
    assert by_loss.rate_rises
    assert by_loss.rows[0].rate < 0.1 < 0.9 < by_loss.rows[-1].rate


def test_cross_entropy_by_hand():
    logits = np.log(np.array([[0.25, 0.75], [0.5, 0.5]]))
    np.testing.assert_allclose(cross_entropy(logits, np.array([0, 1])), [np.log(4), np.log(2)])


def shift_row(name, made, threshold=0.0):
    return ShiftRow.of(name, at(made, threshold))


def test_shift_rows_are_judged_by_their_drop_beyond_the_clean_one():
    clean = outcomes([1, 1, -1, -1], [1, 1, 0, 0], [1, 1, 1, 1])
    sure_and_wrong = outcomes([1, 1, 1, -1], [0, 1, 1, 0], [1, 1, 1, 1])
    table = shift_table(shift_row("clean", clean), [shift_row("noise 3", sure_and_wrong), shift_row("blur 1", clean)])
    assert table.extra_drop_points == (25.0, 0.0)
    assert (table.share_worse(), table.share_worse(margin_points=30)) == (0.5, 0.0)
    assert (table.rows[0].rate, table.rows[0].cost) == (0.25, 32.5)


def test_a_shift_table_without_a_shift_is_refused():
    with pytest.raises(InvalidRequestError, match="give at least one row"):
        shift_table(shift_row("clean", EIGHT), [])


def test_skew_draws_one_prior_and_keeps_labels_in_range():
    labels = np.repeat(np.arange(4), 50)
    chosen = skewed_indices(labels, classes=4, concentration=0.3, size=400, rng=np.random.default_rng(0))
    shares = np.bincount(labels[chosen], minlength=4) / 400
    assert len(chosen) == 400
    assert shares.max() > 0.5


def test_little_skew_is_almost_balanced():
    labels = np.repeat(np.arange(4), 50)
    chosen = skewed_indices(labels, classes=4, concentration=1e5, size=4000, rng=np.random.default_rng(0))
    assert np.abs(np.bincount(labels[chosen]) / 4000 - 0.25).max() < 0.03


@pytest.mark.parametrize(("classes", "concentration"), [(5, 1.0), (4, 0.0)])
def test_a_prior_that_cannot_be_drawn_is_refused(classes, concentration):
    with pytest.raises(InvalidRequestError, match="at least one image of every class"):
        skewed_indices(
            np.repeat(np.arange(4), 5),
            classes=classes,
            concentration=concentration,
            size=10,
            rng=np.random.default_rng(0),
        )
