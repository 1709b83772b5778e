from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from nas_service.block import BLOCKS
from nas_service.errors import InvalidRequestError
from nas_service.pair_space import PairSpace
from nas_service.presets import MICRO
from workers.supernet import Supernet
from workers.wiring import WIRINGS, chain, resolve, wiring_for

NOT_A_TABLE = 3
CALLS: list[int] = []


def noted(units, x):
    CALLS.append(len(units))
    return chain(units, x)


OWN = {**WIRINGS, "separable": noted}
WITHOUT_RESIDUAL = {kind: wiring for kind, wiring in WIRINGS.items() if kind != "residual"}


def micro_with(wiring: str) -> Supernet:
    return Supernet(PairSpace(replace(MICRO, wiring=wiring), channels=1, resolution=8, classes=10))


def test_a_spaces_own_wiring_joins_supernet_and_extracted_pair_alike():
    supernet = micro_with("tests.workers.test_wiring:OWN")
    plan = supernet.space.plan(supernet.space.extreme("stem", largest=False))
    with torch.no_grad():
        CALLS.clear()
        expected = supernet(torch.ones(2, 1, 8, 8), plan)
        in_supernet = list(CALLS)
        torch.testing.assert_close(supernet.extract(plan).train()(torch.ones(2, 1, 8, 8)), expected)
    assert in_supernet
    assert in_supernet * 2 == CALLS


def test_a_kind_that_the_spaces_wiring_lacks_is_named_when_it_is_needed():
    supernet = micro_with("tests.workers.test_wiring:WITHOUT_RESIDUAL")
    plan = supernet.space.plan(supernet.space.extreme("stem", largest=True))
    with pytest.raises(InvalidRequestError, match="block kind 'residual' has no wiring; add it to the table"):
        supernet.extract(plan)


def test_every_kind_of_block_has_a_wiring():
    assert set(WIRINGS) == set(BLOCKS)


def test_a_users_table_is_found_by_its_path():
    assert resolve("workers.wiring:WIRINGS") is WIRINGS


@pytest.mark.parametrize("path", ["workers.wiring", "no.such.module:table", "workers.wiring:NOTHING", ""])
def test_a_path_without_a_table_is_refused(path):
    with pytest.raises(InvalidRequestError, match=r"cannot be imported: .*give package\.module:object"):
        resolve(path)


def test_what_is_no_table_is_refused():
    with pytest.raises(InvalidRequestError, match="is a int but must map block kinds to functions"):
        resolve("tests.workers.test_wiring:NOT_A_TABLE")


def test_a_kind_without_wiring_is_named():
    with pytest.raises(InvalidRequestError, match="block kind 'mixer' has no wiring; add it to the table"):
        wiring_for(WIRINGS, "mixer")
