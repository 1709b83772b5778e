"""Finalists on the boards: up to tier `rank` their halves, from `final` on the pair whole, and what either costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from cluster.evaluator import HALVES, publish
from cluster.training_phase import StopRequestedError
from edge_agent.records import Half, Result
from edge_agent.tiers import WHOLE_TIERS, longest_s
from nas_service.bundle_costs import pair_costs
from nas_service.candidate import Candidate
from nas_service.job import JobSpec
from nas_service.measurement import MeasurementRequest
from nas_service.store import Store
from nas_service.tune.ports import Measurer
from nas_service.valuation import half_cost

POLL_S = 0.5
Keys = dict[str, dict[str, str]]  # board class -> what was measured -> measurement key
Costs = dict[str, tuple[float, float]]


class FinalistMeasuring:
    """Measures one job's finalists again, if it asks for that."""

    def __init__(self, job_id: str, spec: JobSpec, *, store: Store, measurer: Measurer | None) -> None:
        self._job_id, self._spec, self._store, self._measurer = job_id, spec, store, measurer

    @property
    def whole(self) -> bool:
        """Whether pairs are measured whole."""
        return self._measurer is not None and self._spec.finalists.tier in WHOLE_TIERS

    def halves(self, candidate: Candidate, *, export: Callable[[], Mapping[str, bytes]]) -> Keys:
        """Return the measurement keys by class and half, measured anew if the finalists' tier is another one.

        Args:
            candidate: The finalist.
            export: Gives the halves' graphs.

        Raises:
            StopRequestedError: if the user asked for it meanwhile.
        """
        tier = self._spec.finalists.tier
        if self._measurer is None or self.whole or tier is None or tier == self._spec.measurement.tier:
            return {board_class: dict(halves) for board_class, halves in candidate.measurements.items()}
        graphs = export()
        subjects: list[tuple[str, Half, str, bytes]] = [
            (half, half, candidate.structures[half], graphs[half]) for half in HALVES
        ]
        return self._measured(candidate, subjects)

    def pairs(self, candidate: Candidate, packs: Mapping[str, bytes]) -> Keys:
        """Return the measurement keys by class and precision of a pair that the boards measured whole.

        A pair's key covers its weights and its stream, as it covers all of the pack.

        Args:
            candidate: The finalist.
            packs: Pair packs by precision.

        Raises:
            StopRequestedError: if the user asked for it meanwhile.
        """
        subjects: list[tuple[str, Half, str, bytes]] = [(name, "pair", "", data) for name, data in packs.items()]
        return self._measured(candidate, subjects) if self.whole else {}

    def _measured(self, candidate: Candidate, subjects: Sequence[tuple[str, Half, str, bytes]]) -> Keys:
        assert self._measurer is not None
        assert self._spec.finalists.tier is not None
        keys: Keys = {}
        requests = []
        for name, half, structure, data in subjects:
            model = publish(data)
            for board_class in candidate.measurements:
                request = MeasurementRequest(
                    structure_key=structure or model.sha256,
                    board_class=board_class,
                    tier=self._spec.finalists.tier,
                    half=half,
                    model=model,
                    settings=self._measurer.settings(board_class),
                    job_id=self._job_id,
                    priority=1,
                )
                requests.append(request)
                keys.setdefault(board_class, {})[name] = request.measurement_key
        self._measurer.request(requests)
        self._wait([request.measurement_key for request in requests], timeout_s=self._timeout_s(len(subjects)))
        return keys

    def _timeout_s(self, count: int) -> float:
        assert self._spec.finalists.tier is not None
        return max(self._spec.measurement.timeout_s, 2 * count * longest_s(self._spec.finalists.tier))

    def _wait(self, keys: Sequence[str], *, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        assert self._measurer is not None
        give_up_at = clock() + timeout_s
        while clock() < give_up_at:
            states = self._measurer.poll(keys)
            if all(key in states and states[key].is_final for key in keys):
                return
            if self._store.jobs.stop_requested(self._job_id):
                raise StopRequestedError("stopped while finalists were measured")
            time.sleep(POLL_S)
        self._note(f"finalists were not measured within {timeout_s:g} s")

    def half_costs(self, keys: Keys) -> Costs:
        """Return measured costs by objective: of the little, and of what escalation adds, each measured by itself."""
        costs: Costs = {}
        for board_class, results in self._results(keys).items():
            if not set(HALVES) <= set(results):
                continue
            little, big = half_cost(results["little"]), half_cost(results["big"])
            for name in ("latency_ms", "energy_mj"):
                pair = getattr(little, name), getattr(big, name)
                if None not in pair:
                    costs[f"{name}@{board_class}"] = pair
        return costs

    def whole_costs(self, keys: Keys) -> dict[str, Costs]:
        """Return by precision what pairs measured whole cost; what has no good result is told in the job's events."""
        costs: dict[str, Costs] = {}
        good = self._results(keys)
        states = self._store.fleet.states([key for named in keys.values() for key in named.values()])
        for board_class, named in keys.items():
            for precision, key in named.items():
                if result := good.get(board_class, {}).get(precision):
                    costs.setdefault(precision, {}).update(pair_costs(result, board_class=board_class))
                    continue
                cause = states[key].cause if key in states and states[key].cause else "there was no result in time"
                self._note(
                    f"the {precision} pair was not measured whole on {board_class}: {cause}; its bundle has what its "
                    "halves cost by themselves"
                )
        return costs

    def _results(self, keys: Keys) -> dict[str, dict[str, Result]]:
        """Return the good results by class and what was measured."""
        states = self._store.fleet.states([key for named in keys.values() for key in named.values()])
        found: dict[str, dict[str, Result]] = {}
        for board_class, named in keys.items():
            results = {name: states[key].result for name, key in named.items() if key in states}
            found[board_class] = {name: r for name, r in results.items() if r is not None and r.status == "ok"}
        return found

    def _note(self, message: str) -> None:
        self._store.jobs.append_event(self._job_id, "measurement", message)
