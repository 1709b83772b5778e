"""The smallest real model: one matrix product, 1x4 by 4x4 (ONNX opset 13, IR 7): does onnxruntime work here?"""

from __future__ import annotations

import base64

PROBE_MODEL = base64.b64decode(
    "CAcSADqRAQoRCgF4CgF3EgF5IgZNYXRNdWwSBXByb2JlKksIBAgEEAFCAXdKQAAAAAAAAIA9AAAAPgAAQD4AAIA+AACgPgAAwD4A"
    "AOA+AAAAPwAAED8AACA/AAAwPwAAQD8AAFA/AABgPwAAcD9aEwoBeBIOCgwIARIICgIIAQoCCARiEwoBeRIOCgwIARIICgIIAQoC"
    "CARCBAoAEA0="
)
