"""Options that commands share, as types of their arguments: `precision: Precision = "auto"`.

Each is described here once, so that it reads the same in every `--help`. `…IfSaid` is None where the option is not
given, for commands that must tell that from the default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_OTHER_MODELS = (
    "a released name, a release folder, an official .pt, or `random:SIZE` (tiny, vits, vitb, vitl, vith, vitg)"
)
MODELS = f"default, {_OTHER_MODELS}"  # for options that say more of what the model is for
Model = Annotated[str, typer.Option(help=f"{MODELS}.")]
ModelIfSaid = Annotated[str | None, typer.Option(help=f"default (unless said), {_OTHER_MODELS}.")]

_PRECISION = typer.Option(help="fp32, bf16, or auto: bf16 where this machine is fast at it.")
Precision = Annotated[str, _PRECISION]
PrecisionIfSaid = Annotated[str | None, _PRECISION]
Device = Annotated[str | None, typer.Option(help="cpu or cuda; CUDA where there is one, unless told.")]

Observation = Annotated[str, typer.Option(help="What the camera sees: a PNG or JPEG, or `FILE.npz:STEP`.")]
Pose = Annotated[
    str | None,
    typer.Option(
        help='Where the hand is: `"x y z roll pitch yaw gripper"` in m, rad and 0 open … 1 closed. '
        "A `.npz` step brings its own."
    ),
]
Camera = Annotated[str, typer.Option(help="left, right or wrist.")]
PlannerSettings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting of docs/planning.md, as search.horizon=2. Repeat it."),
]
Confidence = Annotated[
    Path | None, typer.Option(help="File of `evaluate-confidence`: plans then say their chance of failure.")
]
