"""`vjepa2-ac inspect`, `convert` and `download`: what a weights file is, another format of it, and where to get one."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vjepa2_ac.checkpoints.inspection import Inspection
    from vjepa2_ac.checkpoints.released import Released


class Which(StrEnum):
    """The encoders an official file can hold."""

    target_encoder = "target_encoder"
    ema_encoder = "ema_encoder"
    encoder = "encoder"


class Layout(StrEnum):
    """The formats that are written."""

    release = "release"
    huggingface = "huggingface"


class DType(StrEnum):
    """The precisions weights are kept in."""

    fp32 = "fp32"
    bf16 = "bf16"


WhichOption = Annotated[
    Which | None,
    typer.Option(
        help="Encoder to take from an official file. When not given, the moving average (target_encoder or "
        "ema_encoder); in V-JEPA 2-AC files encoder, which is the same there."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="MODEL.KEY=VALUE",
        help="Model setting that the shapes in an official file do not tell, for example `--set encoder.num_heads=2`.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    app.command()(inspect)
    app.command()(convert)
    app.command()(download)


def inspect(
    source: Annotated[
        str, typer.Argument(help="Weights file or folder, the name of a downloaded model, or `default`.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the description as JSON.")] = False,
    which: WhichOption = None,
    settings: SetOption = None,
) -> None:
    """Describe a weights file: what it is, what would load, and what is ignored and why.

    Nothing is loaded or executed. Exit code 1 if the file would not load.

    Example: `vjepa2-ac inspect vitl.pt`
    """
    from vjepa2_ac.checkpoints.inspection import inspect as look

    found = look(source, which=which.value if which else None, overrides=_overrides(settings))
    if as_json:
        typer.echo(json.dumps(_as_dict(found), indent=2))
    else:
        _describe(found)
    if not found.loads:
        raise typer.Exit(1)


def convert(
    source: Annotated[str, typer.Argument(help="Weights file or folder, or the name of a downloaded model.")],
    target: Annotated[Path, typer.Argument(help="Folder to write: config.json and model.safetensors.")],
    to: Annotated[
        Layout, typer.Option(help="Format to write: this project's release format, or the one that transformers loads.")
    ],
    dtype: Annotated[
        DType | None, typer.Option(help="Precision to store weights in: fp32 or bf16. When not given, unchanged.")
    ] = None,
    which: WhichOption = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            help="Another source whose models are added, such as a probe; --which and --set apply to the first. "
            "Repeatable.",
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="Model to leave out: encoder, predictor, inverse, keyframes, masked_predictor or classifier. "
            "Repeatable."
        ),
    ] = None,
    settings: SetOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the folder if it exists.")] = False,
) -> None:
    """Convert a weights file to another format, without the optimiser state.

    Weights stay bit-identical unless `--dtype` asks for another precision. The folder is written completely or not at
    all; free disk space is checked first.

    Examples: `vjepa2-ac convert vjepa2-ac-vitg.pt ac --to release --dtype bf16`,
    `vjepa2-ac convert vitl.pt vitl-hf --to huggingface`
    """
    from vjepa2_ac.checkpoints.conversion import convert as rewrite

    written = rewrite(
        source,
        target,
        to.value,
        dtype=dtype.value if dtype else None,
        which=which.value if which else None,
        beside=beside or (),
        without=without or (),
        overrides=_overrides(settings),
        force=force,
    )
    size = sum(file.stat().st_size for file in target.iterdir())
    typer.echo(f"{target}: {', '.join(written.parts)}, {_size(size)}")


def download(
    name: Annotated[str | None, typer.Argument(help="Released model, for example `vitl`; see --list.")] = None,
    show_list: Annotated[bool, typer.Option("--list", help="List the released models and exit.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Download folder. When not given, $VJEPA2_AC_HOME, or else the user's cache folder."),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Base URL to download from instead, such as a mirror.")
    ] = None,
    sha256: Annotated[
        str | None,
        typer.Option(metavar="DIGEST|FILE", help="Expected SHA-256 of the weights, or a file that starts with it."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Show the licence without asking for confirmation.")] = False,
) -> None:
    """Download a released model from its public address, resuming an interrupted download.

    No checksums have been published. A file is therefore checked against the length that its server announces, and
    its SHA-256 is written beside it. A later call compares the file with that digest; `--sha256` compares it with one
    you trust. Once downloaded, the model can be given by name wherever a weights file is expected; with `--out`, by
    its path.

    Example: `vjepa2-ac download vjepa2-ac-vitg`
    """
    from vjepa2_ac.checkpoints.places import home
    from vjepa2_ac.checkpoints.released import RELEASED

    if show_list:
        width = max(map(len, RELEASED))
        for model in RELEASED.values():
            typer.echo(f"{model.name:{width}}  {model.what}")
        return
    model = _released(name)
    from vjepa2_ac.checkpoints.download import download as fetch
    from vjepa2_ac.checkpoints.download import wanted_digest

    digest = wanted_digest(sha256) if sha256 else None
    typer.echo(model.licence, err=True)
    if not yes:
        typer.confirm(f"Fetch {model.name} ({model.what})?", abort=True, err=True)
    for file in fetch(model, out or home(), base_url=base_url, sha256=digest):
        state = "was there" if file.already_there else "fetched"
        typer.echo(f"{file.path}  {_size(file.size)}  sha256 {file.sha256}  {state}")


# --- helpers ---------------------------------------------------------------------------------------------------------


def _released(name: str | None) -> Released:
    from vjepa2_ac.checkpoints.released import RELEASED
    from vjepa2_ac.config import nearest
    from vjepa2_ac.errors import InputError

    if name is None:
        raise InputError("say which model to fetch; 'vjepa2-ac download --list' names them")
    if name not in RELEASED:
        meant = nearest(name, RELEASED)
        hint = f"did you mean '{meant}'?" if meant else "'vjepa2-ac download --list' names them"
        raise InputError(f"no released model is called '{name}'; {hint}")
    return RELEASED[name]


def _overrides(settings: list[str] | None) -> dict[str, dict[str, Any]]:
    """`["encoder.num_heads=2"]` as `{"encoder": {"num_heads": 2}}`."""
    from vjepa2_ac.errors import ConfigError

    overrides: dict[str, dict[str, Any]] = {}
    for setting in settings or ():
        place, equals, text = setting.partition("=")
        model, dot, key = place.partition(".")
        if not (equals and dot and model and key):
            raise ConfigError(f"--set {setting}: expected MODEL.KEY=VALUE, as in encoder.num_heads=2")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        overrides.setdefault(model, {})[key] = value
    return overrides


def _as_dict(found: Inspection) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(found) | {"source": str(found.source), "loads": found.loads}


def _describe(found: Inspection) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True, highlight=False)
    console.print(f"{found.source}: {found.layout}, {_size(found.bytes)}", markup=False)
    if found.entries:
        table = Table("entry", "tensors", "parameters", "size", "precision", box=None, title_justify="left")
        for entry in found.entries:
            name = _as_it_stands(entry.name)
            if entry.value is not None:
                table.add_row(name, "", "", "", _as_it_stands(entry.value))
            else:
                precision = ", ".join(entry.dtypes)
                table.add_row(name, str(entry.tensors), f"{entry.parameters:,}", _size(entry.bytes), precision)
        console.print(table)
    for model in found.models:
        config = ", ".join(f"{key} {value}" for key, value in model.config.items())
        console.print(f"\nwould load {model.name}: {model.type}, {model.parameters:,} parameters", markup=False)
        console.print(f"  {config}", markup=False)
    if found.preprocessing:
        height, width = found.preprocessing["img_size"]
        console.print(f"\nframes are prepared as '{found.preprocessing['name']}', {height} x {width}", markup=False)
    if found.normalize_latents is not None:
        console.print(f"the predictor takes {'normalised' if found.normalize_latents else 'raw'} latents", markup=False)
    if found.ignored:
        console.print("\nleft aside:")
        for ignored in found.ignored:
            console.print(f"  {ignored.key}: {ignored.reason}", markup=False)
    if found.fault:
        console.print(f"\nwould not load: {found.fault}", markup=False)


def _as_it_stands(text: str) -> str:
    """What a file says, for a table that would take it for markup, and for a terminal that would obey it."""
    from rich.markup import escape

    return escape(text if text.isprintable() else repr(text))


def _size(count: int) -> str:
    """Bytes as people read them."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"
