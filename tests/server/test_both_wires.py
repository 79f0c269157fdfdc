"""The same questions over REST and over gRPC have the same answers, and the same refusals in the same words."""

from __future__ import annotations

import base64
import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from planner.limits import LimitsConfig
from server.model import Served
from server.run import Listening
from tests.planner.worlds import HOME, PointWorld, located, moved, paint
from tests.server import pictures
from tests.server.conftest import WIRES, url_of
from tests.server.running import SlowWorld, locating_model, running, served, tiny_model
from vjepa2_ac.client import PlannerClient, PlannerError
from vjepa2_ac.client.calls import Call
from vjepa2_ac.client.rpc import refusal_of
from vjepa2_ac.pb import planning_pb2
from vjepa2_ac.wire import to_message
from vjepa2_ac.world_model import Rollout

GOAL = moved(0.04, 0.0, 0.02)
UNIQUE = {"plan_id", "session_id", "timings_ms", "expires_in_s"}


def ask(where: Listening, wire: str, name: str, fields: dict[str, Any]) -> Any:
    """The answer in the words of the wire, without what is different every time."""
    with PlannerClient(url_of(where, wire), retries=0) as client:
        answer = client._wire.send(Call(name, fields), 20.0)
    return without_unique(answer)


def without_unique(answer: Any) -> Any:
    if isinstance(answer, dict):
        return {key: without_unique(value) for key, value in answer.items() if key not in UNIQUE}
    if isinstance(answer, list):
        return [without_unique(each) for each in answer]
    return answer


def observation(**changes: Any) -> dict[str, Any]:
    return {"picture": pictures.of(HOME), "pose": list(HOME), "id": "observation-1", **changes}


def plan_fields(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"observation": observation(), "goal": {"pictures": [pictures.of(GOAL)]}}
    return {**fields, "options": {"seed": 3}, **changes}


MOVES = [[[0.02 * s, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]] * 2 for s in range(3)]
QUESTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "plan": ("plan", plan_fields()),
    "plan fast": ("plan", plan_fields(options={"preset": "fast", "seed": 1, "horizon": 2})),
    "plan paper": ("plan", plan_fields(options={"preset": "paper", "samples": 50, "iterations": 2})),
    "plan with a camera's turn": ("plan", plan_fields(options={"camera_turn": [0.0, 0.0, 0.3]})),
    "dry run": ("plan", plan_fields(options={"dry_run": True})),
    "second sub-goal": ("plan", plan_fields(goal={"pictures": [pictures.of(HOME), pictures.of(GOAL)]}, sub_goal=1)),
    "energy": ("energy", {**plan_fields(candidates=MOVES), "options": None}),
    "rollout": ("rollout", {"observation": observation(), "candidates": MOVES}),
    "rollout with latents": (
        "rollout",
        {**plan_fields(candidates=MOVES, with_latents=True), "options": None},
    ),
    "goal": ("register_goal", {"pictures": [pictures.of(GOAL), pictures.of(HOME)]}),
    "models": ("models", {}),
    "info": ("info", {}),
}


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("world", ["point", "tiny"])
def test_both_wires_give_the_same_answer(request: pytest.FixtureRequest, world: str, question: str) -> None:
    where: Listening = request.getfixturevalue(world)
    name, fields = QUESTIONS[question]
    fields = {key: value for key, value in fields.items() if value is not None}
    if world == "tiny" and "options" in fields:
        fields["options"] = {"samples": 8, "iterations": 2, **fields["options"]}
    rest, grpc = (ask(where, wire, name, fields) for wire in WIRES)
    assert rest == grpc
    assert rest


def test_what_a_cost_and_an_energy_are_is_told_apart(point: Listening) -> None:
    """Only energies are the published distance: most presets' costs count more."""
    conventions = ask(point, "rest", "info", {})["conventions"]
    assert "as published" in conventions["energy"]
    assert "mean absolute difference" not in conventions["cost"]


