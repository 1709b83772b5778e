"""Searchers: what to evaluate next, learnt from what was evaluated.

s = make_searcher("nsga2", space=space, objectives=("error", "macs"), seed=0, budget=200)
batch = s.ask(4)
s.tell([(batch[2], {"error": 8.1, "macs": 41.0})])
"""

from __future__ import annotations

from collections.abc import Sequence

from nas_service.choice_space import ChoiceSpace, Point
from nas_service.errors import InvalidRequestError
from nas_service.search.asktell import AskTell, ProposerFactory, SearchSetting
from nas_service.search.auto import AutoProposer
from nas_service.search.evolution import EvolutionProposer
from nas_service.search.ledger import checked_objectives
from nas_service.search.linas import LinasProposer
from nas_service.search.nsga2 import Nsga2Proposer
from nas_service.search.random_search import RandomProposer
from nas_service.search.searcher import Searcher, Told
from nas_service.search.tpe import TpeProposer

__all__ = ["SEARCHERS", "ChoiceSpace", "Point", "Searcher", "Told", "make_searcher"]

SEARCHERS: dict[str, ProposerFactory] = {
    "random": RandomProposer,
    "nsga2": Nsga2Proposer,
    "evolution": EvolutionProposer,
    "tpe": TpeProposer,
    "linas": LinasProposer,
    "auto": AutoProposer,
}


def make_searcher(
    name: str, space: ChoiceSpace, *, objectives: Sequence[str], seed: int = 0, budget: int = 200
) -> Searcher:
    """A searcher by its name.

    Args:
        name: one of SEARCHERS.
        space: what to search.
        objectives: 1 to 4 names of what every result holds; all are minimised.
        seed: >= 0; the same seed and the same results give the same asks.
        budget: how many evaluations to plan for, >= 1. It ends nothing: asking on is allowed.

    Raises:
        InvalidRequestError: an unknown name, or an argument out of its range.
    """
    if name not in SEARCHERS:
        raise InvalidRequestError(f"unknown searcher {name!r}; choose one of: {', '.join(sorted(SEARCHERS))}")
    names = checked_objectives(objectives)
    setting = SearchSetting(name=name, space=space, objectives=names, seed=seed, budget=budget)
    return AskTell(setting, SEARCHERS[name])
