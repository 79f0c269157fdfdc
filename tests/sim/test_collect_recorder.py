from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from sim import workspace
from sim.collect import KINDS, CollectConfig, started_at
from sim.collect_recorder import BRANCH_STEPS, STEPS, CellRecorder
from sim.control import LIMIT, Clipped, HandController
from sim.episode import Cell
from sim.scene import Scene
from sim.variation import APPEARANCE, Draw, Variation, draw
from vjepa2_ac.data.writer import Recording
from vjepa2_ac.poses import pose_differences, rotation_matrix

SIZE = 32


@pytest.fixture(scope="module")
def recorder() -> Iterator[CellRecorder]:
    recorder = CellRecorder(CollectConfig(size=SIZE))
    yield recorder
    recorder.renderer.close()


@pytest.fixture(scope="module")
def job(recorder: CellRecorder) -> list[Recording]:
    return list(recorder(3))


def test_a_job_is_its_branches_and_then_one_long_episode(job: list[Recording]) -> None:
    assert [len(recording) for recording in job] == 4 * [BRANCH_STEPS + 1] + [STEPS + 1]
    assert [recording.started for recording in job] == [started_at(3, part) for part in (1, 2, 3, 4, 0)]
    assert [recording.facts.get("branch") for recording in job] == ["3-0", "3-0", "3-1", "3-1", None]


def test_a_pair_leaves_one_state_opening_and_closing(job: list[Recording]) -> None:
    for opens, closes in (job[0:2], job[2:4]):
        np.testing.assert_array_equal(np.asarray(opens.poses_N7)[0], np.asarray(closes.poses_N7)[0])
        np.testing.assert_array_equal(opens.cameras[0].frames_NHWC[0], closes.cameras[0].frames_NHWC[0])
        np.testing.assert_array_equal(opens.truth["object_position"][0], closes.truth["object_position"][0])
        assert np.asarray(opens.poses_N7)[-1, 6] < 0.05
        assert np.asarray(closes.poses_N7)[-1, 6] > np.asarray(opens.poses_N7)[-1, 6] + 0.2


def test_a_branch_begins_where_the_long_episode_was(job: list[Recording]) -> None:
    for branch in job[:4]:
        left_at = branch.facts["left_at"]
        np.testing.assert_array_equal(np.asarray(branch.poses_N7)[0], np.asarray(job[-1].poses_N7)[left_at])
        here, there = branch.truth["object_position"], job[-1].truth["object_position"]
        np.testing.assert_array_equal(here[0], there[left_at])


def test_a_pair_looks_like_no_other(job: list[Recording]) -> None:
    draws = [each.facts["variation"] for each in job]
    assert draws[0] == draws[1] != draws[2] == draws[3] != draws[4]
    things = [{name: value for name, value in each.items() if name not in APPEARANCE} for each in draws]
    assert all(each == things[-1] for each in things)
    assert draws[-1] == draw(Variation(), 3).as_dict()


@pytest.mark.parametrize("steps", [8, STEPS])
def test_repaints_are_stretches_of_the_long_episode_with_an_appearance_of_their_own(
    job: list[Recording], steps: int
) -> None:
    recorder = CellRecorder(CollectConfig(size=SIZE, repaints=3, repaint_steps=steps))
    *short, long = recorder(3)
    recorder.renderer.close()
    repaints = short[4:]
    assert [recording.started for recording in repaints] == [started_at(3, part) for part in (5, 6, 7)]
    for again in repaints:
        stretch = slice(again.facts["left_at"], again.facts["left_at"] + steps + 1)
        assert (again.facts["kind"], len(again), again.task) == ("repaint", steps + 1, long.task)
        for name in ("poses_N7", "joints_N7"):
            np.testing.assert_array_equal(np.asarray(getattr(again, name)), np.asarray(getattr(long, name))[stretch])
        np.testing.assert_array_equal(
            np.asarray(again.commands_N7)[:-1], np.asarray(long.commands_N7)[stretch][:-1]
        )  # nothing follows the last
        for name, rows in again.truth.items():
            np.testing.assert_array_equal(rows, long.truth[name][stretch])
        assert (again.cameras[0].frames_NHWC != long.cameras[0].frames_NHWC[stretch]).any()
    draws = [recording.facts["variation"] for recording in [*short, long]]
    assert all(each not in draws[:number] for number, each in enumerate(draws) if number > 3)
    things = [{name: value for name, value in each.items() if name not in APPEARANCE} for each in draws]
    assert all(each == things[-1] for each in things)
    for alone, beside in zip(job, [*short[:4], long], strict=True):  # nothing else changes
        np.testing.assert_array_equal(alone.cameras[0].frames_NHWC, beside.cameras[0].frames_NHWC)