def test_what_has_no_limit_is_told_no_limit() -> None:
    endless = LimitsConfig(highest=(math.inf, 0.6, 0.9), oldest=math.inf)
    with running(limits=endless) as (_, where):
        rest, grpc = (ask(where, wire, "info", {})["limits"] for wire in ("rest", "grpc"))
    assert rest == grpc
    assert {"oldest_observation_s", "workspace_highest_x_m"}.isdisjoint(rest)
    assert (rest["step_m"], rest["workspace_highest_y_m"]) == (0.075, 0.6)


class DivergingWorld(PointWorld):
    """Imagines numbers that are none, where it is asked for each step."""

    def rollout(self, *arguments: Any, **more: Any) -> Rollout:
        rollout = super().rollout(*arguments, **more)
        return Rollout(rollout.latents_BSHND * math.nan, rollout.poses_BSH7, rollout.actions_BSHA)


@pytest.mark.parametrize("wire", WIRES)
def test_energies_that_are_no_numbers_are_not_told(wire: str) -> None:
    fields = {**plan_fields(candidates=MOVES), "options": None}
    with running(served(DivergingWorld())) as (_, where), pytest.raises(PlannerError, match="no numbers") as caught:
        ask(where, wire, "rollout", {key: value for key, value in fields.items() if value is not None})
    assert caught.value.code == "no_plan"


