"""Compilation of a model's passes by torch, where there is what it takes.

It compiles anew for every pair of a supernet, and keeps few of them: it is for nets of one shape on GPUs. Off unless a
configuration asks for it.
"""

from __future__ import annotations

import logging
from functools import lru_cache

import torch
from torch import nn

_log = logging.getLogger(__name__)


def compile_module(module: nn.Module) -> bool:
    """Let calls of `module` run compiled, in place, and return True; warn and return False if nothing compiles here."""
    if (problem := compiler_problem()) is not None:
        _log.warning(
            "torch.compile does not work on this machine, so training goes on uncompiled (%s); install a C++ compiler "
            "and Python's headers, or set compile to false",
            problem,
        )
        return False
    module.compile(dynamic=False)
    return True


@lru_cache(maxsize=1)
def compiler_problem() -> str | None:
    """Return why torch cannot compile here, None if it can: found by compiling one addition."""
    try:
        torch.compile(_successor, dynamic=False)(torch.zeros(2))
    except Exception as error:  # what a missing compiler raises differs by version, system and back end
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    return None


def _successor(x: torch.Tensor) -> torch.Tensor:
    return x + 1
