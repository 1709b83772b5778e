"""Presets: spaces of pairs that ship with the product."""

from __future__ import annotations

from nas_service.pair_space import SpaceDefinition, StageChoices
from nas_service.plan import COUPLINGS

# For 8×8 digits: trains in seconds, for demos and tests.
MICRO = SpaceDefinition(
    name="micro",
    stem_widths=(8, 16),
    stem_stride=1,
    stem_depths=(1, 2),
    strides=(2, 2),
    little=(
        StageChoices(widths=(8, 16), depths=(1,)),
        StageChoices(widths=(8, 16, 24), depths=(1, 2)),
    ),
    big=(
        StageChoices(widths=(16, 24, 32), depths=(1, 2), kinds=("separable", "fused")),
        StageChoices(widths=(24, 32, 48), depths=(1, 2, 3), kinds=("separable", "residual")),
    ),
    couplings=COUPLINGS,
)

# For 32×32 colour images on microcontroller-class boards: the largest bigs have 2–4 M MACs. Some pairs exceed 100 k
# parameters; who needs that bound sets the constraint `params: 100000`.
TINY = SpaceDefinition(
    name="tiny",
    stem_widths=(16, 24),
    stem_stride=2,
    stem_depths=(1, 2),
    strides=(2, 2),
    little=(
        StageChoices(widths=(16, 24, 32, 40), depths=(1, 2)),
        StageChoices(widths=(32, 48, 64, 80), depths=(1, 2, 3), kernels=(3, 5)),
    ),
    big=(
        StageChoices(widths=(48, 64, 80), depths=(2, 3, 4), kinds=("separable", "fused")),
        StageChoices(widths=(80, 96, 112, 128), depths=(2, 3), kernels=(3, 5)),
    ),
    couplings=COUPLINGS,
)

# For 32×32 colour images on larger microcontrollers (the regime of MLPerf Tiny): little of 1–3 M MACs, big of 12–25 M.
SMALL = SpaceDefinition(
    name="small",
    stem_widths=(16, 24),
    stem_stride=1,
    stem_depths=(1, 2),
    strides=(2, 2, 2),
    little=(
        StageChoices(widths=(24, 32, 40, 48), depths=(1, 2)),
        StageChoices(widths=(48, 64, 80, 96), depths=(1, 2), kernels=(3, 5)),
        StageChoices(widths=(96, 128, 160), depths=(1, 2), kernels=(3, 5)),
    ),
    big=(
        StageChoices(widths=(80, 96), depths=(3, 4), kinds=("separable", "fused")),
        StageChoices(widths=(160, 176, 192), depths=(3, 4), kernels=(3, 5)),
        StageChoices(widths=(224, 256), depths=(2, 3), kernels=(3, 5)),
    ),
    couplings=COUPLINGS,
)

# For photographs, 224×224 or from 64×64 on, on application processors: inverted residuals with squeeze-and-excitation
# or without, and a little that may see the image smaller.
MOBILE = SpaceDefinition(
    name="mobile",
    stem_widths=(16, 24),
    stem_stride=2,
    stem_depths=(1, 2),
    strides=(2, 2, 2, 2),
    little=(
        StageChoices(
            widths=(16, 24), depths=(1, 2), kernels=(3, 5), kinds=("inverted", "inverted_se"), expansions=(3, 4)
        ),
        StageChoices(
            widths=(24, 32, 40), depths=(1, 2), kernels=(3, 5), kinds=("inverted", "inverted_se"), expansions=(3, 4)
        ),
        StageChoices(
            widths=(48, 64, 80), depths=(1, 2, 3), kernels=(3, 5), kinds=("inverted", "inverted_se"), expansions=(3, 4)
        ),
        StageChoices(
            widths=(96, 128, 160), depths=(1, 2), kernels=(3, 5), kinds=("inverted", "inverted_se"), expansions=(3, 4)
        ),
    ),
    big=(
        StageChoices(
            widths=(24, 32), depths=(2, 3), kernels=(3, 5, 7), kinds=("inverted", "inverted_se"), expansions=(3, 4, 6)
        ),
        StageChoices(
            widths=(40, 48),
            depths=(2, 3, 4),
            kernels=(3, 5, 7),
            kinds=("inverted", "inverted_se"),
            expansions=(3, 4, 6),
        ),
        StageChoices(
            widths=(80, 96, 112),
            depths=(3, 4, 6),
            kernels=(3, 5, 7),
            kinds=("inverted", "inverted_se"),
            expansions=(3, 4, 6),
        ),
        StageChoices(
            widths=(160, 192, 224),
            depths=(2, 3, 4),
            kernels=(3, 5, 7),
            kinds=("inverted", "inverted_se"),
            expansions=(3, 4, 6),
        ),
    ),
    couplings=COUPLINGS,
    little_scales=(0.5, 0.75, 1.0),
)

PRESETS: dict[str, SpaceDefinition] = {"micro": MICRO, "tiny": TINY, "small": SMALL, "mobile": MOBILE}