AGE_MS = 6e27  # beside which, in floating point, a wait of years is nothing
REFUSALS: dict[str, tuple[str, dict[str, Any], str, str | None, str]] = {
    "no pose": ("plan", plan_fields(observation=observation(pose=[])), "invalid_field", "observation.pose",
        "observation.pose: 0 numbers; expected 7 numbers: x y z roll pitch yaw gripper in metres, radians and "
        "0 open … 1 closed"),
    "degrees": ("plan", plan_fields(observation=observation(pose=[0.4, 0, 0.3, 180.0, 0, 0, 0])), "invalid_field",
        "observation.pose", "observation.pose: angles of 180, 0, 0; expected radians within ± 2π (are these degrees?)"),
    "millimetres": ("plan", plan_fields(observation=observation(pose=[400.0, 0, 300, 0, 0, 0, 0])), "invalid_field",
        "observation.pose", "observation.pose: a position of 400, 0, 300; expected metres (are these millimetres?)"),
    "outside": ("plan", plan_fields(observation=observation(pose=[1.5, 0, 0.3, 0, 0, 0, 0])), "invalid_field",
        "observation.pose", "observation.pose: x = 1.5 m is outside of the workspace; expected 0.1 … 1 m, its 0.1 m of "
        "margin included"),
    "gripper": ("plan", plan_fields(observation=observation(pose=[0.4, 0, 0.3, 0, 0, 0, 85.0])), "invalid_field",
        "observation.pose", "observation.pose: gripper 85; expected a closedness from 0 open to 1 closed"),
    "told to be elsewhere": ("plan", plan_fields(observation=observation(commanded=[0.4, 0.5, 0.6, 1.5, 0, 0, 0])),
        "invalid_field", "observation.commanded", "observation.commanded: a pose 58.3 cm and 1.50 rad from where the "
        "hand is; expected at most 0.075 m along an axis and 0.3 rad"),
    "no picture": ("plan", plan_fields(observation=observation(picture=b"")), "invalid_field", "observation.picture",
        "observation.picture: nothing came; expected a PNG or JPEG picture"),
    "blank": ("plan", plan_fields(goal={"pictures": [pictures.png(np.zeros((16, 16, 3), np.uint8))]}), "invalid_field",
        "goal.pictures[0]", "goal.pictures[0]: the picture is blank: its pixels deviate by 0.0 of 255; expected a "
        "scene"),
    "no goal": ("plan", plan_fields(goal={}), "invalid_field", "goal.pictures", "goal.pictures: no picture; expected a "
        "PNG or JPEG of what should be true, or several in order"),
    "a sub-goal of no goal": ("rollout", {"observation": observation(), "candidates": MOVES, "sub_goal": 0},
        "invalid_field", "goal.pictures", "goal.pictures: no picture; expected a PNG or JPEG of what should be true, "
        "or several in order"),
    "seventeen goals": ("plan", plan_fields(goal={"pictures": [pictures.of(GOAL)] * 17}), "invalid_field",
        "goal.pictures", "goal.pictures: 17 of them; expected at most 16 items"),
    "long id": ("plan", plan_fields(observation=observation(id="x" * 129)), "invalid_field", "observation.id",
        "observation.id: 129 of them; expected at most 128 characters"),
    "unknown goal": ("plan", plan_fields(goal={"id": "nope"}), "not_found", None,
        "there is no goal 'nope'; it may have expired"),
    "two goals": ("plan", plan_fields(goal={"id": "a", "pictures": [pictures.of(GOAL)]}), "invalid_field", "goal",
        "goal: pictures and an id; expected one of them"),
    "no such sub-goal": ("plan", plan_fields(sub_goal=4), "invalid_field", "sub_goal",
        "sub_goal: 4, of a goal with 1 pictures; expected 0 … 0"),
    "unknown preset": ("plan", plan_fields(options={"preset": "fats"}), "invalid_field", "options.preset",
        "options.preset: no preset 'fats'; did you mean 'fast'?; expected one of fast, balanced, keyframes, paper"),
    "no keyframes": ("plan", plan_fields(options={"preset": "keyframes"}), "invalid_field", "options.preset",
        "options.preset: keyframes, which point cannot find; expected another preset"),
    "too much": ("plan", plan_fields(options={"samples": 100_000}), "invalid_field", "options",
        "options: samples x iterations x horizon come to 300000 candidate-steps; expected at most 200000"),
    "too far ahead": ("plan", plan_fields(options={"horizon": 99}), "invalid_field", "options.horizon",
        "options.horizon: 99 steps; expected at most 16"),
    "too few samples": ("plan", plan_fields(options={"samples": 1}), "invalid_field", "options.samples",
        "options.samples: 1; expected greater than or equal to 3"),
    "old": ("plan", plan_fields(observation=observation(age_ms=AGE_MS)), "stale_observation", None,
        f"the observation is {AGE_MS / 1e3:.2f} s old; at most 1.00 s may be acted on"),
    "unequal candidates": ("energy", {"observation": observation(), "goal": {"pictures": [pictures.of(GOAL)]},
        "candidates": [[[0.0] * 7], [[0.0] * 7] * 2]}, "invalid_field", "candidates[1]",
        "candidates[1]: 2 actions; expected 1 actions, as in the first"),
    "short action": ("rollout", {"observation": observation(), "candidates": [[[0.0] * 6]]}, "invalid_field",
        "candidates[0][0]", "candidates[0][0]: 6 numbers; expected 7 numbers: Δx Δy Δz in metres, three angles in "
        "radians, Δgripper"),
    "large action": ("rollout", {"observation": observation(), "candidates": [[[0.0] * 7], [[2.0] + [0.0] * 6]]},
        "invalid_field", "candidates[1][0]", "candidates[1][0]: a move of 2, 0, 0; expected at most 1 m an axis"),
    "too many candidates": ("rollout", {"observation": observation(), "candidates": [[[0.0] * 6] * 16] * 40},
        "invalid_field", "candidates", "candidates: 640 actions in all; expected at most 512"),
    "no candidates": ("rollout", {"observation": observation(), "candidates": []}, "invalid_field", "candidates",
        "candidates: no candidates; expected at least one action sequence, [candidates][horizon][7]"),
    "unknown session": ("step", {"session_id": "gone", "observation": observation()}, "not_found", None,
        "there is no session 'gone'; it may have expired"),
}  # fmt: skip


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("case", REFUSALS)
def test_each_refusal_says_the_same_on_both_wires(point: Listening, wire: str, case: str) -> None:
    name, fields, code, field, words = REFUSALS[case]
    with pytest.raises(PlannerError) as caught:
        ask(point, wire, name, fields)
    refused = caught.value
    assert (refused.code, refused.field) == (code, field)
    assert refused.request_id
    assert str(refused) == words


