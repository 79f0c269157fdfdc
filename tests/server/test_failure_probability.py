"""Where the operator gives a fitted failure model, plans by its cost say their chance of failure, on every wire."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from websockets.sync.client import connect

from planner.failure_model import fitted_for, signs
from planner.presets import PRESETS, preset
from server.messages import PlanOptions
from server.model import open_model
from server.options import failure_models, planner_config
from server.run import Listening
from server.settings import Settings
from tests.checkpoints.samples import release
from tests.planner.failures import ON_GAIN, file_of
from tests.planner.worlds import HOME, moved, paint
from tests.server import pictures
from tests.server.conftest import WIRES, url_of
from tests.server.running import point_world, running
from vjepa2_ac import cli
from vjepa2_ac.client import AsyncPlannerClient, Plan, PlannerClient
from vjepa2_ac.client.calls import Call
from vjepa2_ac.config import to_dict
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.model_version import fingerprint
from vjepa2_ac.pb import planning_pb2 as pb
from vjepa2_ac.pb import planning_pb2_grpc
from vjepa2_ac.wire import to_message

GOAL = moved(0.04, 0.0, 0.02)
OBSERVATION = {"picture": pictures.of(HOME), "pose": list(HOME)}


@pytest.fixture(scope="module")
def fitted_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    """A service over the point world that was given a failure model."""
    path = file_of(tmp_path_factory.mktemp("confidence"), ON_GAIN)
    with running(model="random:point", confidence=path) as (_, where):
        yield where


def expected(plan: Plan) -> float | None:
    """The chance that the model gives to the signs that came with the plan."""
    return ON_GAIN.probability(signs(asdict(plan.confidence), plan.cost, plan.idle_cost))


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("preset", ["fast", "balanced"])
def test_a_plan_says_its_chance_of_failure(fitted_service: Listening, wire: str, preset: str) -> None:
    with PlannerClient(url_of(fitted_service, wire), retries=0) as client:
        near, there = (client.plan(paint(HOME), HOME, paint(goal), preset=preset, seed=3) for goal in (GOAL, HOME))
    for plan in (near, there):
        assert plan.failure_probability == expected(plan)
    assert near.failure_probability is not None
    assert there.failure_probability is not None
    assert near.failure_probability < 0.3 < there.failure_probability


@pytest.mark.parametrize("wire", WIRES)
def test_the_plan_of_a_preset_with_another_cost_says_nothing(fitted_service: Listening, wire: str) -> None:
    fields: dict[str, Any] = {"observation": OBSERVATION, "goal": {"pictures": [pictures.of(GOAL)]}}
    with PlannerClient(url_of(fitted_service, wire), retries=0) as client:
        assert client.plan(paint(HOME), HOME, paint(GOAL), preset="paper").failure_probability is None
        asked = Call("plan", fields | {"options": {"preset": "paper"}})
        assert "failure_probability" not in client._wire.send(asked, 20.0)


def test_both_wires_say_the_same(fitted_service: Listening) -> None:
    fields = {"observation": OBSERVATION, "goal": {"pictures": [pictures.of(GOAL)]}, "options": {"seed": 3}}
    chances = []
    for wire in WIRES:
        with PlannerClient(url_of(fitted_service, wire), retries=0) as client:
            chances.append(client._wire.send(Call("plan", fields), 20.0)["failure_probability"])
    assert chances[0] == chances[1]
    assert 0 < chances[0] < 0.3


@pytest.mark.parametrize("wire", WIRES)
def test_steps_and_asynchronous_callers_are_told_too(fitted_service: Listening, wire: str) -> None:
    async def plan_and_step(url: str) -> tuple[Plan, Plan | None]:
        async with AsyncPlannerClient(url) as client:
            plan = await client.plan(paint(HOME), HOME, paint(GOAL))
            async with await client.session(paint(GOAL)) as session:
                return plan, (await session.step(paint(HOME), HOME)).plan

    with PlannerClient(url_of(fitted_service, wire), retries=0) as client, client.session(paint(GOAL)) as session:
        step = session.step(paint(HOME), HOME)
    for plan in (step.plan, *asyncio.run(plan_and_step(url_of(fitted_service, wire)))):
        assert plan is not None
        assert plan.failure_probability == expected(plan) is not None


def test_streams_of_both_wires_tell_it(fitted_service: Listening) -> None:
    with PlannerClient(fitted_service.url) as client, client.session(paint(GOAL)) as session:
        address = fitted_service.url.replace("http", "ws") + f"/v1/sessions/{session.id}/stream"
        with connect(address) as line:
            line.send(
                json.dumps(
                    {"observation": {**OBSERVATION, "picture": base64.b64encode(OBSERVATION["picture"]).decode()}}
                )
            )
            by_socket = json.loads(line.recv(10))["plan"]["failure_probability"]
    opening = to_message({"open": {"goal": {"pictures": [pictures.of(GOAL)]}}}, pb.PlanStreamRequest)
    step = to_message({"step": {"observation": OBSERVATION}}, pb.PlanStreamRequest)
    with grpc.insecure_channel(fitted_service.grpc) as channel:
        *_, last = planning_pb2_grpc.PlanningStub(channel).PlanStream(iter([opening, step]), timeout=20)
    assert last.step.plan.HasField("failure_probability")
    assert by_socket == last.step.plan.failure_probability


@pytest.mark.parametrize("wire", WIRES)
def test_without_a_model_nothing_is_said(point: Listening, wire: str) -> None:
    fields: dict[str, Any] = {"observation": OBSERVATION, "goal": {"pictures": [pictures.of(GOAL)]}}
    with PlannerClient(url_of(point, wire), retries=0) as client:
        assert client.plan(paint(HOME), HOME, paint(GOAL)).failure_probability is None
        assert "failure_probability" not in client._wire.send(Call("plan", fields), 20.0)


def test_a_file_is_used_for_the_presets_whose_cost_it_was_fitted_for(tmp_path: Path) -> None:
    folder, settings = release(tmp_path / "model"), Settings()
    for cost, fitting in (("fast", {"fast", "balanced"}), ("paper", {"paper"})):
        path = file_of(tmp_path, replace(ON_GAIN, weights=fingerprint(str(folder)), cost=to_dict(preset(cost).cost)))
        found = failure_models(path, str(folder))
        configs = {name: planner_config(PlanOptions(preset=name), settings, failures=found) for name in PRESETS}
        assert {name for name, config in configs.items() if config.confidence.failure == found[0]} == fitting
        assert {name for name, config in configs.items() if config.confidence.failure is None} == {*PRESETS} - fitting


def test_a_file_may_speak_of_the_costs_of_several_presets(tmp_path: Path) -> None:
    both = [replace(ON_GAIN, cost=to_dict(preset(name).cost)) for name in ("balanced", "keyframes")]
    a_lab_s_own = replace(ON_GAIN, cost={**ON_GAIN.cost, "pools": [2]})
    found = failure_models(file_of(tmp_path, a_lab_s_own, *both), "random:tiny")
    configs = {name: planner_config(PlanOptions(preset=name), Settings(), failures=found) for name in PRESETS}
    by_preset = {name: config.confidence.failure for name, config in configs.items()}
    assert by_preset == {"fast": both[0], "balanced": both[0], "keyframes": both[1], "paper": None}


def test_what_an_operator_says_goes_before_what_lies_among_a_models_files(tmp_path: Path) -> None:
    by_paper = replace(ON_GAIN, cost=to_dict(preset("paper").cost))
    served = replace(point_world(), failures=(replace(ON_GAIN, intercept=3.0), by_paper))
    settings = {"model": "random:point", "confidence": file_of(tmp_path, ON_GAIN)}
    with running(lambda: served, **settings) as (_, where), PlannerClient(where.url) as client:
        for name in ("fast", "paper"):
            plan = client.plan(paint(HOME), HOME, paint(GOAL), preset=name)
            assert plan.failure_probability == expected(plan) is not None


def test_a_file_for_a_cost_that_no_preset_has_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = file_of(tmp_path, replace(ON_GAIN, cost={**ON_GAIN.cost, "pools": [2]}))
    printed = []
    for command in (["serve", "--port", "0", "--no-grpc"], ["evaluate", "--out", str(tmp_path / "out")]):
        assert cli.run([*command, "--model", "random:tiny", "--confidence", str(path)]) == 2
        printed.append(capsys.readouterr().err)
        assert printed[-1].startswith(f"error: {path} was fitted ")
        assert printed[-1].endswith("; its probabilities would mean nothing\n")
        assert printed[-1].count("\n") == 1
    each = "; ".join(f"{name}: with cost.pools = [2], not []" for name in PRESETS)
    assert f"was fitted for the cost of no preset ({each});" in printed[0]


def test_a_file_for_other_weights_is_refused_as_evaluate_refuses_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = file_of(tmp_path, replace(ON_GAIN, weights="abc"))
    printed = []
    for command in (["serve", "--port", "0", "--no-grpc"], ["evaluate", "--out", str(tmp_path / "out")]):
        assert cli.run([*command, "--model", "random:tiny", "--confidence", str(path)]) == 2
        printed.append(capsys.readouterr().err)
    assert printed[0] == printed[1]
    assert printed[0].startswith(f"error: {path} was fitted ")
    assert printed[0].count("\n") == 1


def test_what_is_no_such_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["serve", "--model", "random:tiny", "--confidence", str(tmp_path / "none.json")]) == 2
    assert "none.json" in capsys.readouterr().err


def test_what_was_learned_about_a_model_is_read_from_among_its_files(tmp_path: Path) -> None:
    folder = release(tmp_path / "model")
    assert open_model(str(folder)).failures == ()
    learned = replace(ON_GAIN, weights=fingerprint(str(folder)))
    file_of(folder, learned)
    assert open_model(str(folder)).failures == (learned,)
    file_of(folder, replace(ON_GAIN, weights="others"))
    with pytest.raises(ConfigError, match="fitted to other weights"):
        open_model(str(folder))


def test_the_shipped_model_comes_with_what_was_learned_about_it() -> None:
    failures = open_model("default").failures
    for name, episodes in (("fast", 600), ("balanced", 600), ("keyframes", 100)):
        fitted = fitted_for(to_dict(preset(name).cost), failures)
        assert fitted is not None
        assert fitted.episodes >= episodes
    assert fitted_for(to_dict(preset("paper").cost), failures) is None
