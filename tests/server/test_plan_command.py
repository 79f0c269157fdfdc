"""`vjepa2-ac plan --server`: the same plan, asked of a real service over either wire."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from planner.single import here
from server.run import Listening
from tests.planner.worlds import HOME, PointWorld, moved, paint
from tests.server.conftest import WIRES, url_of
from tests.server.running import running
from vjepa2_ac.cli import run

GOAL = moved(0.04, -0.02, 0.0)
POSE = " ".join(map(str, HOME))
TOKEN = "a-token-long-enough"


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options that name an observation and a goal of the point world; another goal lies beside them."""
    monkeypatch.delenv("VJEPA2_AC_TOKEN", raising=False)
    for name, pose in (("now", HOME), ("wanted", GOAL), ("later", moved(0.0, 0.05, 0.0))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), paint(pose)[..., ::-1])
    return ["--observation", f"{tmp_path}/now.png", "--goal", f"{tmp_path}/wanted.png", "--pose", POSE]


def answered(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


@pytest.mark.parametrize("wire", WIRES)
def test_a_service_plans_as_this_process_would(
    point: Listening,
    wire: str,
    pictures: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(here, "open_model", lambda *_: (PointWorld(), {"name": "point", "version": "1"}, ()))
    options = ["--preset", "fast", "--set", "search.horizon=2", "--seed", "5", "--out", f"{tmp_path}/out", "--json"]
    options += ["--goal", f"{tmp_path}/later.png", "--sub-goal", "1"]
    assert run(["plan", *pictures, *options]) == 0
    local = answered(capsys)
    assert run(["plan", *pictures, *options, "--server", url_of(point, wire)]) == 0
    served = answered(capsys)
    assert served["server"] == url_of(point, wire)
    assert served.keys() == local.keys()
    for name in ("actions", "targets", "wanted", "trace", "cost", "idle_cost"):
        np.testing.assert_allclose(served.pop(name), local.pop(name), atol=1e-6)
    for name in ("confidence", "gripper_costs"):
        assert served.pop(name) == pytest.approx(local.pop(name), abs=1e-5)
    energies = [[each["energies"] for each in answer["landscape"]["maps"]] for answer in (served, local)]
    np.testing.assert_allclose(*energies, atol=1e-5)
    for name in ("plan_id", "timings_ms", "landscape", "server"):
        del served[name], local[name]
    assert served == local
    assert (tmp_path / "out/plan.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("wire", WIRES)
def test_what_a_service_refuses_is_told_in_its_words(
    point: Listening, wire: str, pictures: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = [*pictures[:-1], "1.4 0 0.3 0 0 0 0", "--server", url_of(point, wire)]
    assert run(["plan", *elsewhere]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: observation.pose: x = 1.4 m is outside of the workspace")


@pytest.mark.parametrize("wire", WIRES)
def test_maps_that_fail_are_told_from_a_plan_that_fails(
    wire: str, pictures: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = "the plan was made, but not the 11 x 11 maps around it: candidates: 244 actions in all"
    with running(max_candidate_steps=200) as (_, where):
        asked = ["plan", *pictures, "--server", url_of(where, wire), "--out", f"{tmp_path}/out"]
        assert run([*asked, "--grid", "11"]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
        assert run(asked) == 0


@pytest.mark.parametrize("wire", WIRES)
def test_a_token_opens_a_guarded_service(
    wire: str, pictures: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"# of the lab\n{TOKEN}\n")
    with running(token=TOKEN) as (_, where):
        asked = ["plan", *pictures, "--server", url_of(where, wire)]
        assert run([*asked, "--token-file", str(tokens)]) == 0
        assert run(asked) == 2
        assert "token" in capsys.readouterr().err
        monkeypatch.setenv("VJEPA2_AC_TOKEN", TOKEN)
        assert run(asked) == 0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--server", "ftp://robot"], "'ftp://robot' is no address of a service"),
        (["--server", "http://127.0.0.1:1", "--timeout-s", "1"], "no planning service could be reached"),
        (["--server", "grpc://127.0.0.1:1", "--timeout-s", "1"], "no answer from the planning service"),
        (["--server", "http://x", "--model", "random:tiny"], "a service plans with its own model"),
        (["--server", "http://x", "--set", "cost.focus=1"], "only search.samples, search.iterations, search.horizon"),
        (["--server", "http://x", "--preset", "paper", "--set", "paper.samples=x"], "to whole numbers"),
        (["--server", "http://x", "--set", "search.samples=²"], "to whole numbers"),
        (["--server", "http://x", "--token-file", "/no/such"], "the token file /no/such cannot be read"),
    ],
)
def test_what_cannot_be_asked_of_a_service_is_refused(
    pictures: list[str], options: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["plan", *pictures, *options]) == 2
    printed = capsys.readouterr().err.strip()
    assert printed.startswith("error: ")
    assert complaint in printed
    assert "\n" not in printed


@pytest.mark.parametrize("wire", WIRES)
def test_asking_a_service_needs_no_torch(point: Listening, wire: str, pictures: list[str], tmp_path: Path) -> None:
    arguments = ["plan", *pictures, "--server", url_of(point, wire), "--out", str(tmp_path / "out")]
    code = f"import sys; from vjepa2_ac.cli import run; code = run({arguments!r}); print(code, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False"