@pytest.mark.parametrize("wire", WIRES)
def test_a_refusal_that_would_be_endless_is_cut_short(point: Listening, wire: str) -> None:
    picture = base64.b64encode(pictures.png(pictures.noise(128, 128))).decode()  # taken for the id of a goal
    with pytest.raises(PlannerError, match=r"^there is no goal 'iVBORw0KGgo.*…$") as caught:
        ask(point, wire, "plan", plan_fields(goal={"id": picture}))
    assert caught.value.code == "not_found"


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_refused(point: Listening, wire: str, bad: float) -> None:
    pose = [0.4, bad, 0.3, 0, 0, 0, 0]
    with (
        PlannerClient(url_of(point, wire), retries=0) as client,
        pytest.raises(PlannerError, match="y is not a finite"),
    ):
        client.plan(paint(HOME), pose, paint(GOAL))


@pytest.mark.parametrize("wire", WIRES)
def test_the_same_seed_gives_the_same_plan(tiny: Listening, wire: str) -> None:
    def plan(seed: int) -> Any:
        with PlannerClient(url_of(tiny, wire)) as client:
            frames = pictures.noise(seed=1), pictures.noise(seed=2)
            return client.plan(frames[0], HOME, frames[1], seed=seed, samples=8, iterations=2).actions

    np.testing.assert_array_equal(plan(1), plan(1))
    assert not np.array_equal(plan(1), plan(2))


@pytest.mark.parametrize("wire", WIRES)
def test_a_session_plans_by_the_options_it_was_opened_with(tiny: Listening, wire: str) -> None:
    options = {"seed": 3, "samples": 16, "camera_turn": [0.0, 0.0, 0.4]}
    with PlannerClient(url_of(tiny, wire)) as client:
        alone = client.plan(pictures.noise(seed=1), HOME, pictures.noise(seed=2), **options)
        with client.session(pictures.noise(seed=2), **options) as session:
            step = session.step(pictures.noise(seed=1), HOME)
    assert step.plan is not None
    np.testing.assert_array_equal(step.plan.actions, alone.actions)


@pytest.mark.parametrize("wire", WIRES)
def test_no_plan_goes_beyond_the_limits_that_the_operator_has_set(wire: str) -> None:
    limits = LimitsConfig(step=0.01, highest=(0.405, 0.6, 0.9))
    with (
        running(limits=limits) as (_, where),
        PlannerClient(url_of(where, wire)) as client,
        client.session(paint(GOAL)) as session,
    ):
        plans = [client.plan(paint(HOME), HOME, paint(GOAL), preset=name) for name in ("fast", "paper")]
        plans.append(session.step(paint(HOME), HOME).plan)
    for plan in plans:
        assert np.abs(plan.wanted[:, :3]).max() <= 0.01 + 1e-6  # nor is it searched for
        assert plan.targets[:, 0].max() <= 0.405 + 1e-9


def test_a_plan_goes_to_its_goal(client: PlannerClient) -> None:
    plan = client.plan(paint(HOME), HOME, paint(GOAL), details={"observation_id": "7"})
    np.testing.assert_allclose(plan.targets[-1][:3], GOAL[:3], atol=0.01)
    np.testing.assert_allclose(plan.actions[0][:3], (0.04, 0.0, 0.02), atol=0.01)
    assert plan.observation_id == "7"
    assert plan.cost < plan.idle_cost
    assert plan.stop_reason in ("converged", "iterations")
    assert plan.dt_s == 0.25
    assert plan.timings_ms["total"] >= plan.timings_ms["search"] > 0


def test_plans_stay_in_the_workspace_and_say_what_was_clipped(client: PlannerClient) -> None:
    at_the_edge = moved(0.49, 0.0, 0.0)
    plan = client.plan(paint(at_the_edge), at_the_edge, paint(moved(0.54, 0.0, 0.0)))
    assert plan.targets[-1][0] <= 0.9 + 1e-9
    assert {clipping["rule"] for clipping in plan.clipped} == {"workspace"}
    assert any("clipped" in warning for warning in plan.warnings)


def test_a_dry_run_stands_still(client: PlannerClient) -> None:
    plan = client.plan(paint(HOME), HOME, paint(GOAL), dry_run=True)
    assert not plan.actions.any()
    assert plan.wanted.any()


