"""What a user may set of a board class: how onnxruntime runs there, and what a measurement may take."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from edge_agent.records import RuntimeSettings

ProviderName = Literal["cpu", "xnnpack", "cuda", "tensorrt"]
PROVIDERS: dict[ProviderName, str] = {
    "cpu": "CPUExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_PREPARE_S, _BUILD_S = 120.0, 1800.0  # TensorRT compiles each model for the board first: ten minutes were seen


class ClassSettings(BaseModel):
    """The settings of a board class, made with its first board and kept: they are a part of every figure's key."""

    model_config = ConfigDict(extra="forbid")

    provider: ProviderName = Field(default="cpu", description="What runs the models")
    threads: int = Field(default=1, ge=1, le=256)
    arena: bool = Field(default=True, description="Whether onnxruntime keeps the memory that it was given")
    memory_limit_mib: int | None = Field(
        default=None, ge=16, le=1 << 20, description="What a model may take; null: nine tenths of what is free"
    )
    prepare_timeout_s: float | None = Field(
        default=None, gt=0, le=7200, description="To load a model; null: 120 s, with TensorRT 1800 s"
    )
    measure_timeout_s: float = Field(
        default=180.0, gt=0, le=7200, description="To warm up and time it; never less than the tier's own plan takes"
    )

    def runtime(self) -> RuntimeSettings:
        """Return the settings as boards are told them."""
        usual_s = _BUILD_S if self.provider == "tensorrt" else _PREPARE_S
        return RuntimeSettings(
            provider=PROVIDERS[self.provider],
            threads=self.threads,
            arena=self.arena,
            memory_limit_mib=self.memory_limit_mib,
            prepare_timeout_s=self.prepare_timeout_s or usual_s,
            measure_timeout_s=self.measure_timeout_s,
        )
