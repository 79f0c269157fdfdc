from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest

from tests.data.folders import ROWS, SERIALS, folder_of, recording, rows_of
from vjepa2_ac.data import layout, writer
from vjepa2_ac.data.episodes import open_episode
from vjepa2_ac.data.layout import find_episodes, unfinished
from vjepa2_ac.data.writer import index_entry, write_episode, write_index
from vjepa2_ac.errors import InputError, NotEnoughDiskError, VideoError


def test_the_layout_is_raw_droids(tmp_path: Path) -> None:
    ref = write_episode(recording(), tmp_path)
    assert ref.name == "1.0.1/SIM/success/2026-01-01/Thu_Jan_01_00:00:00_2026"
    files = sorted(str(path.relative_to(ref.folder)) for path in ref.folder.rglob("*") if path.is_file())
    assert files == [
        "metadata_SIM+d09e58a7+2026-01-01-00h-00m-00s.json",
        "recordings/MP4/10000001.mp4",
        "recordings/MP4/10000002.mp4",
        "recordings/MP4/10000003.mp4",
        "trajectory.h5",
    ]
    assert write_episode(recording(1, success=False), tmp_path).name.startswith("1.0.1/SIM/failure/")


def test_metadata_paths_are_relative_to_the_lab(tmp_path: Path) -> None:
    ref = write_episode(recording(), tmp_path)
    metadata = layout.read_metadata(ref.folder, ref.name)
    assert (tmp_path / "1.0.1" / "SIM" / metadata["wrist_mp4_path"]).is_file()
    assert (tmp_path / "1.0.1" / "SIM" / metadata["hdf5_path"]).is_file()
    assert (metadata["ext1_cam_serial"], metadata["ext2_cam_serial"]) == ("10000001", "10000002")
    assert metadata["trajectory_length"] == ROWS


def test_every_dataset_has_a_row_for_every_moment(tmp_path: Path) -> None:
    """DROID's own loader walks the whole file and refuses lengths that differ."""
    ref = write_episode(recording(), tmp_path)
    lengths: dict[str, int] = {}
    with h5py.File(ref.folder / layout.TRAJECTORY) as file:
        file.visititems(
            lambda name, item: lengths.update({name: len(item)}) if isinstance(item, h5py.Dataset) else None
        )
    assert set(lengths.values()) == {ROWS}
    assert {layout.CARTESIAN, layout.GRIPPER, layout.JOINTS, "action/joint_position"} <= lengths.keys()


@pytest.mark.parametrize("success", [True, False])
def test_the_last_row_says_how_it_ended_and_cameras_say_what_they_are(tmp_path: Path, success: bool) -> None:
    ref = write_episode(recording(success=success), tmp_path)
    ended = {name: rows_of(ref, f"observation/controller_info/{name}") for name in ("success", "failure")}
    assert [bool(rows_N[-1]) for rows_N in ended.values()] == [success, not success]
    assert not any(rows_N[:-1].any() for rows_N in ended.values())
    kinds = [set(rows_of(ref, f"observation/camera_type/{serial}")) for serial in SERIALS.values()]
    assert kinds == [{1}, {1}, {0}]


def test_all_clocks_count_from_when_it_was_started(tmp_path: Path) -> None:
    started = datetime(2026, 1, 2, 3, 4, 5)
    ref = write_episode(recording(fps=16.0, started=started), tmp_path)
    expected_N = started.replace(tzinfo=UTC).timestamp() + np.arange(ROWS) / 16
    robot_N = rows_of(ref, layout.ROBOT_SECONDS) + 1e-9 * rows_of(ref, layout.ROBOT_NANOS)
    for path in (layout.STEP_STARTED, *(layout.CAPTURED.format(serial=serial) for serial in SERIALS.values())):
        np.testing.assert_allclose(rows_of(ref, path) / 1000, expected_N, atol=6e-4, rtol=0)  # whole milliseconds
    np.testing.assert_allclose(robot_N, expected_N, atol=6e-4, rtol=0)
    with h5py.File(ref.folder / layout.TRAJECTORY) as file:
        assert file.attrs["timesteps"] == ROWS