def test_a_deadline_gives_the_best_so_far(client: PlannerClient) -> None:
    plan = client.plan(paint(HOME), HOME, paint(GOAL), preset="paper", samples=200, iterations=1000, deadline_ms=300)
    assert plan.stop_reason == "deadline"
    assert 0 < plan.iterations < 1000
    assert plan.timings_ms["total"] < 3000  # this machine may be busy


def test_a_deadline_that_cannot_be_met_is_said_so(client: PlannerClient) -> None:
    with pytest.raises(PlannerError, match="not one iteration was finished") as caught:
        client.plan(paint(HOME), HOME, paint(GOAL), deadline_ms=0.001)
    assert caught.value.code == "deadline_exceeded"


def test_a_budget_that_no_search_keeps_is_warned_of(client: PlannerClient) -> None:
    wanted = "even the smallest search is expected to take"
    plan = client.plan(paint(HOME), HOME, paint(GOAL), budget_ms=1e-3)
    assert any(warning.startswith(wanted) for warning in plan.warnings)
    with client.session(paint(GOAL), budget_ms=1e-3) as session:
        step = session.step(paint(HOME), HOME)
        assert step.plan is not None
        assert any(warning.startswith(wanted) for warning in step.plan.warnings)
    assert not any(warning.startswith(wanted) for warning in client.plan(paint(HOME), HOME, paint(GOAL)).warnings)


def test_a_budget_chooses_the_size_of_the_search(client: PlannerClient) -> None:
    small, large = (client.plan(paint(HOME), HOME, paint(GOAL), budget_ms=ms).evaluations for ms in (2, 500))
    assert small < large


def test_a_session_forgets_a_plan_that_was_not_followed(client: PlannerClient) -> None:
    with client.session(paint(moved(0.0, 0.0, 0.0, gripper=1.0))) as session:
        closing = session.step(paint(HOME), HOME).plan
        assert closing is not None
        assert closing.targets[0][6] > 0.5
        away = moved(0.0, 0.2, 0.0)  # somebody moved the hand, farther than a plan may go, and it is open
        follows = session.step(paint(away), away, details={"commanded": closing.targets[0]}).plan
        stays = session.step(paint(away), away, details={"commanded": HOME}).plan
        assert follows is not None
        assert stays is not None
        assert (follows.targets[0][6] > 0.5, stays.targets[0][6] > 0.5) == (True, False)


def test_a_session_passes_its_sub_goals(client: PlannerClient) -> None:
    goals = [moved(0.05, 0.0, 0.0), moved(0.05, 0.05, 0.0)]
    pose = np.array(HOME)
    with client.session([paint(goal) for goal in goals], seed=1) as session:
        passed = []
        for _ in range(40):
            step = session.step(paint(pose), pose)
            passed += [each["sub_goal"] for each in step.passed]
            if step.plan is None:
                break
            pose = step.plan.targets[0]
        assert step.status == session.state().status == "done"
        assert passed == [0, 1]
        np.testing.assert_allclose(pose[:3], goals[-1][:3], atol=0.01)
        assert session.step(paint(pose), pose).status == "done"
        name = session.id
    with pytest.raises(PlannerError, match="no session"):
        client._ask("get_session", None, {"session_id": name}, dict)


@pytest.mark.parametrize("wire", WIRES)
def test_a_picture_that_is_long_on_its_way_has_aged(wire: str) -> None:
    with running(limits=LimitsConfig(oldest=1.0)) as (_, where):
        for fields, code in (
            (plan_fields(observation=observation(age_ms=0.0)), "stale_observation"),
            (plan_fields(deadline_ms=1000.0), "deadline_exceeded"),
        ):
            assert refusal_after(0.0, where, wire, fields) is None
            assert refusal_after(1.5, where, wire, fields) == code


def refusal_after(pause_s: float, where: Listening, wire: str, fields: dict[str, Any]) -> str | None:
    """The code by which a request is refused whose body comes so long after its head; None where it is answered."""

    def late(body: bytes) -> Iterator[bytes]:
        time.sleep(pause_s)
        yield body

    if wire == "rest":
        body = json.dumps(fields, default=lambda data: base64.b64encode(data).decode()).encode()
        answer = httpx.post(where.url + "/v1/plan", content=late(body), timeout=20)
        return None if answer.is_success else str(answer.json()["code"])
    message = to_message(fields, planning_pb2.PlanRequest).SerializeToString()
    with grpc.insecure_channel(where.grpc) as channel:
        try:
            channel.stream_unary("/vjepa2_ac.v1.Planning/Plan")(late(message), timeout=20)
        except grpc.RpcError as error:
            return refusal_of(error).code
    return None


