"""Options that commands share, as types of their arguments: `precision: Precision = "auto"`.

Each is described here once, so that it reads the same in every `--help`. `…IfSaid` is None where the option is not
given, for commands that must tell that from the default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_OTHER_MODELS = (
    "the name of a downloaded model, a release folder, an official .pt file, or "
    "`random:SIZE` (tiny, vits, vitb, vitl, vith, vitg) for random weights"
)
MODELS = f"`default`, {_OTHER_MODELS}"  # for options that say more of what the model is for
Model = Annotated[str, typer.Option(help=f"World model: {MODELS}.")]
ModelIfSaid = Annotated[str | None, typer.Option(help=f"World model: `default` (if not given), {_OTHER_MODELS}.")]

_PRECISION = typer.Option(help="Precision: fp32, bf16, or auto (bf16 if this machine is fast at it, otherwise fp32).")
Precision = Annotated[str, _PRECISION]
PrecisionIfSaid = Annotated[str | None, _PRECISION]
Device = Annotated[
    str | None, typer.Option(help="Device: cpu or cuda. When not given, cuda if available, otherwise cpu.")
]

Observation = Annotated[str, typer.Option(help="Camera picture: a PNG or JPEG file, or `FILE.npz:STEP`.")]
Pose = Annotated[
    str | None,
    typer.Option(
        help='Pose of the hand: `"x y z roll pitch yaw gripper"` in m, rad and gripper closedness (0 open … 1 closed). '
        "A `.npz` step contains its own pose."
    ),
]
Camera = Annotated[str, typer.Option(help="Camera: left, right or wrist.")]
PlannerSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Planner setting from docs/planning.md, for example search.horizon=2. Repeatable.",
    ),
]
Confidence = Annotated[
    Path | None,
    typer.Option(help="File written by `evaluate-confidence`. Plans then report their probability of failure."),
]