def test_repaints_show_the_last_moment_as_well_as_the_first() -> None:
    recorder = CellRecorder(CollectConfig(size=16, branches=0, repaints=6, repaint_steps=STEPS - 1, long=False))
    begun = [again.facts["left_at"] for again in recorder(3)]
    recorder.renderer.close()
    assert set(begun) == {0, 1}


@pytest.mark.parametrize("seed", [2, 3])
def test_the_expert_withdraws_from_what_it_has_placed(seed: int) -> None:
    recorder = CellRecorder(CollectConfig(size=16, mix=(("expert", 1.0),), branches=0))
    (long,) = recorder(seed)
    recorder.renderer.close()
    assert (long.facts["task"], long.success) == ("pick_and_place", True)
    poses_N7, objects_N3 = np.asarray(long.poses_N7), long.truth["object_position"]
    top = long.facts["variation"]["size"][2] / 2
    is_placed_N = np.linalg.norm(objects_N3 - long.truth["target_position"], axis=1) < 0.04
    is_over_N = np.linalg.norm((poses_N7[:, :3] - objects_N3)[:, :2], axis=1) < 0.02
    is_high_N = poses_N7[:, 2] > objects_N3[:, 2] + top + 0.05
    assert (is_placed_N & is_over_N & is_high_N & (poses_N7[:, 6] < 0.1)).any()


@pytest.mark.parametrize(("steps", "success"), [(STEPS, False), (8, True)])
def test_a_whole_repaint_fails_with_its_episode_and_a_part_has_nothing_to_fail(steps: int, success: bool) -> None:
    config = CollectConfig(size=16, mix=(("noisy", 1.0),), branches=0, repaints=1, repaint_steps=steps)
    recorder = CellRecorder(config)
    repaint, long = recorder(8)
    recorder.renderer.close()
    assert (long.success, repaint.success, repaint.facts["success"]) == (False, success, success)


def test_short_episodes_are_the_same_where_the_long_one_is_only_played() -> None:
    recorder = CellRecorder(CollectConfig(size=SIZE, branches=1, repaints=2))
    *short, _ = recorder(3)
    recorder.config = replace(recorder.config, long=False)
    alone = list(recorder(3))
    recorder.renderer.close()
    assert [recording.facts for recording in alone] == [recording.facts for recording in short]
    for one, other in zip(alone, short, strict=True):
        np.testing.assert_array_equal(np.asarray(one.poses_N7), np.asarray(other.poses_N7))
        np.testing.assert_array_equal(one.cameras[0].frames_NHWC, other.cameras[0].frames_NHWC)


def test_the_same_seed_gives_the_same_episode(recorder: CellRecorder, job: list[Recording]) -> None:
    list(recorder(4))
    for again, before in zip(recorder(3), job, strict=True):
        np.testing.assert_array_equal(np.asarray(again.poses_N7), np.asarray(before.poses_N7))
        np.testing.assert_array_equal(again.cameras[0].frames_NHWC, before.cameras[0].frames_NHWC)
        assert again.facts == before.facts


def test_commands_and_what_came_of_them_agree(job: list[Recording]) -> None:
    long = job[-1]
    poses_N7, commands_N7 = np.asarray(long.poses_N7), np.asarray(long.commands_N7)
    away_N3 = np.abs(commands_N7[:-1, :3] - poses_N7[1:, :3])
    assert np.median(away_N3) < 0.003


