"""`vjepa2-ac serve` and `vjepa2-ac replay`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vjepa2_ac.options import Confidence, Device, ModelIfSaid, PrecisionIfSaid


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(serve)
    app.command()(replay)


def serve(
    model: ModelIfSaid = None,
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on; 127.0.0.1 if not given. Beyond this machine, a token is needed."),
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port for REST; 8000 if not given, 0 picks a free one.")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="Port for gRPC; 8001 if not given, 0 picks a free one.")] = None,
    grpc: Annotated[
        bool | None, typer.Option("--grpc/--no-grpc", help="Serve gRPC besides REST, or REST alone.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Planner preset for requests that name none: fast, balanced, keyframes or paper.")
    ] = None,
    confidence: Confidence = None,
    precision: PrecisionIfSaid = None,
    device: Device = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File of the tokens that clients may use, one per line.")
    ] = None,
    insecure: Annotated[
        bool | None, typer.Option("--insecure", help="Allow listening beyond this machine without a token.")
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option(help="PEM file of the certificate, to encrypt connections.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of the key of --tls-certificate.")] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(help="PEM file of a certificate authority; clients must show a certificate signed by it."),
    ] = None,
    plan_log: Annotated[Path | None, typer.Option(help="File to write each served plan to, as a JSON line.")] = None,
    log_pictures: Annotated[
        bool | None, typer.Option("--log-pictures", help="Store the pictures beside the plan log, for `replay`.")
    ] = None,
    stop_with_stdin: Annotated[
        bool | None,
        typer.Option("--stop-with-stdin", help="Stop when standard input ends, for programs that start the service."),
    ] = None,
    traces: Annotated[
        bool | None,
        typer.Option(
            "--traces/--no-traces",
            help="Send OpenTelemetry traces, or none. When not given, the `OTEL_*` environment variables decide.",
        ),
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="Log level: debug, info, warning or error.")] = None,
    log_format: Annotated[
        str | None, typer.Option(help="Log format: json, text, or auto (text on a terminal).")
    ] = None,
) -> None:
    """Serve plans over REST and gRPC: send a picture, a pose and a goal picture, get an action chunk back.

    Every setting can also be given as an environment variable (VJEPA2_AC_PORT=8000); docs/service.md lists them all.
    The page /docs shows every route. On SIGTERM or Ctrl-C, the service finishes the requests it has accepted, then
    stops.

    Example:  `vjepa2-ac serve --model random:tiny`
    """
    options = dict(locals())
    import asyncio
    import logging
    import os

    from server.logs import set_up
    from server.run import Listening, Running
    from server.service import PlanningService
    from server.settings import read_settings
    from vjepa2_ac.checkpoints.places import RANDOM, find
    from vjepa2_ac.devices import choose_device

    settings = read_settings(**options)
    if not settings.model.startswith(RANDOM):
        find(settings.model)  # a model that is not there is said here and now, not by /readyz
    choose_device(settings.device)  # and so is a device
    set_up(settings.log_level, settings.log_format)

    def tell(where: Listening) -> None:
        also = f" and gRPC at {where.grpc}" if where.grpc else ""
        typer.echo(f"serving {settings.model} at {where.url}{also}; {where.url}/docs shows how to ask", err=True)

    service = PlanningService(settings)
    finished = asyncio.run(Running(service).run(tell))
    if not finished or service.worker.is_alive:  # around a model at work in its thread, Python would end by aborting
        logging.shutdown()
        os._exit(not finished)


def replay(
    log: Annotated[Path, typer.Argument(help="Plan log, with its pictures beside it.")],
    model: Annotated[
        str | None, typer.Option(help="World model. When not given, the one named in the first line of the log.")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="Precision that the plans were served with: fp32, bf16 or auto.")
    ] = "auto",
    device: Annotated[str | None, typer.Option(help="Device that the plans were served on: cpu or cuda.")] = None,
) -> None:
    """Recompute every plan of a plan log and report whether it comes out the same.

    Exit code 1 if a plan comes out differently.

    Example:  `vjepa2-ac serve --plan-log plans.jsonl --log-pictures`, then `vjepa2-ac replay plans.jsonl`
    """
    from server.model import open_model
    from server.replay import lines_of
    from server.replay import replay as replayed
    from vjepa2_ac.errors import InputError

    first = next(lines_of(log, reports_broken=False), None)  # what is broken off is told as it is replayed
    if first is None:
        raise InputError(f"there is no plan in {log}")
    name = model or first[1]["model"]["name"]
    different = 0
    for outcome in replayed(log, open_model(name, precision, device)):
        words = "same" if outcome.is_same else f"differs by up to {outcome.difference:.2g}"
        typer.echo(f"{outcome.plan_id}  {words}" + (f"  ({outcome.note})" if outcome.note else ""))
        different += not outcome.is_same
    if different:
        raise typer.Exit(1)
