from __future__ import annotations

import pytest

from nas_service.block import BLOCKS
from nas_service.errors import InvalidRequestError
from workers.wiring import WIRINGS, resolve, wiring_for

NOT_A_TABLE = 3


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
