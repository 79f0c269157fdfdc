from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from sim.arm import franka_folder
from sim.control import LIMIT
from sim.env import FrankaEnv
from sim.envs import IDS
from sim.episode import UnsolvableError
from sim.variation import Draw
from vjepa2_ac.errors import ConfigError, InputError

ROOT = Path(__file__).parents[2]
PICK = "sim.envs:VJEPA2AC/FrankaPickAndPlace-v0"


@pytest.fixture(scope="module")
def env() -> FrankaEnv:
    return FrankaEnv("pick_and_place", split="test", frame_size=64)


def some_actions(count: int) -> list[Any]:
    rng = np.random.default_rng(7)
    return [rng.uniform(-LIMIT, LIMIT) for _ in range(count)]


def run(env: FrankaEnv, seed: int, steps: int = 4) -> list[Any]:
    """Every frame, pose and true object state of a few steps."""
    observation, info = env.reset(seed=seed)
    seen = [observation["frame"], observation["pose"], info["goal"], info["object_pose"]]
    for action in some_actions(steps):
        observation, _, _, _, info = env.step(action)
        seen += [observation["frame"], observation["pose"], info["object_pose"]]
    return seen


def equal(first: list[Any], second: list[Any]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", IDS.values())
def test_gymnasium_finds_no_fault_in_any_task(name: str) -> None:
    env = gymnasium.make(f"sim.envs:{name}", frame_size=32)
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


def test_render_shows_the_pretty_view_when_asked_for() -> None:
    env = FrankaEnv("reach", frame_size=np.int64(32), render_mode="rgb_array", render_size=64)
    env.reset(seed=0)
    picture = env.render()
    assert picture is not None
    assert picture.shape == (64, 64, 3)
    assert picture.std() > 10
    env.close()


def test_gymnasium_makes_it_from_any_folder_without_an_import(tmp_path: Path) -> None:
    code = f"import gymnasium as g; print(g.make({PICK!r}, frame_size=32).reset(seed=0)[0]['frame'].shape)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(32, 32, 3)", done.stderr


def test_the_same_seed_gives_the_same_bits(env: FrankaEnv) -> None:
    first = run(env, seed=3)
    run(env, seed=4)
    assert equal(first, run(env, seed=3))


def test_another_environment_gives_the_same_bits(env: FrankaEnv) -> None:
    other = FrankaEnv("pick_and_place", split="test", frame_size=64)
    assert equal(run(env, seed=5), run(other, seed=5))
    other.close()


def test_other_seeds_and_later_episodes_differ(env: FrankaEnv) -> None:
    first = run(env, seed=3)
    assert not equal(first, run(env, seed=4))
    env.reset(seed=3)
    first_draw = env.draw
    env.reset()
    assert env.draw != first_draw


def test_a_snapshot_is_the_whole_state(env: FrankaEnv) -> None:
    env.reset(seed=6)
    expert = env.expert()
    for _ in range(6):
        env.step(expert.act(env.truth()))
    branch = env.snapshot()
    here = env.restore(branch)

    def future() -> list[Any]:
        seen: list[Any] = []
        for action in some_actions(4):
            observation, _, _, _, info = env.step(action)
            seen += [observation["frame"], observation["pose"], info["object_pose"], info["steps"]]
        env.reset()
        return [*seen, env.draw.entropy]

    first = future()
    assert np.array_equal(env.restore(branch)["frame"], here["frame"])
    assert equal(first, future())


def test_a_snapshot_restores_in_another_environment(env: FrankaEnv) -> None:
    env.reset(seed=8)
    for action in some_actions(3):
        env.step(action)
    branch, other = env.snapshot(), FrankaEnv("pick_and_place", split="test", frame_size=64)
    here, there = env.restore(branch), other.restore(branch)
    assert np.array_equal(here["frame"], there["frame"])
    action = some_actions(1)[0]
    assert np.array_equal(env.step(action)[0]["frame"], other.step(action)[0]["frame"])
    other.close()


def test_an_environment_that_was_closed_leaves_the_pictures_of_others_alone(env: FrankaEnv) -> None:
    first = FrankaEnv("reach", split="test", frame_size=64)
    first.reset(seed=1)
    env.reset(seed=3)
    shown = env.picture()
    first.close()
    np.testing.assert_array_equal(env.picture(), shown)


def test_a_written_draw_builds_the_same_scene(env: FrankaEnv) -> None:
    observation, _ = env.reset(seed=9)
    written = env.draw.as_dict()
    for draw in (Draw.from_dict(written), written, json.loads(json.dumps(written))):
        again, _ = env.reset(seed=0, options={"draw": draw})
        assert np.array_equal(observation["frame"], again["frame"])


def test_options_that_say_nothing_are_refused_and_no_episode_goes_on_without_its_goal(
    env: FrankaEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    env.reset(seed=9)
    written = env.draw.as_dict()
    ball = {"shape": "ball", "xy": (0.36, 0.16), "yaw": 0.0, "size": 0.015, "rgb": (1.0, 0.0, 0.0)}
    for options, said in (
        ({"drow": written}, "no option 'drow'; there is 'draw'"),
        ({"draw": {name: value for name, value in written.items() if name != "wall"}}, "'wall' is missing"),
        ({"draw": written | {"weather": "fine"}}, "'weather' is missing or none"),
        ({"draw": written | {"distractors": [{"shape": "ball"}]}}, "distractor .* 'xy' is missing"),
        ({"draw": written | {"split": "held-out"}}, "there is no split 'held-out'"),
        ({"draw": written | {"table": "ebony"}}, "there is no table 'ebony'"),
        ({"draw": written | {"wall": "ivy"}}, "there is no wall 'ivy'"),
        ({"draw": written | {"target": "shelf"}}, "there is no target 'shelf'"),
        ({"draw": written | {"kind": "mug"}}, "there is no kind 'mug'"),
        ({"draw": written | {"kind": "cup", "size": [0.05, 0.05, 0.06]}}, r"no cup of size \(0\.05, 0\.05, 0\.06\)"),
        ({"draw": written | {"distractors": [ball | {"shape": "cone"}]}}, "there is no shape 'cone'"),
        ({"draw": written | {"distractors": [ball] * 4}}, "4 distractors; 3 at most"),
        ({"draw": written | {"distractors": None}}, "distractors are a list, got None"),
        ({"draw": written | {"distractors": ["ball"]}}, "distractor of a scene: 'ball'"),
        ({"draw": written | {"distractors": [ball | {"size": np.inf}]}}, "size is a finite number, got inf"),
        ({"draw": written | {"object_yaw": np.nan}}, "object_yaw is a finite number, got nan"),
        ({"draw": written | {"object_yaw": "0.2"}}, "object_yaw is a finite number, got '0.2'"),
        ({"draw": written | {"object_xy": [0.4]}}, "object_xy is 2 finite numbers"),
        ({"draw": written | {"target_rgb": None}}, "target_rgb is 3 finite numbers, got None"),
        ({"draw": written | {"kind": "box", "size": [-0.04, 0.04, 0.04]}}, "no box of size"),
        ({"draw": "scene.json"}, "no draw of a scene: 'scene.json'"),
    ):
        with pytest.raises(InputError, match=said):
            env.reset(options=options)
    env.reset(seed=9)
    monkeypatch.setattr("sim.episode.Expert.act", lambda *_: np.zeros(7))
    with pytest.raises(UnsolvableError, match="failed to pick and place"):
        env.reset(options={"draw": written})
    with pytest.raises(InputError, match="no episode is running"):
        env.step(np.zeros(7))


@pytest.mark.parametrize("action", [[[1.0, 2.0], [3.0]], "up", None, np.zeros((1, 7))])
def test_what_is_no_action_is_refused_in_a_sentence(env: FrankaEnv, action: Any) -> None:
    env.reset(seed=9)
    with pytest.raises(InputError, match="action"):
        env.step(action)


def test_observations_hold_nothing_but_pictures_and_pose() -> None:
    env = FrankaEnv("grasp", frame_size=(24, 40), views=("left", "right", "wrist"), goal_frames=False)
    observation, info = env.reset(seed=0)
    assert set(observation) == {"frame", "frame_right", "frame_wrist", "pose"}
    assert observation["frame_wrist"].shape == (24, 40, 3)
    assert "goal" not in info
    env.close()


def test_goals_are_pictures_of_what_the_expert_reached(env: FrankaEnv) -> None:
    _, info = env.reset(seed=1)
    assert info["goal"].shape == (4, 64, 64, 3)
    grasped, near, released, withdrawn = info["goal_poses"]
    assert grasped[6] > 0.25  # the fingers are around the object
    assert near[6] > 0.25
    assert released[6] < 0.02
    assert released[2] < near[2] < withdrawn[2]


def test_the_first_view_sees_the_goals() -> None:
    seen = {}
    for views in (("left",), ("right",), ("right", "left"), ()):
        env = FrankaEnv("reach", split="test", frame_size=32, views=views)
        seen[views] = env.reset(seed=1)[1]["goal"]
        env.close()
    assert np.array_equal(seen["right",], seen["right", "left"])
    assert not np.array_equal(seen["right",], seen["left",])
    assert np.array_equal(seen[()], seen["left",])


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_runs_in_vector_environments(mode: str) -> None:
    started = {"context": "spawn"} if mode == "async" else {}  # these tests have drawn already
    envs = gymnasium.make_vec(PICK, num_envs=2, vectorization_mode=mode, vector_kwargs=started, frame_size=32)
    observation, info = envs.reset(seed=[3, 4])
    assert observation["frame"].shape == (2, 32, 32, 3)
    assert info["goal"].shape == (2, 4, 32, 32, 3)
    observation, reward, _, _, info = envs.step(np.zeros((2, 7)))
    assert observation["pose"].shape == (2, 7)
    assert not reward.any()
    assert not info["success"].any()
    envs.close()


def test_async_environments_need_nothing_special_where_nothing_was_drawn_before() -> None:
    code = (
        f"import gymnasium as g; e = g.make_vec({PICK!r}, num_envs=2, vectorization_mode='async', frame_size=32); "
        "print(e.reset(seed=0)[0]['frame'].shape); e.close()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.strip() == "(2, 32, 32, 3)", done.stderr


def test_drawing_in_a_fork_of_a_process_that_drew_is_refused(env: FrankaEnv) -> None:
    env.reset(seed=0)
    child = os.fork()
    if child == 0:
        try:
            FrankaEnv("reach", frame_size=16).reset(seed=0)
        except InputError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_success_at_the_end_is_judged_when_the_episode_is_cut() -> None:
    env = FrankaEnv("reach", split="test", frame_size=16, views=(), goal_frames=False, max_steps=9)
    env.reset(seed=0)
    expert, infos = env.expert(), []
    for _ in range(9):
        _, _, terminated, truncated, info = env.step(expert.act(env.truth()))
        infos.append(info)
        assert not terminated
    assert truncated
    assert infos[-1]["success_any"]
    assert infos[-1]["success_end"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"task": "juggle"}, "pick_and_place"),
        ({"split": "exam"}, "train, test, shift"),
        ({"kind": "plate"}, "cup, box"),
        ({"factors": ("weather",)}, "camera"),
        ({"views": ("top",)}, "wrist"),
        ({"views": ("left", "left")}, "named twice: left, left"),
        ({"frame_size": 3}, "16 to 1280"),
        ({"frame_size": 256.0}, r"whole number of pixels a side, or two of them; got 256\.0"),
        ({"frame_size": (64, 64, 3)}, "whole number of pixels"),
        ({"render_size": 2000}, "16 to 1280"),
        ({"camera_yaw": float("nan")}, "number of degrees"),
        ({"max_steps": 0}, "at least one"),
        ({"render_mode": "human"}, "rgb_array"),
    ],
)
def test_a_wrong_setting_is_named_with_the_right_ones(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        FrankaEnv(**arguments)


def test_stepping_before_reset_is_refused() -> None:
    env = FrankaEnv(views=())
    with pytest.raises(InputError, match="reset"):
        env.step(np.zeros(7))


def test_a_robot_without_the_right_names_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "arm.xml"
    path.write_text('<mujoco><worldbody><body name="arm"><geom size="0.1"/></body></worldbody></mujoco>')
    with pytest.raises(InputError, match="robot:panda0_joint1"):
        FrankaEnv(robot_xml=path)
    with pytest.raises(InputError, match="no robot description"):
        FrankaEnv(robot_xml=tmp_path / "nothing.xml")


def test_a_robot_whose_meshes_are_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "arm.xml"
    path.write_text(f'<mujoco><include file="{franka_folder() / "assets.xml"}"/><worldbody>'
                    f'<include file="{franka_folder() / "chain.xml"}"/></worldbody></mujoco>')  # fmt: skip
    with pytest.raises(InputError, match=r"arm\.xml makes no model of the cell: .*\.stl"):
        FrankaEnv(robot_xml=path)


def test_headless_rendering_is_chosen_where_there_is_no_display() -> None:
    assert os.environ.get("DISPLAY") or os.environ.get("MUJOCO_GL")


@pytest.mark.parametrize(("platform", "chosen"), [("linux", "egl"), ("darwin", "None")])
def test_headless_rendering_is_chosen_on_linux_alone(platform: str, chosen: str) -> None:
    code = f"import os, sys; sys.platform = {platform!r}; import sim; print(os.environ.get('MUJOCO_GL'))"
    bare = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "MUJOCO_GL")}
    done = subprocess.run([sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == chosen, done.stderr


def test_the_samples_of_the_console_are_what_the_simulation_shows(tmp_path: Path) -> None:
    kept = ROOT / "server" / "console" / "samples"
    shutil.copy(kept / "render", tmp_path)
    subprocess.run([sys.executable, tmp_path / "render"], check=True, cwd=ROOT)
    for file in sorted(kept.glob("*.jpg")):
        drawn, shown = (np.asarray(cv2.imread(str(folder / file.name)), float) for folder in (tmp_path, kept))
        assert np.abs(drawn - shown).mean() < 4, file.name  # grey levels; drivers draw edges differently
    listed, kept_list = (json.loads((folder / "samples.json").read_text()) for folder in (tmp_path, kept))
    for now, then in zip(listed, kept_list, strict=True):
        assert now.pop("pose") == pytest.approx(then.pop("pose"), abs=1e-3)
        assert now == then
