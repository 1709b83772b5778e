"""Sessions of onnxruntime as a board class wants them, and the proof that the requested execution provider ran."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_agent.errors import BadUsageError, ChildFaultError
from edge_agent.process_limits import reset_peak

CPU = "CPUExecutionProvider"
PROVIDERS = {
    "cpu": CPU,
    "xnnpack": "XnnpackExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
MAX_THREADS = 256
ON_GPU = frozenset({PROVIDERS["cuda"], PROVIDERS["tensorrt"]})
_INPUT_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}


def check_threads(threads: int) -> None:
    """Raise BadUsageError unless that is 1 to 256: of 0, onnxruntime makes its own choice, and it starts any number."""
    if not (isinstance(threads, int) and 1 <= threads <= MAX_THREADS):
        raise BadUsageError(f"threads is {threads!r} but must be 1 to {MAX_THREADS}")


def open_session(model: Path, *, settings: dict[str, Any], profile_prefix: Path | None = None) -> Any:
    """Return an onnxruntime session with the class's settings: `provider`, `threads`, `arena`.

    Args:
        model: The ONNX file.
        settings: The three of them, and for TensorRT `engines`, the folder of its compiled models.
        profile_prefix: Where profiling writes, None for none: it slows every operator down.

    Raises:
        ChildFaultError: Of kind `provider` if the requested execution provider is not here or not the first.
    """
    import onnxruntime

    provider = settings["provider"]
    if provider not in onnxruntime.get_available_providers():
        have = ", ".join(onnxruntime.get_available_providers())
        raise ChildFaultError("provider", f"provider {provider!r} is not in this onnxruntime; it has: {have}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1 if provider == PROVIDERS["xnnpack"] else settings["threads"]
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = settings["arena"]
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile_prefix)
    wanted = _with_fallbacks(model, settings)
    session = onnxruntime.InferenceSession(str(model), sess_options=options, providers=wanted)
    if session.get_providers()[0] != provider:
        raise ChildFaultError(
            "provider", f"provider {provider!r} was asked for but {session.get_providers()[0]!r} runs"
        )
    return session


def build_engine(model: Path, *, settings: dict[str, Any]) -> None:
    """Have TensorRT compile the model, so that every session opened later finds it done; nothing else needs that.

    Compiling takes minutes on a board: it belongs to preparing, and is not to be repeated by each process of a
    measurement.
    """
    if settings["provider"] != PROVIDERS["tensorrt"]:
        return
    _engines_of(model, settings).mkdir(parents=True, exist_ok=True)
    session = open_session(model, settings=settings)
    session.run(None, make_feeds(session, seed=0))
    del session
    reset_peak()  # compiling takes far more memory than the model will


def _engines_of(model: Path, settings: dict[str, Any]) -> Path:
    """Return the folder of one model's engines: TensorRT would take an engine for one of a graph that is alike."""
    return Path(settings["engines"]) / model.stem


def _with_fallbacks(model: Path, settings: dict[str, Any]) -> list[Any]:
    """Return what onnxruntime is to try in turn, node by node; it adds the CPU itself."""
    provider = settings["provider"]
    if provider == PROVIDERS["xnnpack"]:
        return [(provider, {"intra_op_num_threads": str(settings["threads"])})]  # it has a pool of its own
    if provider == PROVIDERS["tensorrt"]:
        cache = {"trt_engine_cache_enable": "True", "trt_engine_cache_path": str(_engines_of(model, settings))}
        return [(provider, cache), PROVIDERS["cuda"]]
    return [provider]


def prove_provider(model: Path, *, settings: dict[str, Any], feeds: dict[str, Any], folder: Path) -> dict[str, int]:
    """Run the model once under profiling and return how many of its nodes each execution provider ran.

    Being listed proves nothing: a provider that takes no node of the graph leaves all of them to the CPU.

    Raises:
        ChildFaultError: Of kind `provider` if the requested one ran none.
    """
    session = open_session(model, settings=settings, profile_prefix=folder / "profile")
    session.run(None, feeds)
    nodes = node_providers(json.loads(Path(session.end_profiling()).read_bytes()))
    if not nodes.get(settings["provider"]):
        ran = ", ".join(f"{name} {count}" for name, count in sorted(nodes.items())) or "nobody any"
        raise ChildFaultError(
            "provider", f"provider {settings['provider']!r} was asked for but ran none of the nodes; {ran}"
        )
    return nodes


def node_providers(events: list[dict[str, Any]]) -> dict[str, int]:
    """Return the number of nodes by execution provider in a profile of onnxruntime."""
    ran: dict[str, set[str]] = {}
    for event in events:
        provider = event.get("args", {}).get("provider")
        if event.get("cat") == "Node" and provider:
            ran.setdefault(provider, set()).add(str(event.get("name")))
    return {provider: len(names) for provider, names in ran.items()}


def make_feeds(session: Any, *, seed: int) -> dict[str, Any]:
    """Return seeded inputs for a session: standard normal floats, integers 0 and 1; free dimensions are 1."""
    import numpy as np

    rng = np.random.default_rng(seed)
    feeds = {}
    for value in session.get_inputs():
        if value.type not in _INPUT_TYPES:
            known = ", ".join(_INPUT_TYPES)
            raise ChildFaultError("model", f"input {value.name!r} has type {value.type} but must be one of: {known}")
        shape = [size if isinstance(size, int) and size > 0 else 1 for size in value.shape]
        kind = np.dtype(_INPUT_TYPES[value.type])
        values = rng.standard_normal(shape) if kind.kind == "f" else rng.integers(0, 2, shape)
        feeds[value.name] = np.asarray(values).astype(kind)
    return feeds


def versions() -> dict[str, str]:
    """Return the versions of what runs the model."""
    import numpy
    import onnxruntime

    return {"onnxruntime": onnxruntime.__version__, "numpy": numpy.__version__}
