"""What candidates in flight wait for: boards' answers, taken in as they come, and board classes that are away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from nas_service.job import JobSpec
from nas_service.measurement import RequestState, RequestStatus
from nas_service.tune.desk import Desk
from nas_service.tune.flight import Flight
from nas_service.tune.outage import Outage, back_text, lost_text
from nas_service.valuation import half_cost


class Waiting:
    """Has flights measured and says when boards have answered all, or will not.

    Args:
        spec: The job.
        desk: Where measurements are asked for.
        note: Called with a kind and a sentence when board classes vanish or are back.
        clock: Unix time in seconds.
    """

    def __init__(
        self, spec: JobSpec, *, desk: Desk, note: Callable[[str, str], None], clock: Callable[[], float]
    ) -> None:
        self._desk, self._note, self._clock = desk, note, clock
        self._timeout_s = spec.measurement.timeout_s
        self._outage = Outage(self._timeout_s)

    @property
    def away(self) -> frozenset[str]:
        """The job's board classes of which no board is there, as far as candidates wait for them."""
        return self._outage.away

    @property
    def given_up(self) -> bool:
        """Whether for `timeout_s` there was nothing to do but wait for a class that is away; final."""
        return self._outage.given_up

    def begin(self, flight: Flight, models: Mapping[str, Any]) -> None:
        """Ask for the measurements of an evaluated candidate.

        Args:
            flight: The candidate's.
            models: Its exported graphs by half; none after a resume, when the gateway's store has the requests.
        """
        flight.evaluated, flight.models = True, models
        flight.waiting = self._desk.keys(flight.candidate, raised=flight.raised)
        flight.give_up_at = self._clock() + self._timeout_s
        self._desk.request(flight.candidate, models, raised=flight.raised)

    def poll(self, flights: Iterable[Flight]) -> list[Flight]:
        """Take in what boards have answered, and return the flights that wait no more: measured, or with an `error`.

        Args:
            flights: All that are in flight.
        """
        every = list(flights)
        waiting = [flight for flight in every if flight.evaluated and flight.waiting]
        if not waiting or self.given_up:
            return []
        if self._outage.is_due(self._clock()):
            self._look(waiting)
        states = self._desk.poll(sorted({key for flight in waiting for key in flight.waiting}))
        over = [flight for flight in waiting if self._is_over(flight, states)]
        held = [flight.candidate.id for flight in waiting if flight.held_by(self.away)]
        self._outage.wait(held, in_flight=len(every), now=self._clock())
        return over

    def _look(self, waiting: Sequence[Flight]) -> None:
        before, self._outage.away = self.away, self._desk.absent()
        if lost := self.away - before:
            self._note("boards_lost", lost_text(lost))
        if back := before - self.away:
            those = [flight for flight in waiting if flight.held_by(back)]
            self._note("boards_back", back_text(back, waiting=len(those)))
            for flight in those:
                self._desk.request(flight.candidate, flight.models, raised=flight.raised)

    def _is_over(self, flight: Flight, states: Mapping[str, RequestState]) -> bool:
        if flight.held_by(self.away):
            flight.give_up_at = self._clock() + self._timeout_s
        for key, (board_class, half) in list(flight.waiting.items()):
            state = states.get(key)
            if state is None or not state.is_final:
                continue
            if state.result is None and board_class in self.away:
                continue  # for want of a board: asked for again when there is one
            if state.state is RequestStatus.FAILED or state.result is None:
                flight.error = f"{half} could not be measured on {board_class}: {state.cause}"
                return True
            flight.boards.setdefault(board_class, {})[half] = half_cost(state.result)
            del flight.waiting[key]
        if flight.waiting and self._clock() >= flight.give_up_at:
            flight.error = (
                f"no board measured its {flight.missing()} within {self._timeout_s:g} s; see what the boards do with "
                "`nas board ls`, or raise measurement.timeout_s"
            )
        return not flight.waiting or flight.error is not None