def test_metadata_name_outer_cameras_by_serial_and_where_they_stood_at_first(tmp_path: Path) -> None:
    left, right, wrist = recording().cameras
    moving_N6 = np.outer(np.arange(ROWS), np.ones(6))
    right = replace(right, serial="10000000", extrinsics_N6=moving_N6 + 2)
    ref = write_episode(recording(cameras=(wrist, left, right)), tmp_path)
    metadata = layout.read_metadata(ref.folder, ref.name)
    serials = [metadata[f"{slot}_cam_serial"] for slot in ("ext1", "ext2", "wrist")]
    assert serials == ["10000000", left.serial, wrist.serial]
    assert metadata["ext1_cam_extrinsics"] == [2.0] * 6
    assert metadata["right_mp4_path"] == metadata["ext1_mp4_path"]


def test_an_index_says_how_an_episode_ended_and_keeps_seed_0(tmp_path: Path) -> None:
    ref = write_episode(recording(success=False), tmp_path)
    entry = index_entry(ref, layout.read_metadata(ref.folder, ref.name))
    assert entry == {
        "path": ref.name, "frames": ROWS, "task": "pick up the box", "success": False, "seed": 0,
    }  # fmt: skip


def test_what_was_recorded_is_read_back_exactly(tmp_path: Path) -> None:
    ref = write_episode(recording(), tmp_path)
    episode = open_episode(ref)
    np.testing.assert_array_equal(episode.poses_N7, recording().poses_N7)
    np.testing.assert_array_equal(rows_of(ref, layout.COMMANDED_GRIPPER)[:-1], episode.poses_N7[1:, 6])
    assert (episode.fps, episode.measured_fps) == (4.0, 4.0)


def test_a_reader_that_knows_only_droid_reads_it(tmp_path: Path) -> None:
    """Step by step as the reference finds things: first JSON, text after recordings/MP4/, serial before the dot."""
    folder = write_episode(recording(), tmp_path).folder
    metadata = json.loads(next(path for path in folder.iterdir() if path.suffix == ".json").read_text())
    file_name = metadata["left_mp4_path"].split("recordings/MP4/")[-1]
    film = cv2.VideoCapture(str(folder / "recordings" / "MP4" / file_name))
    assert (film.get(cv2.CAP_PROP_FRAME_COUNT), film.get(cv2.CAP_PROP_FPS)) == (ROWS, 4.0)
    levels = [film.read()[1].mean() for _ in range(ROWS)]
    np.testing.assert_allclose(levels, 20 + 3 * np.arange(ROWS), atol=2)
    with h5py.File(folder / "trajectory.h5") as file:
        robot, camera = file["observation"]["robot_state"], file["observation"]["camera_extrinsics"]
        assert np.array(robot["cartesian_position"]).shape == (ROWS, 6)
        assert np.array(robot["gripper_position"]).shape == (ROWS,)
        assert np.array(camera[f"{file_name.split('.')[0]}_left"]).shape == (ROWS, 6)


def test_equal_recordings_give_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_episode(recording(), tmp_path / name)
    for file in (tmp_path / "a").rglob("*"):
        if file.is_file() and file.suffix != ".h5":  # HDF5 notes when it was written
            assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes()


def test_an_episode_is_not_written_over_another(tmp_path: Path) -> None:
    folder_of(tmp_path, 1)
    with pytest.raises(InputError, match="already an episode"):
        folder_of(tmp_path, 1)


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def power_cut(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["write_video", "_write_trajectory", "sync"])
@pytest.mark.parametrize(("trouble", "expected"), [(full_disk, NotEnoughDiskError), (power_cut, KeyboardInterrupt)])
def test_nothing_half_written_is_left(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    trouble: Callable[..., None],
    expected: type[BaseException],
) -> None:
    monkeypatch.setattr(writer, step, trouble)
    with pytest.raises(expected):
        write_episode(recording(), tmp_path)
    assert not find_episodes(tmp_path)
    assert not unfinished(tmp_path)
    assert not list(tmp_path.iterdir())  # so that whatever wants an empty folder takes it


