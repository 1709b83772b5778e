from __future__ import annotations

from cluster.gateway.rate import Bucket


def test_a_burst_passes_at_once_and_then_so_many_a_second() -> None:
    bucket = Bucket(per_s=2.0, burst=3.0)
    assert [bucket.take(10.0) for _ in range(5)] == [True, True, True, False, False]
    assert [bucket.take(11.0) for _ in range(3)] == [True, True, False]
    assert bucket.take(11.5)


def test_the_bucket_never_holds_more_than_its_burst() -> None:
    bucket = Bucket(per_s=100.0, burst=2.0)
    bucket.take(0.0)
    assert [bucket.take(1000.0) for _ in range(3)] == [True, True, False]
