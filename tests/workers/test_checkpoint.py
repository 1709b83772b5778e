from __future__ import annotations

import pytest
import torch

from nas_service.errors import InvalidRequestError
from nas_service.pair_space import PairSpace
from nas_service.presets import MICRO
from tests.workers.conftest import space_of
from workers.checkpoint import Checkpoint, load_weights
from workers.supernet import Supernet


def test_weights_come_back_as_they_were(trained):
    supernet, data = trained
    other = Supernet(supernet.space, seed=5)
    load_weights(other, Checkpoint.from_bytes(data))
    assert all(torch.equal(a, b) for a, b in zip(supernet.parameters(), other.parameters(), strict=True))


def test_a_checkpoint_says_where_it_comes_from(trained, splits):
    checkpoint = Checkpoint.from_bytes(trained[1])
    assert checkpoint.epoch == 10
    assert checkpoint.step == 10 * 17
    assert checkpoint.splits == splits.hashes
    assert checkpoint.config["batch_size"] == 64
    assert checkpoint.identity["hash"] == MICRO.hash()


def test_bytes_are_the_same_after_a_round_trip(trained):
    assert Checkpoint.from_bytes(trained[1]).to_bytes() == trained[1]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:5],
        lambda data: data[:300],
        lambda data: data[:-1],
        lambda data: b"PK" + data[2:],
        lambda data: data[:20] + b"\xff\xff" + data[22:],
    ],
)
def test_damaged_bytes_are_refused(trained, damage):
    with pytest.raises(InvalidRequestError, match=r"bytes are no whole checkpoint .*fetch the file again"):
        Checkpoint.from_bytes(damage(trained[1]))


def test_safetensors_that_are_no_checkpoint_are_refused():
    from safetensors.torch import save

    with pytest.raises(InvalidRequestError, match="no whole checkpoint"):
        Checkpoint.from_bytes(save({"x": torch.zeros(2)}, metadata={"format": "pt"}))


def test_a_checkpoint_of_another_space_is_refused_and_both_are_named(trained):
    with pytest.raises(InvalidRequestError, match=r"belongs to space 'micro' .* but this job has 'tiny'"):
        load_weights(Supernet(space_of("tiny")), Checkpoint.from_bytes(trained[1]))


def test_a_checkpoint_for_other_data_is_refused(trained):
    supernet = Supernet(PairSpace(MICRO, channels=1, resolution=8, classes=7))
    with pytest.raises(InvalidRequestError, match=r"classes 10\), but this job has 'micro' \(classes 7\)"):
        load_weights(supernet, Checkpoint.from_bytes(trained[1]))
