from __future__ import annotations

import pytest

from nas_service.errors import InvalidRequestError
from nas_service.latency_table import LatencyTable
from nas_service.layers import LayerRecord


def conv(width: int, *, kernel: int = 3, size: int = 4) -> LayerRecord:
    return LayerRecord(operation="conv", in_channels=8, out_channels=width, kernel=kernel, size=size)


TABLE = LatencyTable(board_class="rpi5", layers=((conv(8), 1.0), (conv(16), 3.0)), overhead_ms=0.5)


@pytest.mark.parametrize(("width", "expected_ms"), [(8, 1.0), (16, 3.0), (12, 2.0), (32, 6.0), (4, 0.5)])
def test_a_layer_takes_its_time_or_that_of_its_nearest_relatives(width, expected_ms):
    assert TABLE.layer_ms(conv(width)) == pytest.approx(expected_ms)


def test_a_layer_without_relatives_is_refused_rather_than_free():
    with pytest.raises(
        InvalidRequestError, match=r"rpi5 has no layer like .*kernel=5.*; measure one of that operation"
    ):
        TABLE.layer_ms(conv(8, kernel=5))


def test_a_table_without_layers_is_refused():
    with pytest.raises(InvalidRequestError, match="latency table of rpi5 has 0 layers"):
        LatencyTable(board_class="rpi5", layers=())