def test_a_writer_that_fails_leaves_what_others_are_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / layout.ASIDE / "another.1").mkdir(parents=True)
    monkeypatch.setattr(writer, "_write_trajectory", full_disk)
    with pytest.raises(NotEnoughDiskError):
        write_episode(recording(), tmp_path)
    assert [path.name for path in unfinished(tmp_path)] == ["another.1"]


def test_what_a_killed_writer_of_the_same_number_left_is_in_nobodys_way(tmp_path: Path) -> None:
    left = tmp_path / layout.ASIDE / f"{recording().uuid}.{os.getpid()}" / layout.RECORDINGS
    left.mkdir(parents=True)
    (left / "30000000.mp4").touch()
    ref = write_episode(recording(), tmp_path)
    assert [path.stem for path in sorted((ref.folder / layout.RECORDINGS).iterdir())] == sorted(SERIALS.values())
    assert not unfinished(tmp_path)


def test_all_of_an_episode_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(writer, "sync", synced.append)
    place = write_episode(recording(), tmp_path).folder
    *inside, parent = synced
    (aside,) = {path for path in inside if path.parent.name == layout.ASIDE}
    assert {path.relative_to(aside) for path in inside} == {Path(), *(p.relative_to(place) for p in place.rglob("*"))}
    assert parent == place.parent


def test_an_index_is_replaced_whole_and_leaves_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_index(tmp_path, [{"path": "a"}])
    monkeypatch.setattr(writer, "sync", full_disk)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        write_index(tmp_path, [{"path": "b"}])
    monkeypatch.undo()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {layout.INDEX: '{"path": "a"}\n'}
    if not (child := os.fork()):  # one that is killed
        monkeypatch.setattr(writer, "sync", lambda _: os._exit(0))
        write_index(tmp_path, [{"path": "c"}])
        os._exit(1)
    os.waitpid(child, 0)
    write_index(tmp_path, [{"path": "d"}])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {layout.INDEX: '{"path": "d"}\n'}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"role": "front"}, "no camera 'front'; raw DROID has left, right, wrist"),
        ({"serial": "a.b"}, "serial 'a.b' of the left camera"),
        ({"serial": 23456789}, "serial 23456789 of the left camera names no file: need text"),
        ({"serial": ""}, "serial '' of the left camera names no file"),
        ({"extrinsics_N6": np.full(6, np.nan)}, "extrinsics of the left camera holds numbers that are not finite"),
        ({"extrinsics_N6": np.zeros((3, 6))}, "has 40 frames and another number of extrinsics"),
        ({"extrinsics_N6": np.zeros(7)}, r"extrinsics of the left camera has shape \[7\]"),
    ],
)
def test_a_camera_that_no_reader_would_find_is_refused(changes: dict[str, Any], complaint: str) -> None:
    left = recording().cameras[0]
    with pytest.raises(InputError, match=complaint):
        recording(cameras=(replace(left, **changes),))
    with pytest.raises(InputError, match="a role and a serial of its own"):
        recording(cameras=(left, replace(left, serial="10000009")))


def test_a_lab_says_where_its_robot_stands_and_need_not_know_where_its_camera_does(tmp_path: Path) -> None:
    camera = replace(recording().cameras[0], extrinsics_N6=None)
    ref = write_episode(
        recording(cameras=(camera,), lab="KITCHEN", building="B2", robot="panda-7", success=np.bool_(True)), tmp_path
    )
    metadata = layout.read_metadata(ref.folder, ref.name)
    assert (metadata["building"], metadata["robot_serial"]) == ("B2", "panda-7")
    assert metadata["ext1_cam_extrinsics"] is None
    assert metadata["success"] is True
    with h5py.File(ref.folder / layout.TRAJECTORY) as file:
        assert (file.attrs["building"], file.attrs["robot_serial_number"]) == ("B2", "panda-7")
        assert "camera_extrinsics" not in file["observation"]
    assert open_episode(ref).extrinsics_N6 is None


