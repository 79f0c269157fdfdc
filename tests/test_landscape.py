from __future__ import annotations

import errno
import json
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from vjepa2_ac.cli import run
from vjepa2_ac.errors import ConfigError, InputError
from vjepa2_ac.landscape.inputs import read_view
from vjepa2_ac.landscape.picture import draw
from vjepa2_ac.landscape.survey import Grid, Landscape, survey
from vjepa2_ac.poses import integrate
from vjepa2_ac.world_model import Cost, Rollout

Frame = NDArray[np.uint8]

START = np.array([0.5, 0.0, 0.3, 3.1, 0.0, -1.9, 0.0])
BLACK, WHITE = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)


class PointWorld:
    """A black frame is the start, a white one the goal; a latent is the position of the hand."""

    def __init__(self, goal: NDArray[np.float64]) -> None:
        self.goal = goal

    def encode(self, frame: Frame) -> Tensor:
        pose = self.goal if frame.any() else START
        return torch.from_numpy(pose[:3]).float().view(1, 1, 3)

    def score(self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, cost: Cost) -> Tensor:
        positions_BSH3 = pose_B7[:, None, None, :3] + actions_BSHA[..., :3].cumsum(dim=2)
        return cost(Rollout(positions_BSH3.unsqueeze(3), pose_B7, actions_BSHA))


def explore(move: list[float], **grid: Any) -> Landscape:
    goal = integrate(START, [*move, 0, 0, 0, 0])
    world: Any = PointWorld(goal)
    return survey(world, BLACK, WHITE, START, goal_pose=goal, grid=Grid(**grid))


def test_the_valley_lies_at_the_true_move() -> None:
    found = explore([0.075, -0.0375, 0.0])
    np.testing.assert_allclose(found.best_move, [0.075, -0.0375, 0.0])
    assert found.energies_XYZ.min() == pytest.approx(found.true_energy, abs=1e-6)
    assert found.better_than_true == pytest.approx(0, abs=1 / 125)
    assert found.distance == pytest.approx((0.075 + 0.0375) / 3, abs=1e-6)


def test_a_goal_outside_the_grid_pulls_to_the_nearest_corner() -> None:
    np.testing.assert_allclose(explore([0.0924, 0.0310, 0.0843]).best_move, [0.075, 0.0375, 0.075])


def test_moves_made_twice_reach_twice_as_far() -> None:
    found = explore([0.15, 0.0, -0.075], repeats=2)
    np.testing.assert_allclose(found.best_move, [0.075, 0.0, -0.0375])
    assert found.true_energy == pytest.approx(0, abs=1e-6)


def test_a_map_averages_over_the_axis_it_does_not_show() -> None:
    found = explore([0.05, 0.0, 0.0], points=3)
    np.testing.assert_allclose(found.over("x", "z"), found.energies_XYZ.mean(axis=1))
    np.testing.assert_allclose(found.over("z", "x"), found.over("x", "z").T)


def test_the_best_move_is_written_axis_by_axis() -> None:
    written = json.loads(explore([0.075, -0.0375, 0.0]).to_json())
    assert written["best_move_m"] == {"x": 0.075, "y": -0.0375, "z": 0.0}


@pytest.mark.parametrize("true_move", [True, False])
def test_the_true_move_is_written_where_it_is_known(true_move: bool) -> None:
    world: Any = PointWorld(START)
    found = survey(world, BLACK, WHITE, START, goal_pose=START if true_move else None)
    written = json.loads(found.to_json())
    assert written["true_move"] == ([0.0] * 7 if true_move else None)
    assert written["share_of_grid_better_than_true_move"] == (0.0 if true_move else None)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_energies_that_are_no_numbers_are_refused(number: float) -> None:
    class Spoilt(PointWorld):
        def score(self, *asked: Any) -> Tensor:
            energies_BS = super().score(*asked)
            energies_BS[:, 3] = number
            return energies_BS

    world: Any = Spoilt(START)
    with pytest.raises(InputError, match="1 of 125 energies are no numbers"):
        survey(world, BLACK, WHITE, START)


