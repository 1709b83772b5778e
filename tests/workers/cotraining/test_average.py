from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from workers.cotraining.average import Average


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x * self.weight, 2 * x * self.weight


def test_the_average_follows_from_fast_to_slow_and_ends_at_its_decay():
    model = Twice().double()
    average = Average(model, decay=0.5)
    model.weight.data.fill_(2.0)
    seen = []
    for _ in range(12):
        average.follow(model)
        seen.append(2 - float(average.model.weight.detach()[0]))
    assert seen[0] == pytest.approx(0.1)
    assert seen[-1] == pytest.approx(seen[-2] / 2)


def test_counts_are_copied_and_statistics_averaged():
    model = Twice()
    average = Average(model, decay=0.0)
    model.norm.num_batches_tracked.fill_(7)
    model.norm.running_mean.fill_(3.0)
    average.follow(model)
    assert int(average.model.norm.num_batches_tracked) == 7
    torch.testing.assert_close(average.model.norm.running_mean, torch.full((2,), 3.0))


def test_the_average_is_a_copy_that_learns_nothing():
    model = Twice()
    average = Average(model, decay=0.9)
    little, escalated = average(torch.ones(1, 2))
    assert not little.requires_grad
    assert not escalated.requires_grad
    assert not any(p.requires_grad for p in average.parameters())
    assert all(p.requires_grad for p in model.parameters())
    model.weight.data.fill_(5.0)
    assert float(average.model.weight.detach()[0]) == 1.0


def test_a_saved_average_goes_on_where_it_stopped():
    model = Twice()
    average = Average(model, decay=0.99)
    model.weight.data.fill_(2.0)
    for _ in range(3):
        average.follow(model)
    resumed = Average(Twice(), decay=0.99)
    resumed.load_state_dict(copy.deepcopy(average.state_dict()))
    for one in (average, resumed):
        one.follow(model)
    assert torch.equal(average.model.weight, resumed.model.weight)
