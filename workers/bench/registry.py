"""Systems by name. A system is imported when it is asked for, and a user's own is named `package.module:function`."""

from __future__ import annotations

import difflib

from nas_service.errors import InvalidRequestError
from nas_service.import_path import imported
from workers.bench.system import MakeSystem, Setting, System

SYSTEMS: dict[str, str] = {
    "ours": "workers.bench.fixed_pair:make",
    "evolved": "workers.bench.evolved:make",
    "ours-no-kd": "workers.bench.ablations:without_distillation",
    "ours-average": "workers.bench.ablations:with_averaged_teacher",
    "ours-no-system": "workers.bench.ablations:without_routed_system",
    "ours-cost": "workers.bench.ablations:with_cost",
    "static-little": "workers.baselines.static:make_little",
    "static-mid1": "workers.baselines.static:make_mid1",
    "static-mid2": "workers.baselines.static:make_mid2",
    "static-mid3": "workers.baselines.static:make_mid3",
    "static-mid4": "workers.baselines.static:make_mid4",
    "static-big": "workers.baselines.static:make_big",
    "subnets": "workers.baselines.subnets:make",
    "cascade": "workers.baselines.cascade:make",
    "cascade-kd": "workers.baselines.cascade:make_distilled",
    "cascade-nas": "cluster.searched_cascade:make",
    "branchy": "workers.baselines.early_exit:make_branchy",
    "branchy2": "workers.baselines.early_exit:make_branchy_two",
    "boosted": "workers.baselines.early_exit:make_boosted",
    "msdnet": "workers.baselines.early_exit:make_msdnet",
    "msdnet-boosted": "workers.baselines.early_exit:make_boosted_msdnet",
}


def make_system(setting: Setting) -> System:
    """Return the system that `setting` names; InvalidRequestError if there is none, or it cannot be imported."""
    return _maker(setting.name)(setting)


def check_system(name: str) -> None:
    """Raise InvalidRequestError unless a system of this name can be made."""
    _maker(name)


def _maker(name: str) -> MakeSystem:
    target = SYSTEMS.get(name, name if ":" in name else "")
    if not target:
        near = difflib.get_close_matches(name, SYSTEMS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        raise InvalidRequestError(
            f"no system is called {name!r}{hint} choose from: {', '.join(SYSTEMS)}, or package.module:function"
        )
    hint = "give package.module:function that takes a Setting and returns a System"
    maker: MakeSystem = imported(target, what=f"system {name!r}", hint=hint)
    return maker
