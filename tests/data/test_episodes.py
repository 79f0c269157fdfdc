from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.data import folders
from tests.data.folders import folder_of
from vjepa2_ac.data import layout
from vjepa2_ac.data.episodes import BadEpisodes, open_episode, usable
from vjepa2_ac.data.layout import EpisodeRef
from vjepa2_ac.data.video import write_video
from vjepa2_ac.errors import EpisodeError, InputError, TooManyBadEpisodesError


@pytest.fixture
def ref(tmp_path: Path) -> EpisodeRef:
    return folder_of(tmp_path, 1)[0]


@pytest.mark.parametrize(("camera", "level"), [("left", 20), ("right", 40), ("wrist", 60)])
def test_a_camera_is_its_own_serial_video_and_extrinsics(ref: EpisodeRef, camera: str, level: int) -> None:
    episode = open_episode(ref, camera)
    assert episode.serial == folders.SERIALS[camera]
    assert abs(float(episode.frames([0]).mean()) - level) < 1.5
    np.testing.assert_allclose(episode.extrinsics([0, 39])[:, 1], 0.6 - (level - 20) / 20)


def test_actions_lead_from_pose_to_pose(ref: EpisodeRef) -> None:
    episode = open_episode(ref)
    actions = episode.actions(fps=4.0)
    np.testing.assert_allclose(actions[:, :3].sum(axis=0), [0.2, 0.1, -0.1], atol=1e-12)
    np.testing.assert_allclose(actions[:, 6].sum(), 1.0)
    assert len(episode.actions(fps=2.0)) == 19


def test_what_only_the_simulator_knows_is_kept_apart(ref: EpisodeRef) -> None:
    episode = open_episode(ref)
    np.testing.assert_array_equal(episode.simulation()["object_pose"][3], np.arange(7.0))
    assert episode.metadata["simulation"] == {"seed": 0}


def test_of_a_real_robot_nothing_is_known_that_only_a_simulator_knows(ref: EpisodeRef) -> None:
    folders.change_rows(ref, "simulation", None)
    assert open_episode(ref).simulation() == {}


def test_rows_of_any_name_are_there_or_none(ref: EpisodeRef) -> None:
    episode = open_episode(ref)
    rows_N = episode.rows(layout.GRIPPER)
    assert rows_N is not None
    np.testing.assert_array_equal(rows_N, episode.poses_N7[:, 6])
    assert episode.rows("observation/of_the_moon") is None


def test_a_branch_of_another_episode_is_a_part(ref: EpisodeRef) -> None:
    assert not open_episode(ref).is_part
    folders.change_metadata(ref, simulation={"seed": 0, "left_at": 3})
    assert open_episode(ref).is_part
    folders.change_metadata(ref, simulation=None)
    assert not open_episode(ref).is_part


@pytest.mark.parametrize("as_said", [Path, str])
def test_an_episode_opened_by_its_folder_is_called_as_that_was_said(ref: EpisodeRef, as_said: type) -> None:
    assert open_episode(as_said(ref.folder)).name == str(ref.folder)
    with pytest.raises(EpisodeError, match="there is no such folder"):
        open_episode(as_said(ref.folder / "none"))


def test_an_episode_says_how_long_it_lasted(ref: EpisodeRef) -> None:
    assert open_episode(ref).seconds == 10.0


CAMERA = layout.EXTRINSICS.format(serial="10000001")


def damage_trajectory(ref: EpisodeRef) -> None:
    path = ref.folder / layout.TRAJECTORY
    path.write_bytes(path.read_bytes()[:1000])


def poison(ref: EpisodeRef) -> None:
    rows = folders.rows_of(ref, layout.CARTESIAN)
    rows[7:9, 2] = np.nan
    folders.change_rows(ref, layout.CARTESIAN, rows)


