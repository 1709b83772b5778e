from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from nas_service.errors import InvalidRequestError
from tests.workers import ranks
from tests.workers.ranks import CONFIG, LinearLearner, still
from workers.checkpoint import Checkpoint
from workers.data.augmentation import Augmentation
from workers.parallel import Alone, shared_batch
from workers.trainer import Trainer


class OneOfTwo(Alone):
    """A rank whose gradients are, as it happens, those of the other."""

    size = 2

    def __init__(self, rank: int) -> None:
        self.rank = rank


def seen_by(rank: int | None, dataset, splits, config=CONFIG):
    """Train for an epoch and return (learner, trainer); rank None is alone."""
    learner = LinearLearner()
    team = Alone() if rank is None else OneOfTwo(rank)
    trainer = Trainer(learner, dataset, splits, replace(config, epochs=1), team=team)
    list(trainer.epochs())
    return learner, trainer


def test_ranks_share_every_batch_and_leave_nothing_out(small):
    dataset, splits = still(small[0]), small[1]
    alone, first, second = (seen_by(rank, dataset, splits)[0].seen[0] for rank in (None, 0, 1))
    assert len(first.labels) == len(second.labels) == 16
    assert torch.equal(torch.cat([first.images, second.images]), alone.images)


def test_ranks_draw_the_same_numbers_but_augment_their_images_each_in_its_own_way(small):
    dataset = replace(small[0], augmentation=Augmentation(pad=3))
    same = replace(small[1], weights=small[1].weights[:1].repeat(64))  # one image, so that crops alone tell
    (one, first), (two, second) = (seen_by(rank, dataset, same) for rank in (0, 1))
    assert torch.equal(first.generator.get_state(), second.generator.get_state())
    assert not torch.equal(one.seen[0].images, two.seen[0].images)


@pytest.mark.parametrize(
    ("wished", "images", "size", "parts", "shared"),
    [(128, 5000, 1, 1, 128), (128, 100, 1, 1, 100), (128, 5000, 3, 1, 126), (3, 5000, 1, 1, 3), (16, 99, 2, 4, 16)],
)
def test_a_step_takes_as_many_images_of_every_rank(wished, images, size, parts, shared):
    assert shared_batch(wished, images=images, size=size, parts=parts) == shared


@pytest.mark.parametrize(("size", "parts", "enough"), [(4, 1, 8), (1, 4, 8), (2, 4, 16)])
def test_a_part_of_one_image_is_refused(size, parts, enough):
    with pytest.raises(InvalidRequestError, match=f"fewer than 2 images for a part; raise batch_size to {enough}"):
        shared_batch(7, images=100, size=size, parts=parts)


def test_a_checkpoint_whose_epochs_had_other_steps_is_refused(small):
    dataset, splits = small
    splits, config = replace(splits, weights=splits.weights[:96]), replace(CONFIG, batch_size=33)
    checkpoint = next(Trainer(LinearLearner(), dataset, splits, config).epochs()).checkpoint
    again = Trainer(LinearLearner(), dataset, splits, config, team=OneOfTwo(0)).epochs(checkpoint)
    with pytest.raises(InvalidRequestError, match=r"took 2 steps in 1 epochs but here an epoch has 3, .* as many work"):
        next(again)


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> list[dict[str, Any]]:
    return ranks.both(tmp_path_factory.mktemp("ranks"))


@pytest.mark.slow
def test_ranks_stay_bit_equal_though_every_step_trains_other_pairs(answers):
    one, two = (answer["sandwich"] for answer in answers)
    assert one["weights"] == two["weights"]
    assert len(set(one["weights"])) == len(one["weights"]) == 6
    assert one["plans"] == two["plans"]
    assert len(set(one["plans"])) > 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sandwich", "every_term", "gradient", "coevolve"])
def test_ranks_give_the_same_losses_and_checkpoints_whatever_learns(answers, name):
    one, two = (answer[name] for answer in answers)
    assert one["losses"] == two["losses"]
    assert one["checkpoints"] == two["checkpoints"]
    assert all(math.isfinite(value) for losses in one["losses"] for value in losses.values())


@pytest.mark.slow
def test_running_means_and_multipliers_follow_from_all_ranks(answers):
    first, last = (Checkpoint.from_bytes(c) for c in answers[0]["every_term"]["checkpoints"])
    assert first.extra["constraint.multiplier"] > 0
    assert not torch.equal(first.extra["router.learned.mean"], last.extra["router.learned.mean"])


@pytest.mark.slow
def test_without_batchnorm_two_ranks_take_the_steps_that_one_takes_with_the_whole_batch(answers):
    alone = ranks.linear(Alone())
    for answer in answers:
        torch.testing.assert_close(answer["linear"]["weight"], alone["weight"], rtol=0, atol=1e-6)
        assert answer["linear"]["loss"] == pytest.approx(alone["loss"], abs=1e-6)


@pytest.mark.slow
def test_a_resumed_team_ends_with_the_same_bits(answers):
    assert all(answer["sandwich"]["resumed"] == answer["sandwich"]["checkpoints"][-1] for answer in answers)


@pytest.mark.slow
def test_a_loss_that_is_no_number_on_one_rank_rolls_all_back(answers):
    one, two = (answer["collapse"] for answer in answers)
    assert one["rollbacks"] == two["rollbacks"] == [0, 1]
    assert one["checkpoints"] == two["checkpoints"]
    assert torch.isfinite(Checkpoint.from_bytes(one["checkpoints"][-1]).model["1.weight"]).all()


@pytest.mark.slow
def test_all_ranks_give_up_together(answers):
    for answer in answers:
        assert "loss was nan in epoch 2 after 0 rollbacks" in answer["collapse_for_good"]["error"]


@pytest.mark.slow
def test_ranks_that_came_apart_are_told_apart(answers):
    for answer in answers:
        assert answer["drift"]["error"].startswith(
            "the checkpoint of epoch 1 of worker 1 differs from worker 0's; use the same GPU model"
        )