def test_the_picture_is_a_picture() -> None:
    png = draw(explore([0.2, 0.0, 0.0]), BLACK, WHITE, "/models/$_{$")  # a path, and no formula
    assert min(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR).shape[:2]) > 300


@pytest.mark.parametrize("values", [{"extent": 0}, {"extent": 5}, {"points": 1}, {"points": 500}, {"repeats": 0}])
def test_a_grid_that_cannot_be_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Grid(**values)


@pytest.fixture
def files(tmp_path: Path) -> SimpleNamespace:
    """A recorded trajectory of two steps, and its first frame as a picture."""
    frames = np.random.default_rng(0).integers(0, 256, (1, 2, 64, 64, 3), dtype=np.uint8)
    states = np.stack([START, integrate(START, [0.05, 0, 0, 0, 0, 0, 0])])[None].astype(np.float32)
    np.savez(tmp_path / "trajectory.npz", observations=frames, states=states)
    cv2.imwrite(str(tmp_path / "first.png"), frames[0, 0, ..., ::-1])
    return SimpleNamespace(
        folder=tmp_path, trajectory=f"{tmp_path}/trajectory.npz", picture=f"{tmp_path}/first.png", frames=frames[0]
    )


def test_a_step_of_a_trajectory_brings_its_pose(files: SimpleNamespace) -> None:
    view = read_view(f"{files.trajectory}:0")
    np.testing.assert_array_equal(view.frame_HW3, files.frames[0])
    assert view.pose is not None
    np.testing.assert_allclose(view.pose, START, atol=1e-6)
    np.testing.assert_array_equal(read_view(f"{files.trajectory}:-1").frame_HW3, files.frames[1])


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        (0, 400.0, r"the pose in .*trajectory.npz:1 is not in metres"),
        (5, 90.0, "is not in radians"),
        (6, 255.0, "has a gripper of 255"),
        (2, np.nan, "not finite"),
    ],
)
def test_a_step_whose_pose_no_hand_can_have_is_refused(
    files: SimpleNamespace, column: int, value: float, complaint: str
) -> None:
    states = np.stack([START, START])[None]
    states[0, 1, column] = value
    np.savez(files.trajectory, observations=files.frames[None], states=states)
    assert read_view(f"{files.trajectory}:0").pose is not None
    with pytest.raises(InputError, match=complaint):
        read_view(f"{files.trajectory}:1")


def test_a_gripper_measured_a_little_outside_of_its_range_is_at_its_end(files: SimpleNamespace) -> None:
    states = np.stack([START, START])[None]
    states[0, :, 6] = -0.01, 1.003
    np.savez(files.trajectory, observations=files.frames[None], states=states)
    poses = [read_view(f"{files.trajectory}:{step}").pose for step in (0, 1)]
    assert [pose is not None and pose[6] for pose in poses] == [0.0, 1.0]