DAMAGE: dict[str, tuple[Callable[[EpisodeRef], object], str]] = {
    "no metadata": (lambda ref: folders.metadata_of(ref).unlink(), r"metadata_\*\.json is missing"),
    "cut metadata": (lambda ref: folders.metadata_of(ref).write_text('{"uuid": "x'), "cannot be read"),
    "metadata with an endless number": (
        lambda ref: folders.metadata_of(ref).write_text('{"scene_id": ' + "9" * 5000 + "}"),
        "cannot be read: Exceeds the limit",
    ),
    "metadata without an end": (lambda ref: folders.metadata_of(ref).write_text("[" * 100_000), "cannot be read"),
    "metadata is a list": (lambda ref: folders.metadata_of(ref).write_text("[]"), "holds list"),
    "no camera": (lambda ref: folders.change_metadata(ref, left_mp4_path=None), "no left camera; it has right"),
    "no trajectory": (lambda ref: (ref.folder / layout.TRAJECTORY).unlink(), r"trajectory\.h5 is missing"),
    "cut trajectory": (damage_trajectory, r"trajectory\.h5 cannot be read"),
    "no video": (lambda ref: folders.video_of(ref).unlink(), r"10000001\.mp4 is missing"),
    "empty video": (lambda ref: folders.video_of(ref).write_bytes(b""), r"cannot open 10000001\.mp4"),
    "video far too short": (lambda ref: folders.shorten_video(ref, 20), "20 frames, the trajectory 40 rows"),
    "no gripper": (lambda ref: folders.change_rows(ref, layout.GRIPPER, None), "lacks .*gripper_position"),
    "short gripper": (lambda ref: folders.change_rows(ref, layout.GRIPPER, np.zeros(9)), "40 hand .* 9 gripper"),
    "one gripper": (lambda ref: folders.change_rows(ref, layout.GRIPPER, 0.5), r"gripper_position has shape \[\], exp"),
    "two grippers": (lambda ref: folders.change_rows(ref, layout.GRIPPER, np.zeros((40, 2))), r"\[40, 2\], expected"),
    "no gripper's row": (lambda ref: folders.change_rows(ref, layout.GRIPPER, np.zeros((40, 0))), r"\[40, 0\], exp"),
    "empty": (lambda ref: folders.change_rows(ref, layout.CARTESIAN, np.zeros((0, 6))), "0 hand positions"),
    "quaternions": (lambda ref: folders.change_rows(ref, layout.CARTESIAN, np.zeros((40, 7))), r"\[40, 7\], expected"),
    "not numbers": (lambda ref: folders.change_rows(ref, layout.CARTESIAN, [b"a"] * 40), "cannot be read"),
    "clock is no clock": (
        lambda ref: folders.change_rows(ref, layout.CAPTURED.format(serial="10000001"), [b"a"] * 40),
        "10000001_estimated_capture cannot be read",
    ),
    "damaged clock": (
        lambda ref: folders.damage_rows(ref, layout.CAPTURED.format(serial="10000001")),
        "10000001_estimated_capture cannot be read: Unable to",
    ),
    "damaged extrinsics": (lambda ref: folders.damage_rows(ref, CAMERA), "10000001_left cannot be read: Unable to"),
    "damaged poses": (lambda ref: folders.damage_rows(ref, layout.CARTESIAN), "cartesian_position cannot be read"),
    "clock of two lengths": (
        lambda ref: folders.only_the_robots_clock(ref, nanos=np.zeros(9)),
        "40 seconds but 9 nanoseconds",
    ),
    "video with an endless name": (
        lambda ref: folders.change_metadata(ref, left_mp4_path="a" * 5000 + ".mp4"),
        "cannot open a+",
    ),
    "short extrinsics": (
        lambda ref: folders.change_rows(ref, CAMERA, np.zeros((9, 6))),
        r"\[9, 6\], expected \[40, 6\]",
    ),
    "NaN extrinsics": (lambda ref: folders.change_rows(ref, CAMERA, np.full((40, 6), np.nan)), "not finite"),
    "NaN": (poison, "2 of 40 poses are not finite, the first in row 7"),
    "millimetres": (
        lambda ref: folders.change_rows(ref, layout.CARTESIAN, np.full((40, 6), 4.0)),
        "that is millimetres",
    ),
    "gripper in 0…255": (lambda ref: folders.change_rows(ref, layout.GRIPPER, np.full(40, 255.0)), "0 open … 1 closed"),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_episode_is_named_with_its_reason(
    ref: EpisodeRef, damage: Callable[[EpisodeRef], object], reason: str
) -> None:
    damage(ref)
    with pytest.raises(EpisodeError, match=reason) as caught:
        open_episode(ref)
    assert caught.value.episode == ref.name


@pytest.mark.parametrize("damaged", ["simulation", "simulation/object_pose"])
def test_rows_that_are_damaged_name_the_episode_when_they_are_asked_for(ref: EpisodeRef, damaged: str) -> None:
    folders.damage_rows(ref, damaged)
    episode = open_episode(ref)  # which needs none of it
    for ask in (lambda: episode.rows("simulation/object_pose"), episode.simulation):
        with pytest.raises(EpisodeError, match=r"simulation.* cannot be read") as caught:
            ask()
        assert caught.value.episode == ref.name


def test_a_video_damaged_in_its_middle_names_the_episode(ref: EpisodeRef) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 32, 32, 3), dtype=np.uint8)
    write_video(folders.video_of(ref), noise, 4.0)
    data = bytearray(folders.video_of(ref).read_bytes())
    data[len(data) // 3 : 2 * len(data) // 3] = bytes(len(data) // 3 + 1)
    folders.video_of(ref).write_bytes(bytes(data))
    with pytest.raises(EpisodeError, match=r"10000001\.mp4"):
        open_episode(ref).frames(range(40))


def test_a_gripper_may_be_recorded_as_a_column(ref: EpisodeRef) -> None:
    before_N7 = open_episode(ref).poses_N7
    folders.change_rows(ref, layout.GRIPPER, before_N7[:, 6:])
    np.testing.assert_array_equal(open_episode(ref).poses_N7, before_N7)


def test_a_file_that_may_not_be_read_is_a_bad_episode(ref: EpisodeRef, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refused)
    with pytest.raises(EpisodeError, match=r"trajectory\.h5 cannot be read: .*Permission denied"):
        open_episode(ref)


def test_a_video_a_little_short_leaves_the_moments_both_have(ref: EpisodeRef) -> None:
    folders.shorten_video(ref, 38)
    assert len(open_episode(ref)) == 38


def test_a_video_a_little_long_leaves_the_moments_both_have(ref: EpisodeRef) -> None:
    write_video(folders.video_of(ref), folders.ramp(42), 4.0)
    assert len(open_episode(ref)) == 40


@pytest.mark.parametrize(("rows", "frames"), [(100, 95), (20, 18)])
def test_a_twentieth_or_two_frames_may_be_missing_and_no_more(tmp_path: Path, rows: int, frames: int) -> None:
    (ref,) = folder_of(tmp_path, 1, rows=rows)
    folders.shorten_video(ref, frames)
    episode = open_episode(ref)
    assert (len(episode), len(episode.actions(fps=4.0))) == (frames, frames - 1)
    folders.shorten_video(ref, frames - 1)
    with pytest.raises(EpisodeError, match="cannot be matched"):
        open_episode(ref)


@pytest.mark.parametrize(("fps", "stride"), [(3.0, 1), (4.0, 1), (5.0, 2), (13.0, 4), (15.0, 4), (30.0, 8)])
def test_at_most_so_many_frames_are_taken_a_second(ref: EpisodeRef, fps: float, stride: int) -> None:
    assert replace(open_episode(ref), fps=fps).stride(4.0) == stride


def test_a_missing_extrinsic_matters_only_to_who_asks(ref: EpisodeRef) -> None:
    folders.change_rows(ref, layout.EXTRINSICS.format(serial="10000001"), None)
    episode = open_episode(ref)
    with pytest.raises(EpisodeError, match="10000001_left is missing"):
        episode.extrinsics([0])


def test_a_header_of_60_fps_over_15_hz_rows_is_not_believed(tmp_path: Path) -> None:
    (ref,) = folder_of(tmp_path, 1, fps=15.0)
    write_video(folders.video_of(ref), folders.ramp(40), 60.0)
    assert (open_episode(ref).fps, open_episode(ref).stride(4.0)) == (15.0, 4)
    assert open_episode(ref).fps_from == "timestamps"
    assert open_episode(ref, fps_from="header").stride(4.0) == 15  # as the reference would


@pytest.mark.parametrize(("header", "believed"), [(16.0, 16.0), (17.0, 15.0), (14.0, 14.0), (13.0, 15.0)])
def test_a_header_within_a_tenth_of_the_timestamps_is_believed(tmp_path: Path, header: float, believed: float) -> None:
    (ref,) = folder_of(tmp_path, 1, fps=15.0)
    write_video(folders.video_of(ref), folders.ramp(40), header)
    assert open_episode(ref).fps == believed
    asked = open_episode(ref, fps_from="timestamps")
    assert (asked.fps, asked.fps_from) == (15.0, "timestamps")


@pytest.mark.parametrize(
    ("header", "stride", "reference"), [(4.02, 1, 2), (20.05, 5, 6), (12.03, 3, 4), (4.2, 2, 2), (29.97, 8, 8)]
)
def test_a_rate_a_little_off_a_whole_number_does_not_skip_another_frame(
    tmp_path: Path, header: float, stride: int, reference: int
) -> None:
    (ref,) = folder_of(tmp_path, 1, fps=header)
    assert open_episode(ref).stride(4.0) == stride
    assert open_episode(ref, fps_from="header").stride(4.0) == reference


@pytest.mark.parametrize("rate", [14.9, 16.67, 66.67])
def test_at_the_rate_of_the_recording_itself_every_frame_is_taken(tmp_path: Path, rate: float) -> None:
    (ref,) = folder_of(tmp_path, 1, fps=rate)
    assert open_episode(ref).stride(rate) == 1


def test_a_pause_of_the_clock_does_not_change_the_rate(tmp_path: Path) -> None:
    (ref,) = folder_of(tmp_path, 1, fps=15.0)
    clock = layout.CAPTURED.format(serial="10000001")
    times_N = folders.rows_of(ref, clock)
    folders.change_rows(ref, clock, times_N + 10_000 * (np.arange(40) > 20))
    assert open_episode(ref).measured_fps == 15.0


@pytest.mark.parametrize("gone", [(), ("cameras",), ("cameras", "control")])
def test_any_clock_of_the_trajectory_tells_the_rate(tmp_path: Path, gone: tuple[str, ...]) -> None:
    (ref,) = folder_of(tmp_path, 1, fps=15.0)
    write_video(folders.video_of(ref), folders.ramp(40), 60.0)
    for clock in gone:
        folders.change_rows(ref, f"observation/timestamp/{clock}", None)
    assert (open_episode(ref).measured_fps, open_episode(ref).fps) == (15.0, 15.0)


def test_the_camera_clock_beside_the_video_will_do(tmp_path: Path) -> None:
    (ref,) = folder_of(tmp_path, 1, fps=15.0)
    folders.drop_timestamps(ref)
    write_video(folders.video_of(ref), folders.ramp(40), 60.0)
    assert open_episode(ref).fps == 60.0
    clock = folders.video_of(ref).with_name("10000001_timestamps.json")
    clock.write_text(json.dumps([1_700_000_000_000 + 67 * n for n in range(40)]))
    assert open_episode(ref).fps == 15.0
    clock.write_text("not json")
    assert open_episode(ref).fps == 60.0


def test_without_timestamps_the_header_counts(ref: EpisodeRef) -> None:
    folders.drop_timestamps(ref)
    assert (open_episode(ref).fps, open_episode(ref).fps_from) == (4.0, "header")
    with pytest.raises(EpisodeError, match="no usable timestamps"):
        open_episode(ref, fps_from="timestamps")


def test_stereo_and_foreign_files_are_not_taken_for_the_camera(ref: EpisodeRef) -> None:
    write_video(folders.video_of(ref).with_name("10000001-stereo.mp4"), folders.ramp(40, first=100), 4.0)
    (ref.folder / "a_note.json").write_text("{}")
    (ref.folder / "._metadata_copy.json").write_bytes(b"\x00\x05")
    assert abs(float(open_episode(ref).frames([0]).mean()) - 20) < 1.5


def test_an_unknown_camera_is_the_callers_mistake(ref: EpisodeRef) -> None:
    with pytest.raises(InputError, match="no camera 'front'; raw DROID has left, right, wrist"):
        open_episode(ref, "front")


def test_bad_episodes_are_counted_and_never_replaced(tmp_path: Path) -> None:
    refs = folder_of(tmp_path, 4)
    folders.video_of(refs[1]).unlink()
    bad = BadEpisodes(limit=1)
    assert [episode.name for episode in usable(refs, bad)] == [refs[n].name for n in (0, 2, 3)]
    assert bad.reasons == {refs[1].name: "video 10000001.mp4 is missing"}
    assert len(list(usable(refs, bad))) == 3  # the same one, met again, is still one
    folders.video_of(refs[3]).unlink()
    with pytest.raises(TooManyBadEpisodesError, match=r"2 episodes cannot be used, the limit is 1:\n"):
        list(usable(refs, bad))


def test_the_error_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(EpisodeError("a/b", "is gone")))
    assert (error.episode, str(error)) == ("a/b", "episode a/b: is gone")
