"""What a job says of a worker that is lost while it trains or finishes a candidate."""

from __future__ import annotations

import os
import signal

import pytest

from nas_service.errors import RetryableError

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_a_lost_worker_ends_a_job_with_what_to_do(ray_cluster):
    import ray

    from cluster.training_phase import answer_of

    @ray.remote(num_cpus=0)
    class Worker:
        def end(self) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(RetryableError, match=r"^a worker was lost \(.*\); resume the job, and it goes on$"):
        answer_of(Worker.remote().end.remote())
