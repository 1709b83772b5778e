"""Which execution provider ran: read from a profile as onnxruntime writes it."""

from __future__ import annotations

from edge_agent.inference import node_providers

PROFILE = [
    {"cat": "Session", "name": "model_loading_uri", "args": {}},
    {"cat": "Node", "name": "conv1_fence_before", "args": {"op_name": "Conv"}},
    {"cat": "Node", "name": "conv1_kernel_time", "args": {"op_name": "Conv", "provider": "CUDAExecutionProvider"}},
    {"cat": "Node", "name": "conv1_kernel_time", "args": {"op_name": "Conv", "provider": "CUDAExecutionProvider"}},
    {"cat": "Node", "name": "relu1_kernel_time", "args": {"op_name": "Relu", "provider": "CUDAExecutionProvider"}},
    {"cat": "Node", "name": "topk_kernel_time", "args": {"op_name": "TopK", "provider": "CPUExecutionProvider"}},
]


def test_a_node_counts_once_for_the_provider_that_ran_it() -> None:
    assert node_providers(PROFILE) == {"CUDAExecutionProvider": 2, "CPUExecutionProvider": 1}


def test_a_profile_without_nodes_proves_nothing() -> None:
    assert node_providers(PROFILE[:2]) == {}
