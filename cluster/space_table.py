"""What boards of a class say of a space: well-chosen pairs, untrained, so that the costs of all others are predictable.

What is measured already, by an earlier run, another job or a search, is not measured again: a measurement's key covers
the structure without weights. So a run that was cut goes on by being started again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict

from cluster.evaluator import publish
from cluster.gateway.actor import GatewayClient, find_gateway
from cluster.job_context import JobContext
from cluster.measurer import GatewayMeasurer
from cluster.training_phase import StopRequestedError, dataset_spec
from edge_agent.records import Artifact, Half
from nas_service.chosen_pairs import chosen_pairs
from nas_service.errors import NasError
from nas_service.foresight import Foresight
from nas_service.half import halves_of
from nas_service.measurement import MeasurementRequest, RequestState, RequestStatus, measurement_key
from nas_service.pair_space import PairSpace
from nas_service.plan import PairPlan
from nas_service.space import load_definition
from nas_service.tune.ports import Measurer
from nas_service.valuation import half_cost
from workers.data.loading import load
from workers.supernet import Supernet
from workers.untrained import untrained_graphs

POLL_S = 1.0
HALVES: tuple[Half, Half] = ("little", "big")
Wanted = dict[str, tuple[PairPlan, Half, str]]
"""Measurement key -> pair, half, board class."""


class SpaceTable:
    """Measures pairs of a job's space, and says how well others are predicted.

    Args:
        job: What to work with.
        board_classes: Where to measure.
        measurer: Who measures; None is the gateway.
        store_graph: Where graphs go that boards fetch.
        pause: Waits between two looks at the boards, in seconds.
    """

    def __init__(
        self,
        job: JobContext,
        board_classes: Collection[str],
        *,
        measurer: Measurer | None = None,
        store_graph: Callable[[bytes], Artifact] = publish,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._job, self._board_classes = job, board_classes
        self._store_graph, self._pause = store_graph, pause
        self._measurer = measurer or GatewayMeasurer(GatewayClient(find_gateway()), priority=job.spec.priority)

    def measure(self) -> dict[str, Foresight]:
        """Ask for what is not measured yet, wait for the boards, report, and return what was learnt by board class.

        Raises:
            StopRequestedError: the user asked for it; what was measured stays.
            NasError: no board answered for as long as the job says.
        """
        space = self._space()
        wanted = self._wanted(chosen_pairs(space, self._job.spec.measurement.pairs))
        self._request(space, wanted)
        return self._report(wanted, self._wait(wanted))

    def _space(self) -> PairSpace:
        spec = self._job.spec
        definition = load_definition(
            spec.space.preset, couplings=spec.space.couplings, activation=spec.space.activation
        )
        dataset = load(dataset_spec(spec, cache=self._job.work.parent / "data"))
        return PairSpace(
            definition,
            channels=dataset.channels,
            resolution=dataset.resolution,
            classes=len(dataset.classes),
            constraints=spec.constraints,
        )

    def _wanted(self, plans: list[PairPlan]) -> Wanted:
        spec, wanted = self._job.spec, Wanted()
        for plan in plans:
            structures = plan.structures(spec.router)
            for board_class in self._board_classes:
                settings = self._measurer.settings(board_class)
                for half in HALVES:
                    key = measurement_key(
                        structures[half],
                        tier=spec.measurement.tier,
                        board_class=board_class,
                        settings=settings,
                        half=half,
                    )
                    wanted[key] = plan, half, board_class
        return wanted

    def _request(self, space: PairSpace, wanted: Wanted) -> None:
        """Export and ask for what nobody asked for yet, and again for what failed for no fault of its own."""
        states = self._measurer.poll(list(wanted))
        settled = {k for k, s in states.items() if s.state is not RequestStatus.FAILED or s.result is not None}
        self._job.note("table", f"{len(wanted)} halves to measure, {len(settled)} of them known or asked for already")
        supernet = Supernet(space) if len(settled) < len(wanted) else None
        for done, (key, (plan, half, board_class)) in enumerate(wanted.items()):
            if supernet is None or key in settled:
                continue
            self._check_stop()
            self._job.progress("exporting", done=done, total=len(wanted), detail=f"{half} for {board_class}")
            graph = untrained_graphs(supernet.extract(plan), router=self._job.spec.router, halves=[half])[half]
            self._measurer.request(
                [
                    MeasurementRequest(
                        structure_key=plan.structures(self._job.spec.router)[half],
                        board_class=board_class,
                        tier=self._job.spec.measurement.tier,
                        half=half,
                        model=self._store_graph(graph),
                        settings=self._measurer.settings(board_class),
                        job_id=self._job.job_id,
                    )
                ]
            )

    def _wait(self, wanted: Wanted) -> Mapping[str, RequestState]:
        """Return the boards' answers, all final."""
        timeout_s, best, since = self._job.spec.measurement.timeout_s, -1, time.monotonic()
        while True:
            states = self._measurer.poll(list(wanted))
            done = sum(state.is_final for state in states.values())
            self._job.progress("measuring", done=done, total=len(wanted), detail="halves measured")
            if done == len(wanted):
                return states
            self._check_stop()
            if done > best:
                best, since = done, time.monotonic()
            if time.monotonic() - since > timeout_s:
                raise NasError(
                    f"no board measured anything for {timeout_s:g} s, with {done} of {len(wanted)} halves measured; "
                    "see what the boards do with `nas board ls`, then `nas resume`: nothing is measured twice"
                )
            self._pause(POLL_S)

    def _report(self, wanted: Wanted, states: Mapping[str, RequestState]) -> dict[str, Foresight]:
        learnt = {board_class: Foresight() for board_class in self._board_classes}
        for board_class, foresight in learnt.items():
            failed = 0
            for key, (plan, half, owner) in wanted.items():
                result = states[key].result
                if owner != board_class:
                    continue
                if states[key].state is RequestStatus.DONE and result is not None:
                    foresight.learn(key, halves_of(plan)[half], half_cost(result))
                else:
                    failed += 1
            for name, quality in foresight.qualities.items():
                self._job.note("table", f"{name}@{board_class}: {quality}", {"quantity": name, **asdict(quality)})
            if failed:
                self._job.note("failed", f"{failed} halves could not be measured on {board_class}")
        return learnt

    def _check_stop(self) -> None:
        if self._job.stop_requested():
            raise StopRequestedError("stopped while a space was measured; what was measured stays")
