"""The rows that time onnxruntime in this process run to their end; how well they come out is the benchmark's to say."""

from __future__ import annotations

from cluster.benchmarks import boards, runtime


def test_a_stratified_stream_is_compared_with_the_whole_one(monkeypatch):
    monkeypatch.setattr(boards, "FULL_STREAM", 400)
    monkeypatch.setattr(boards, "PAIR_ROUNDS", 1)
    (row,) = boards.stratified()
    assert 0 <= row.value < 1
    assert "against 400, 30% escalated" in row.detail


def test_predicting_is_compared_with_its_sessions(monkeypatch):
    monkeypatch.setattr(runtime, "ROUNDS", 2)
    monkeypatch.setattr(runtime, "RUNS", 20)
    (row,) = runtime.overhead()
    assert 0 < row.value < 10_000
