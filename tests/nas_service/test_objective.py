from __future__ import annotations

import pytest

from nas_service.errors import InvalidRequestError
from nas_service.objective import ANALYTIC, MEASURED, Objective


@pytest.mark.parametrize("text", [*ANALYTIC, *(f"{name}@rpi5" for name in MEASURED), "latency_ms@jetson-orin.nano_8g"])
def test_an_objective_is_written_as_it_is_read(text: str) -> None:
    objective = Objective.parse(text)
    assert objective.format() == str(objective) == text
    assert objective.measured == ("@" in text)


def test_an_objective_has_a_name_and_perhaps_a_board_class() -> None:
    assert Objective.parse("energy_mj@rpi5") == Objective("energy_mj", "rpi5")
    assert Objective.parse("error") == Objective("error")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "latency",
            r"unknown objective 'latency'; did you mean 'latency_ms'\?; allowed: error, macs, .*memory_kib@CLASS",
        ),
        ("Params", r"unknown objective 'Params'; did you mean 'params'\?"),
        ("zzz", r"unknown objective 'zzz'; allowed: error"),
        ("", r"unknown objective ''; allowed: error"),
        ("latency_ms", r"'latency_ms' lacks the board class .* write latency_ms@CLASS, such as latency_ms@rpi5"),
        ("latency_ms@", r"'latency_ms@' names no board class after the '@'; write latency_ms@CLASS"),
        ("macs@rpi5", r"objective macs@rpi5 does not depend on a board; write 'macs'"),
        ("macs@", r"objective macs@ does not depend on a board; write 'macs'"),
        ("latency_ms@Pi 5", r"board class is 'Pi 5' but must be 1 to 63 of a-z"),
        ("latency_ms@a@b", r"board class is 'a@b' but must be 1 to 63 of a-z"),
    ],
)
def test_what_is_no_objective_says_what_is(text: str, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        Objective.parse(text)
