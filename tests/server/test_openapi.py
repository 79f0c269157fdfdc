"""Schemathesis reads the OpenAPI document and asks a running service what follows from it, sense and nonsense alike."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.server.running import running

CONFIG = Path(__file__).with_name("schemathesis.toml")
ANSWERS = {"/v1/plan": "actions", "/v1/energy": "energies", "/v1/rollout": "poses"}


def explore(folder: Path, log: pytest.LogCaptureFixture, *options: str) -> None:
    """Ask a service of its own whatever the document allows, and what it does not; fail with the report."""
    program = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "--no-color", "run"]
    always = ["--suppress-health-check", "all", "--continue-on-failure", "--seed", "1"]
    log.set_level(logging.ERROR, logger="server")
    with running() as (_, where):
        command = [*program, where.url + "/openapi.json", *always, *options]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        paths = httpx.get(where.url + "/openapi.json").json()["paths"]
        for path, wanted in ANSWERS.items():
            example = paths[path]["post"]["requestBody"]["content"]["application/json"]["example"]
            assert httpx.post(where.url + path, json=example).json()[wanted]
    assert not log.records, "the service logged a fault"


def test_nothing_that_the_document_leads_to_makes_a_fault(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    explore(tmp_path, caplog, "--phases", "examples,fuzzing,stateful", "--max-examples", "6", "--max-time", "25")


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_nothing_makes_a_fault_for_long(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    explore(tmp_path, caplog, "--max-examples", "200", "--max-time", "600")