@pytest.mark.parametrize("wire", WIRES)
def test_no_plan_comes_of_a_session_that_was_closed_meanwhile(wire: str) -> None:
    def close() -> None:
        world.scoring.wait(20)
        session.close()
        world.gate.set()

    world = SlowWorld()
    with running(served(world)) as (_, where), PlannerClient(url_of(where, wire), retries=0) as client:
        session = client.session(paint(GOAL))
        world.gate.clear()
        world.scoring.clear()  # which getting ready has set
        threading.Thread(target=close).start()
        with pytest.raises(PlannerError) as caught:
            session.step(paint(HOME), HOME)
    assert caught.value.code == "not_found"


def test_a_registered_goal_is_one_however_often_it_is_registered(client: PlannerClient) -> None:
    goals: Callable[[], list[str]] = lambda: [goal.goal_id for goal in client.goals()]  # noqa: E731
    one, two = client.register_goal(paint(GOAL)), client.register_goal(paint(GOAL))
    assert one.goal_id == two.goal_id
    assert goals().count(one.goal_id) == 1
    by_id = client.plan(paint(HOME), HOME, one, seed=5)
    by_picture = client.plan(paint(HOME), HOME, paint(GOAL), seed=5)
    np.testing.assert_array_equal(by_id.actions, by_picture.actions)
    client.delete_goal(one)
    assert one.goal_id not in goals()


def test_energies_are_lowest_for_the_true_move(client: PlannerClient) -> None:
    true = np.zeros((1, 1, 7))
    true[0, 0, :3] = GOAL[:3] - np.array(HOME[:3])
    energies = client.energy(paint(HOME), HOME, paint(GOAL), np.concatenate((true, -true, 0 * true)))
    assert energies.argmin() == 0
    assert energies[0] < 0.01


def test_rollouts_follow_the_actions(client: PlannerClient) -> None:
    rollout = client.rollout(paint(HOME), HOME, MOVES, goal=paint(GOAL), with_latents=True)
    np.testing.assert_allclose(rollout.poses[2, :, 0], [HOME[0] + 0.04, HOME[0] + 0.08], atol=1e-4)
    assert rollout.energies is not None
    assert rollout.energies.shape == (3, 2)
    assert rollout.latents is not None
    assert rollout.latents.shape == (3, 2, 16, 7)


def test_both_wires_say_how_surely_the_goal_is_located_where_the_model_does() -> None:
    seen, goal = pictures.noise(32, 32, 1), pictures.noise(32, 32, 2)
    estimates = []
    for opener in (locating_model, tiny_model):
        with running(opener) as (_, where):
            for wire in WIRES:
                with PlannerClient(url_of(where, wire), retries=0) as client:
                    signs = client.plan(seen, HOME, goal, seed=3).confidence
                    estimates.append((signs.goal_uncertainty, signs.cycle_error))
    assert estimates[0] == estimates[1]
    assert min(estimates[0]) > 0.001  # [m]
    assert estimates[2:] == [(None, None), (None, None)]


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("cycle_error", [0.02, 0.31])
def test_both_wires_tell_of_a_view_that_the_model_does_not_know(wire: str, cycle_error: float) -> None:
    world = PointWorld(located_B4=located(GOAL), cycle_error=cycle_error)
    opener = running(lambda: Served(world=world, name="point", version="1"))
    with opener as (_, where), PlannerClient(url_of(where, wire), retries=0) as client:
        plan = client.plan(paint(HOME), HOME, paint(GOAL))
    assert plan.confidence.cycle_error == pytest.approx(cycle_error)
    assert plan.confidence.view_unfamiliar == (cycle_error > 0.03)
    assert ["does not know such a view" in warning for warning in plan.warnings] == [True] * (cycle_error > 0.03)