@pytest.mark.parametrize("lab", ["UNI/ROBOTS", "..", "", ".lab"])
def test_a_lab_whose_episodes_nobody_would_find_is_refused(lab: str) -> None:
    with pytest.raises(InputError, match="cannot name a folder"):
        recording(lab=lab)


def test_a_list_of_frames_is_refused_in_a_sentence(tmp_path: Path) -> None:
    left = recording().cameras[0]
    frames: Any = list(left.frames_NHWC)
    with pytest.raises(VideoError, match=r"got a list: np\.stack makes one array"):
        write_episode(recording(cameras=(replace(left, frames_NHWC=frames),)), tmp_path)


@pytest.mark.parametrize("fps", [0.0, -4.0, np.inf, np.nan])
def test_time_that_does_not_pass_is_refused(fps: float) -> None:
    with pytest.raises(InputError, match="finite fps > 0"):
        recording(fps=fps)


def test_a_rate_may_be_a_number_of_numpys(tmp_path: Path) -> None:
    rate: Any = np.float32(15)
    assert open_episode(write_episode(recording(fps=rate), tmp_path)).fps == 15.0


def test_lengths_that_differ_are_refused_before_anything_is_written() -> None:
    with pytest.raises(InputError, match=r"an episode of 40 poses has \{'joints': 3\}"):
        recording(joints_N7=np.zeros((3, 7)))
    with pytest.raises(InputError, match="at least one camera"):
        recording(cameras=())
    with pytest.raises(InputError, match="finite"):
        recording(poses_N7=np.full((40, 7), np.nan))
    with pytest.raises(InputError, match="commands holds numbers that are not finite"):
        recording(commands_N7=np.full((40, 7), np.nan))
    with pytest.raises(InputError, match=r"poses has shape \[40, 6\]; expected 7 numbers"):
        recording(poses_N7=np.zeros((40, 6)))


@pytest.mark.parametrize("rows", ["poses_N7", "commands_N7"])
@pytest.mark.parametrize(
    ("column", "factor", "complaint"),
    [(0, 1000.0, "that is millimetres"), (3, 57.3, "that is degrees"), (6, 255.0, "0 open … 1 closed is expected")],
)
def test_units_that_no_reader_takes_are_refused_before_anything_is_written(
    rows: str, column: int, factor: float, complaint: str
) -> None:
    values_N7 = np.array(getattr(recording(), rows))
    values_N7[:, column] *= factor
    with pytest.raises(InputError, match=f"{rows[:-3]} cannot be right: .*{complaint}"):
        recording(**{rows: values_N7})


def test_a_gripper_measured_a_little_outside_of_its_range_is_written(tmp_path: Path) -> None:
    poses_N7 = np.array(recording().poses_N7)
    poses_N7[:, 6] = np.linspace(-0.05, 1.05, ROWS)
    ref = write_episode(recording(poses_N7=poses_N7, commands_N7=poses_N7), tmp_path)
    np.testing.assert_array_equal(open_episode(ref).poses_N7[:, 6], poses_N7[:, 6])


@pytest.mark.parametrize("shape", [(0, 7), (7,), (2, 40, 7)])
def test_poses_are_a_row_for_each_moment(shape: tuple[int, ...]) -> None:
    poses: Any = np.full(shape, 0.5)
    with pytest.raises(InputError, match=r"expected \[N, 7\], a row for each moment"):
        recording(rows=shape[0], poses_N7=poses, commands_N7=poses)