def test_every_row_is_what_was_done_and_what_was_the_case(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = CellRecorder(CollectConfig(size=16, mix=(("near", 1.0),), branches=0, split="shift"))
    actions: list[np.ndarray] = []
    carry_out = HandController.step

    def noted(hand: HandController, action_7: np.ndarray) -> Clipped:
        actions.append(action_7)
        return carry_out(hand, action_7)

    monkeypatch.setattr(HandController, "step", noted)
    (long,) = recorder(1)
    monkeypatch.undo()
    recorder.renderer.close()
    assert long.facts["variation"] == draw(Variation(split="shift"), 1).as_dict()
    cell = Cell(Scene())  # another one, which has seen nothing else
    cell.dress(Draw.from_dict(long.facts["variation"]))
    poses_N7, commands_N7 = np.asarray(long.poses_N7), np.asarray(long.commands_N7)
    joints_N7, joint_commands_N7 = np.asarray(long.joints_N7), np.asarray(long.joint_commands_N7)
    for row in range(STEPS + 1):
        truth = cell.truth()
        np.testing.assert_array_equal(poses_N7[row], cell.controller.measured_pose())
        np.testing.assert_array_equal(joints_N7[row], cell.scene.data.qpos[cell.scene.arm_qpos])
        for name, is_so in (
            ("object_position", truth.object),
            ("object_quaternion", truth.object_quaternion),
            ("target_position", truth.target),
            ("finger_forces", (truth.left_force, truth.right_force)),
            ("is_held", truth.is_held),
            ("is_touched", truth.is_touched),
        ):
            np.testing.assert_array_equal(long.truth[name][row], is_so)
        if row < STEPS:
            cell.controller.step(actions[row])
            sent = cell.controller.state()
            np.testing.assert_array_equal(commands_N7[row, :3], sent["position"])
            np.testing.assert_allclose(rotation_matrix(commands_N7[row, 3:6]), sent["rotation"], atol=1e-12)
            np.testing.assert_array_equal(commands_N7[row, 6], sent["closedness"])
            np.testing.assert_array_equal(joint_commands_N7[row], sent["joints"])
    np.testing.assert_array_equal(commands_N7[-1], commands_N7[-2])  # nothing follows the last
    np.testing.assert_array_equal(joint_commands_N7[-1], joint_commands_N7[-2])
    assert np.ptp(commands_N7[:, 5]) > 0.05  # or little of this says anything
    assert len({*long.truth["is_held"]}) == len({*long.truth["is_touched"]}) == 2
    assert np.ptp(long.truth["finger_forces"][:, 0] - long.truth["finger_forces"][:, 1]) > 0.1


def test_a_task_says_what_is_put_where() -> None:
    recorder = CellRecorder(CollectConfig(size=16, mix=(("expert", 1.0),), branches=0))
    said = {recorded.task for seed in (0, 2) for recorded in recorder(seed)}
    recorder.renderer.close()
    assert said == {"put the cup on the pad", "put the box into the bowl"}


def test_every_camera_asked_for_is_recorded_and_only_the_wrist_moves() -> None:
    recorder = CellRecorder(CollectConfig(size=SIZE, branches=0, cameras=("left", "right", "wrist")))
    (long,) = recorder(5)
    recorder.renderer.close()
    assert [camera.role for camera in long.cameras] == ["left", "right", "wrist"]
    moved = [np.ptp(np.asarray(camera.extrinsics_N6), axis=0).max() for camera in long.cameras]
    assert moved[0] == moved[1] == 0.0
    assert moved[2] > 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_stays_in_the_workspace_and_moves_as_a_planner_may(kind: str) -> None:
    recorder = CellRecorder(CollectConfig(size=SIZE, mix=((kind, 1.0),), branches=0))
    (long,) = recorder(11)
    recorder.renderer.close()
    poses_N7 = np.asarray(long.poses_N7)
    assert long.facts["kind"] == kind
    assert (poses_N7[:, :3] > workspace.LOW - 0.02).all()
    assert (poses_N7[:, :3] < workspace.HIGH + 0.02).all()
    slack = np.array([0.03] * 6 + [0.15])  # servos catch up; the fingers by as much as the command may lead them
    assert (np.abs(pose_differences(poses_N7)) <= LIMIT + slack).all()
    assert np.ptp(poses_N7[:, :3], axis=0).max() > 0.05
    assert np.ptp(poses_N7[:, 6]) > 0.3