def test_a_picture_is_read_as_rgb_and_has_no_pose(files: SimpleNamespace) -> None:
    view = read_view(files.picture)
    np.testing.assert_array_equal(view.frame_HW3, files.frames[0])
    assert view.pose is None


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("{folder}/none.png", "no picture at"),
        ("{folder}/none.npz:0", "no trajectory at"),
        (f"{{folder}}/{300 * 'n'}.npz:0", "npz cannot be read: File name too long"),
        (f"{{folder}}/{300 * 'n'}", "nnn cannot be read: File name too long"),
        ("{trajectory}", "say which, as in"),
        ("{trajectory}:2", "2 steps, 0 to 1; there is no step 2"),
        ("{trajectory}:first", "not the number of a step"),
        ("{folder}/broken.png", "not a picture"),
        ("{folder}/empty.png", "not a picture"),
        ("{folder}/huge.png", "not a picture"),
        ("{folder}/array.npz:0", "not a readable .npz"),
        ("{folder}/broken.npz:0", "not a readable .npz"),
        ("{folder}/empty.npz:0", "not a readable .npz"),
        ("{folder}/bent.npz:0", "not a readable .npz"),
        ("{folder}/other.npz:0", "no array observations"),
        ("{folder}/shapes.npz:0", r"expected uint8 \[1, T, H, W, 3\]"),
        ("{folder}/two.npz:0", r"observations uint8 \[2, 3, 8, 8, 3\] and .*; expected uint8 \[1, T, H, W, 3\]"),
        ("{folder}/none-at-all.npz:0", r"observations uint8 \[0, 3, 8, 8, 3\]"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(files: SimpleNamespace, source: str, complaint: str) -> None:
    for name in ("broken.png", "broken.npz"):
        (files.folder / name).write_bytes(b"nothing of the kind")
    (files.folder / "empty.png").touch()
    huge = bytearray(Path(files.picture).read_bytes())
    huge[16:29] = header = struct.pack(">IIBBBBB", 200_000, 200_000, 8, 2, 0, 0, 0)
    huge[29:33] = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (files.folder / "huge.png").write_bytes(huge)
    np.save(files.folder / "array.npy", np.zeros(3))
    (files.folder / "array.npy").rename(files.folder / "array.npz")
    (files.folder / "empty.npz").touch()
    np.savez_compressed(files.folder / "bent.npz", observations=np.arange(9000), states=np.zeros(3))
    bent = bytearray((files.folder / "bent.npz").read_bytes())
    bent[200:260] = 60 * b"\xff"
    (files.folder / "bent.npz").write_bytes(bent)
    for name, trajectories in (("two", 2), ("none-at-all", 0)):
        frames = np.zeros((trajectories, 3, 8, 8, 3), dtype=np.uint8)
        np.savez(files.folder / f"{name}.npz", observations=frames, states=np.zeros((trajectories, 3, 7)))
    np.savez(files.folder / "other.npz", actions=np.zeros(3))
    np.savez(files.folder / "shapes.npz", observations=np.zeros((2, 8, 8, 3)), states=np.zeros((2, 7)))
    with pytest.raises(InputError, match=complaint):
        read_view(source.format(folder=files.folder, trajectory=files.trajectory))


def test_a_picture_that_may_not_be_read_is_refused(files: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", Mock(side_effect=PermissionError(errno.EACCES, "Permission denied")))
    with pytest.raises(InputError, match=r"first\.png cannot be read: Permission denied"):
        read_view(files.picture)


def test_the_command_writes_picture_and_numbers(files: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    observation = ["--observation", f"{files.trajectory}:0", "--goal", f"{files.trajectory}:1"]
    options = ["--model", "random:tiny", "--grid", "2", "--precision", "fp32", "--out", f"{files.folder}/out"]
    assert run(["landscape", *observation, *options]) == 0
    answer = capsys.readouterr().out
    assert "lowest energy" in answer
    assert "true move Δx +0.0500 Δy +0.0000 Δz +0.0000 m" in answer
    assert (files.folder / "out/landscape.png").read_bytes().startswith(b"\x89PNG")
    assert np.shape(json.loads((files.folder / "out/landscape.json").read_text())["energies_xyz"]) == (2, 2, 2)


@pytest.mark.parametrize(
    "refused",
    [["--grid", "1"], ["--repeats", "0"], ["--model", "nowhere"], ["--precision", "x"], ["--seed", f"{1 << 64}"]],
)
def test_what_is_refused_leaves_no_folder(files: SimpleNamespace, refused: list[str]) -> None:
    observation = ["--observation", f"{files.trajectory}:0", "--goal", f"{files.trajectory}:1"]
    assert run(["landscape", *observation, "--model", "random:tiny", "--out", f"{files.folder}/out", *refused]) == 2
    assert not (files.folder / "out").exists()


def test_results_that_cannot_have_a_folder_are_refused_before_anything_is_computed(
    files: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    observation = ["--observation", f"{files.trajectory}:0", "--goal", f"{files.trajectory}:1"]
    assert run(["landscape", *observation, "--model", "random:tiny", "--out", str(files.trajectory)]) == 2
    assert "cannot be made a folder" in capsys.readouterr().err


def test_the_command_asks_for_a_pose_the_pictures_do_not_hold(
    files: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = ["--observation", files.picture, "--goal", files.picture, "--model", "random:tiny"]
    assert run(["landscape", *pictures]) == 2
    assert "--pose" in capsys.readouterr().err
