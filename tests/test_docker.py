"""What can be held of the container in seconds; `docker/check` lints it, `docker/build-check` builds and runs it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from server.messages import PlanOptions
from server.options import planner_config
from server.settings import PREFIX, Settings
from tests.server.running import running

DOCKER = Path(__file__).parents[1] / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
BUILD_CHECK = (DOCKER / "build-check").read_text()
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())


def ready(port: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "VJEPA2_AC_PORT": str(port)}
    return subprocess.run(
        [sys.executable, DOCKER / "ready"], env=environment, capture_output=True, text=True, timeout=20
    )


def test_the_health_check_tells_a_ready_service_from_none() -> None:
    with running() as (_, where):
        port = int(where.url.rpartition(":")[2])
        asked = ready(port)
        assert (asked.returncode, asked.stdout) == (0, "ready\n"), asked.stderr
    asked = ready(port)
    assert asked.returncode == 1
    assert "no answer" in asked.stderr


@pytest.mark.parametrize(
    "answer", [b"\x15\x03\x01\x00\x02\x02P\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nrea"]
)
def test_the_health_check_says_of_what_is_no_answer_that_it_is_none(answer: bytes) -> None:
    def speak() -> None:
        caller, _ = listening.accept()
        with caller:
            caller.recv(1000)
            caller.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=speak, daemon=True)
        thread.start()
        asked = ready(listening.getsockname()[1])
        thread.join(10)
    assert asked.returncode == 1
    assert asked.stderr.startswith("no whole answer in HTTP: ")
    assert asked.stderr.count("\n") == 1


def test_every_image_runs_without_rights() -> None:
    for stage in ("sim", "serve"):
        body = DOCKERFILE.split(f" AS {stage}\n")[1].split("\nFROM ")[0]
        users = re.findall(r"^USER (\S+)", body, re.MULTILINE)
        assert users[-1:] in ([], ["10001:10001"])
    assert "USER 10001:10001" in DOCKERFILE.split(" AS runtime\n")[1].split("\nFROM ")[0]


def test_containers_are_reached_from_this_machine_alone_and_write_to_volumes_alone() -> None:
    for service in COMPOSE["services"].values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_the_settings_that_are_made_exist_and_a_container_outlives_its_drain() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {"VJEPA2_AC_HOME"}
    for service in (COMPOSE["services"]["planner"], COMPOSE["services"]["planner-cpu"]):
        assert set(service["environment"]) <= known
        assert float(service["stop_grace_period"].rstrip("s")) > float(service["environment"]["VJEPA2_AC_DRAIN_S"])
    assert set(re.findall(r"(VJEPA2_AC_\w+)", DOCKERFILE)) <= known


def test_a_container_for_a_gpu_never_plans_without_one() -> None:
    services = COMPOSE["services"]
    assert [services[name]["environment"]["VJEPA2_AC_DEVICE"] for name in ("planner", "planner-cpu")] == ["cuda", "cpu"]


@pytest.mark.parametrize("script", ["check", "build-check"])
def test_the_checks_can_be_started(script: str) -> None:
    assert os.access(DOCKER / script, os.X_OK)
    subprocess.run(["bash", "-n", DOCKER / script], check=True, timeout=20)


def test_builds_share_what_uv_keeps() -> None:
    (kept,) = re.findall(r"UV_CACHE_DIR=(\S+)", DOCKERFILE)
    assert set(re.findall(r"--mount=type=cache,target=(\S+)", DOCKERFILE)) == {kept}


def test_a_build_can_be_given_other_pins(tmp_path: Path) -> None:
    shutil.copy(DOCKER.parent / "constraints.txt", tmp_path)
    (replace,) = re.findall(r"for pin in \$PINS; do .*; done", DOCKERFILE)
    wanted = ["torch==2.13.0+cpu", "torchvision==0.28.0"]
    subprocess.run(["sh", "-ec", replace], cwd=tmp_path, env={**os.environ, "PINS": " ".join(wanted)}, check=True)
    pins = (tmp_path / "constraints.txt").read_text().splitlines()
    assert [pin for pin in pins if pin.startswith("torch")] == wanted


def test_the_plans_that_the_build_check_asks_for_are_within_limits() -> None:
    asked = re.findall(r'plan \'"options": (\{.*?\})', BUILD_CHECK)
    assert len(asked) == 2
    for options in asked:
        planner_config(PlanOptions(**json.loads(options)), Settings())
