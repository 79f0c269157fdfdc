"""`vjepa2-ac serve` as an operator runs it: from a shell, with TLS, and stopped by SIGTERM."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.planner.worlds import HOME, moved, paint
from tests.server import pictures
from tests.server.running import running
from vjepa2_ac import cli
from vjepa2_ac.client import PlannerClient, PlannerError

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of its own authority for 127.0.0.1, and its key; it serves callers and the service alike."""
    folder = tmp_path_factory.mktemp("tls")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    files = ["-keyout", folder / "key.pem", "-out", folder / "certificate.pem"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *subject, *files],
        check=True,
        capture_output=True,
    )
    return folder


def tls(folder: Path, **more: Any) -> dict[str, Any]:
    return {"tls_certificate": folder / "certificate.pem", "tls_key": folder / "key.pem", **more}


@needs_openssl
@pytest.mark.parametrize("wire", ["https", "grpcs"])
def test_connections_can_be_encrypted(certificates: Path, wire: str) -> None:
    with running(**tls(certificates)) as (_, where):
        url = where.url if wire == "https" else f"grpcs://{where.grpc}"
        with PlannerClient(url, ca=certificates / "certificate.pem") as client:
            assert client.plan(paint(HOME), HOME, paint(moved(0.04, 0.0, 0.0))).actions.shape == (1, 7)
        with PlannerClient(url, retries=0, timeout_s=3) as stranger, pytest.raises(PlannerError):
            stranger.info()


@needs_openssl
@pytest.mark.parametrize("wire", ["https", "grpcs"])
def test_callers_can_be_asked_for_certificates(certificates: Path, wire: str) -> None:
    ca = certificates / "certificate.pem"
    with running(**tls(certificates, tls_client_ca=ca)) as (_, where):
        url = where.url if wire == "https" else f"grpcs://{where.grpc}"
        with PlannerClient(url, ca=ca, certificate=(ca, certificates / "key.pem")) as client:
            assert client.info()["api"] == "vjepa2_ac.v1"
        with PlannerClient(url, ca=ca, retries=0, timeout_s=3) as stranger, pytest.raises(PlannerError):
            stranger.info()


@contextmanager
def started(**settings: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A service that was started from a shell, and the addresses that it told."""
    command = [sys.executable, "-m", "vjepa2_ac.cli", "serve", "--model", "random:tiny", "--port", "0"]
    command += ["--grpc-port", "0", "--log-format", "json"]
    environment = {**os.environ, **{f"VJEPA2_AC_{name.upper()}": value for name, value in settings.items()}}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        addresses = re.match(r"serving random:tiny at (\S+) and gRPC at (\S+);", process.stderr.readline())
        assert addresses
        yield process, addresses[1], addresses[2]
    finally:
        process.kill()


@pytest.fixture(scope="module")
def shell() -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    with started() as service:
        yield service


def test_a_stranger_gets_a_chunk_and_sigterm_finishes_what_was_accepted(
    shell: tuple[subprocess.Popen[str], str, str],
) -> None:
    process, url, address = shell
    lines: list[str] = []
    assert process.stderr is not None
    reader = threading.Thread(target=lambda: lines.extend(process.stderr or ()))
    reader.start()
    frames = pictures.noise(256, 256, seed=1), pictures.noise(256, 256, seed=2)
    answers: list[Any] = []
    for each in (url, f"grpc://{address}"):
        with PlannerClient(each, timeout_s=60, retries=100) as client:  # it is asked until it is ready
            answers.append(client.plan(frames[0], HOME, frames[1], samples=3, iterations=1).actions.shape)

    def ask_for_long() -> None:
        with PlannerClient(url, timeout_s=60) as client:
            answers.append(client.plan(frames[0], HOME, frames[1], samples=8, iterations=3).actions.shape)

    asking = threading.Thread(target=ask_for_long)
    asking.start()
    threading.Event().wait(0.3)
    process.send_signal(signal.SIGTERM)
    asking.join(60)
    assert process.wait(30) == 0
    reader.join(10)
    assert answers == [(1, 7)] * 3
    assert any('"the model is ready"' in line for line in lines)
    assert any('"request_id"' in line for line in lines)
    assert '"stopped"' in lines[-1]


def test_sigterm_while_the_model_is_being_loaded_ends_it_at_once_and_well() -> None:
    """A service whose model takes a minute to load, run by the command itself."""
    slow = "import sys, time, server.service as s; s.open_model = lambda *named: time.sleep(60); "
    run = "from vjepa2_ac import cli; sys.exit(cli.run(sys.argv[1:]))"
    serve = ("serve", "--model", "random:tiny", "--port", "0", "--no-grpc")
    with subprocess.Popen([sys.executable, "-c", slow + run, *serve], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("serving")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert "stopped" in process.stderr.read().splitlines()[-1]


@pytest.mark.parametrize(("wire", "code"), [("rest", "draining"), ("grpc", "connection_lost")])
def test_what_takes_too_long_is_given_up_and_the_callers_are_told(wire: str, code: str) -> None:
    frames = pictures.noise(256, 256, seed=1), pictures.noise(256, 256, seed=2)
    refusals: list[PlannerError] = []
    with started(drain_s="1") as (process, url, address):

        def ask_for_long() -> None:
            with PlannerClient(url if wire == "rest" else f"grpc://{address}", timeout_s=60, retries=0) as client:
                try:
                    client.plan(frames[0], HOME, frames[1], preset="paper")
                except PlannerError as error:
                    refusals.append(error)

        with PlannerClient(url, timeout_s=60, retries=100) as client:  # it is asked until it is ready
            client.plan(frames[0], HOME, frames[1], samples=3, iterations=1)
        asking = threading.Thread(target=ask_for_long)
        asking.start()
        threading.Event().wait(1.0)
        assert not refusals
        process.send_signal(signal.SIGTERM)
        asking.join(30)
        assert process.stderr is not None
        log = process.stderr.read()
        assert process.wait(30) == 1
    assert [error.code for error in refusals] == [code]
    assert "Traceback" not in log
    assert '"stopped, with requests given up"' in log.splitlines()[-1]


def test_a_port_that_is_taken_is_said_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with running() as (_, where):
        port = where.url.rpartition(":")[2]
        assert cli.run(["serve", "--model", "random:tiny", "--port", port, "--grpc-port", "0"]) == 2
        assert "choose another --port" in capsys.readouterr().err
        assert where.grpc is not None
        port = where.grpc.rpartition(":")[2]
        assert cli.run(["serve", "--model", "random:tiny", "--port", "0", "--grpc-port", port]) == 2
        said = capsys.readouterr().err
        assert "gRPC cannot listen on" in said
        assert "choose another --grpc-port" in said


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_at_the_start(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["serve", "--model", "random:tiny", "--port", "0", "--no-grpc", "--device", device]) == 2
    assert f"no device {device}" in capsys.readouterr().err.replace("'", "")


def test_an_open_door_to_the_network_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["serve", "--host", "0.0.0.0"]) == 2
    assert "without a token" in capsys.readouterr().err
