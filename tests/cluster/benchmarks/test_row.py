from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from cluster.benchmarks import __main__ as command
from cluster.benchmarks.row import Row
from nas_service.errors import InvalidRequestError


def row(**values: object) -> Row:
    return Row(**{"name": "L8", "figure": "a ratio", "value": 1.0, "must": 1.15, "aim": 1.0, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({"value": 1.0}, "aim"),
        ({"value": 1.1}, "must"),
        ({"value": 1.2}, "short"),
        ({"value": 1.1, "aim": None}, "must"),
        ({"value": 0.8, "must": 0.6, "aim": 0.75, "least": True}, "aim"),
        ({"value": 0.7, "must": 0.6, "aim": 0.75, "least": True}, "must"),
        ({"value": 0.5, "must": 0.6, "aim": 0.75, "least": True}, "short"),
    ],
)
def test_the_verdict_is_the_best_that_the_value_reaches(values, verdict):
    assert row(**values).verdict == verdict


def test_a_figure_that_is_no_number_is_refused():
    with pytest.raises(InvalidRequestError, match="benchmark L8 measured nan; run it again"):
        row(value=float("nan"))


def test_the_command_prints_rows_as_json(monkeypatch):
    monkeypatch.setitem(command.BENCHMARKS, "L8", lambda: [row(value=1.1)])
    result = CliRunner().invoke(command.main, ["L8", "--json"])
    assert json.loads(result.stdout)[0] | {"detail": ""} == row(value=1.1).to_dict()


def test_the_table_has_every_figure(monkeypatch):
    monkeypatch.setitem(command.BENCHMARKS, "L8", lambda: [row(value=1.1234)])
    result = CliRunner().invoke(command.main, ["L8"])
    assert result.exit_code == 0
    assert "1.123" in result.stdout


def test_an_unknown_name_is_refused():
    assert CliRunner().invoke(command.main, ["L99"]).exit_code == 2
