from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nas_service.layers import ACTIVATIONS
from workers.joints import activated, activation_modules


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_the_same_as_a_function_and_as_a_module(name):
    x = torch.linspace(-5, 5, 101)
    (module,) = activation_modules(name)
    expected = getattr(F, name)(x)
    assert torch.equal(activated(x.clone(), name), expected)
    assert torch.equal(module(x.clone()), expected)


def test_no_activation_leaves_a_tensor_as_it_is():
    x = torch.linspace(-5, 5, 11)
    assert activated(x, None) is x
    assert nn.Sequential(*activation_modules(None))(x) is x
