from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.data import folders
from tests.data.folders import folder_of
from tests.parity.golden import FOLDER
from vjepa2_ac import cli
from vjepa2_ac.data import layout
from vjepa2_ac.data.check import CheckConfig, EpisodeReport, check_folder
from vjepa2_ac.data.layout import EpisodeRef
from vjepa2_ac.data.video import open_video, write_video
from vjepa2_ac.errors import ConfigError


def only(root: Path, config: CheckConfig | None = None) -> EpisodeReport:
    (report,) = check_folder(root, config).episodes
    return report


def test_a_good_folder_is_usable(tmp_path: Path) -> None:
    folder_of(tmp_path)
    report = check_folder(tmp_path)
    facts = report.summary()
    assert report.is_usable
    assert (facts["usable_episodes"], facts["frames"], facts["outcomes"]) == (3, 120, {"success": 3})
    assert facts["header_fps"] == facts["measured_fps"] == {"4": 3}
    assert facts["videos"] == {"h264 32×32": 3}
    assert facts["hours"] == pytest.approx(30 / 3600)
    assert not facts["notes"]


def test_the_reference_episode_is_usable() -> None:
    report = check_folder(FOLDER / "droid_episode")
    assert report.is_usable
    assert report.summary()["notes"].keys() == {"no timestamps", "no wrist video, though the metadata names one"}


def test_several_processes_find_the_same(tmp_path: Path) -> None:
    refs = folder_of(tmp_path)
    folders.video_of(refs[1]).unlink()
    assert check_folder(tmp_path, workers=2).summary() == check_folder(tmp_path).summary()


def in_degrees(ref: EpisodeRef) -> None:
    rows = folders.rows_of(ref, layout.CARTESIAN)
    rows[:, 3:] = np.degrees(rows[:, 3:])
    folders.change_rows(ref, layout.CARTESIAN, rows)


def in_millimetres(ref: EpisodeRef) -> None:
    rows = folders.rows_of(ref, layout.CARTESIAN)
    rows[:, :3] *= 1000
    folders.change_rows(ref, layout.CARTESIAN, rows)


def freeze(ref: EpisodeRef) -> None:
    write_video(folders.video_of(ref), np.repeat(folders.ramp(1), 40, axis=0), 4.0)


def closing_is_opening(ref: EpisodeRef) -> None:
    measured = np.tile(np.concatenate((np.linspace(0, 1, 10), np.linspace(1, 0, 10))), 2)
    folders.change_rows(ref, layout.GRIPPER, measured)
    folders.change_rows(ref, layout.COMMANDED_GRIPPER, (np.roll(measured, -1) < measured).astype(float))


def poison(ref: EpisodeRef) -> None:
    rows = folders.rows_of(ref, layout.GRIPPER)
    rows[5] = np.inf
    folders.change_rows(ref, layout.GRIPPER, rows)


DAMAGE: dict[str, tuple[Callable[[EpisodeRef], object], str]] = {
    "degrees": (in_degrees, "angles reach 179; that is degrees"),
    "millimetres": (in_millimetres, "positions reach 600; that is millimetres"),
    "gripper in 0…255": (
        lambda ref: folders.change_rows(ref, layout.GRIPPER, np.linspace(0, 255, 40)),
        "gripper runs from 0 to 255",
    ),
    "frozen camera": (freeze, "picture stands still while the hand moves 20 cm"),
    "not finite": (poison, "1 of 40 poses are not finite"),
    "commands of another length": (
        lambda ref: folders.change_rows(ref, layout.COMMANDED_GRIPPER, np.zeros(7)),
        "40 poses but 7 gripper commands",
    ),
    "damaged commands": (
        lambda ref: folders.damage_rows(ref, layout.COMMANDED_GRIPPER),
        "action/gripper_position cannot be read",
    ),
    "no metadata": (lambda ref: folders.metadata_of(ref).unlink(), "metadata_*.json is missing"),
    "no video": (lambda ref: folders.video_of(ref).unlink(), "video 10000001.mp4 is missing"),
    "unreadable video": (lambda ref: folders.video_of(ref).write_bytes(b"no"), "cannot open 10000001.mp4"),
    "half a video": (lambda ref: folders.shorten_video(ref, 18), "18 frames, the trajectory 40 rows"),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE.keys())
def test_each_damage_is_named(tmp_path: Path, damage: Callable[[EpisodeRef], object], reason: str) -> None:
    refs = folder_of(tmp_path)
    damage(refs[1])
    report = check_folder(tmp_path)
    assert not report.is_usable  # one in three is more than the five percent allowed
    (bad,) = report.bad
    assert bad.name == refs[1].name
    assert reason in "; ".join(bad.reasons)


def spaces(ref: EpisodeRef) -> None:
    ref.folder.rename(ref.folder.with_name("Thu Jan  1"))


HAZARDS: dict[str, tuple[Callable[[EpisodeRef], object], str]] = {
    "no timestamps": (folders.drop_timestamps, "no timestamps"),
    "stereo files": (
        lambda ref: write_video(
            folders.video_of(ref).with_name("10000001-stereo.mp4"), folders.ramp(40).repeat(2, axis=2), 4.0
        ),
        "stereo videos, not read",
    ),
    "video a little shorter": (lambda ref: folders.shorten_video(ref, 39), "differ by 1: the shorter is used"),
    "spaces in the path": (spaces, "a space in the path"),
    "no wrist video": (lambda ref: folders.video_of(ref, "wrist").unlink(), "no wrist video"),
    "a wrist video with an endless name": (
        lambda ref: folders.change_metadata(ref, wrist_mp4_path="a" * 5000 + ".mp4"),
        "no wrist video",
    ),
    "60 fps in the header": (
        lambda ref: write_video(folders.video_of(ref), open_video(folders.video_of(ref)).frames(range(40)), 60.0),
        "header says 60 fps, timestamps 4: the timestamps are believed",
    ),
    "no extrinsics": (
        lambda ref: folders.change_rows(ref, layout.EXTRINSICS.format(serial="10000001"), None),
        "no extrinsics for this camera",
    ),
    "a rate that four a second do not divide": (
        lambda ref: (
            write_video(folders.video_of(ref), open_video(folders.video_of(ref)).frames(range(40)), 10.0)
            or folders.drop_timestamps(ref)
        ),
        "windows come at 3.33 frames a second, not 4",
    ),
    "other length in the metadata": (
        lambda ref: folders.change_metadata(ref, trajectory_length=99),
        "trajectory_length of the metadata is not the trajectory's",
    ),
}


@pytest.mark.parametrize(("hazard", "note"), HAZARDS.values(), ids=HAZARDS.keys())
def test_each_hazard_of_real_droid_is_noted_and_survived(
    tmp_path: Path, hazard: Callable[[EpisodeRef], object], note: str
) -> None:
    hazard(folder_of(tmp_path, 1)[0])
    report = check_folder(tmp_path)
    assert report.is_usable
    assert any(note in found for found in report.summary()["notes"])


def test_a_note_says_which_episodes_it_is_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder_of(tmp_path / "long", 1)
    names = [f"{folder}/{folder_of(tmp_path / folder, 1, rows=4)[0].name}" for folder in ("other", "short")]
    said = "too short for a window of 8 frames at 4 fps"
    assert check_folder(tmp_path).summary()["noted_episodes"] == {said: names}
    assert cli.run(["data", "check", str(tmp_path)]) == 0
    assert f"{said}: 2, the first {names[0]}\n" in capsys.readouterr().out


def test_failures_and_leftovers_are_counted(tmp_path: Path) -> None:
    folder_of(tmp_path, 1)
    folder_of(tmp_path / "more", 1, success=False)
    (tmp_path / layout.ASIDE / "half").mkdir(parents=True)
    facts = check_folder(tmp_path).summary()
    assert facts["outcomes"] == {"success": 1, "failure": 1}
    assert len(facts["unfinished"]) == 1


def test_parts_are_told_from_whole_episodes(tmp_path: Path) -> None:
    folder_of(tmp_path, 1)
    folder_of(tmp_path / "pairs", 2, rows=5, facts={"branch": "7-0", "left_at": 0})
    folder_of(tmp_path / "repaints", 1, rows=9, facts={"kind": "repaint", "left_at": 3})
    facts = check_folder(tmp_path).summary()
    assert (facts["episodes"], facts["parts"]) == (4, 3)
    assert not facts["notes"]  # a part is not too short for a window, it is meant to be


def test_the_wrist_camera_can_be_the_one(tmp_path: Path) -> None:
    (ref,) = folder_of(tmp_path, 1)
    folders.video_of(ref, "left").unlink()
    assert only(tmp_path).reasons
    assert not only(tmp_path, CheckConfig(camera="wrist")).reasons


def test_grippers_that_all_start_closed_are_a_fault_of_the_folder(tmp_path: Path) -> None:
    for ref in folder_of(tmp_path, 4):
        for path in (layout.GRIPPER, layout.COMMANDED_GRIPPER):
            folders.change_rows(ref, path, 1 - folders.rows_of(ref, path))
    report = check_folder(tmp_path)
    assert not report.bad
    assert not report.is_usable
    assert "100% of episodes start with the gripper closed" in report.faults[0]


def test_a_gripper_that_opens_when_told_to_close_is_a_fault_of_the_folder(tmp_path: Path) -> None:
    refs = folder_of(tmp_path)
    closing_is_opening(refs[0])
    assert not check_folder(tmp_path).bad  # one alone may have been pushed
    for ref in refs[1:]:
        closing_is_opening(ref)
    (fault,) = check_folder(tmp_path).faults
    assert fault.startswith("the gripper moves against its command in 100% of")


def test_a_gripper_in_metres_is_a_fault_of_the_folder(tmp_path: Path) -> None:
    for ref in folder_of(tmp_path):
        folders.change_rows(ref, layout.GRIPPER, 0.08 * folders.rows_of(ref, layout.GRIPPER))
    assert "is that metres?" in check_folder(tmp_path).faults[0]


def test_a_video_damaged_between_its_ends_shows_when_every_frame_is_read(tmp_path: Path) -> None:
    (ref,) = folder_of(tmp_path, 1)
    noise = np.random.default_rng(0).integers(0, 255, (40, 32, 32, 3), dtype=np.uint8)
    write_video(folders.video_of(ref), noise, 4.0)
    data = bytearray(folders.video_of(ref).read_bytes())
    third = len(data) // 3
    data[third : third + 4000] = bytes(4000)
    folders.video_of(ref).write_bytes(bytes(data))
    assert only(tmp_path, CheckConfig(every_frame=True)).reasons


def test_steps_are_measured_against_the_planners_limit(tmp_path: Path) -> None:
    poses_N7 = np.zeros((40, 7))
    poses_N7[:, 0] = np.cumsum([0.1 if n % 4 == 0 else 0.01 for n in range(40)]) / 2
    folder_of(tmp_path, 1, poses_N7=poses_N7)
    steps = check_folder(tmp_path, CheckConfig(step_limit=0.04)).summary()["steps"]
    assert sum(steps["counts"]) == 39
    np.testing.assert_allclose(steps["share_over_limit"], 9 / 39)


@pytest.mark.parametrize("name", ["fps", "step_limit", "bad_share"])
@pytest.mark.parametrize("value", [-1, np.inf, np.nan])
def test_nonsense_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name.replace("_", " ")):
        CheckConfig(**{name: value})


def test_a_window_of_one_frame_and_an_unknown_camera_are_refused() -> None:
    with pytest.raises(ConfigError, match="two frames"):
        CheckConfig(frames_per_clip=1)
    with pytest.raises(ConfigError, match="no camera 'front'"):
        CheckConfig(camera="front")


def test_a_gripper_measured_a_little_outside_of_its_range_will_do(tmp_path: Path) -> None:
    (ref,) = folder_of(tmp_path, 1)
    folders.change_rows(ref, layout.GRIPPER, np.linspace(-0.05, 1.05, 40))
    assert not only(tmp_path).reasons


@pytest.mark.parametrize(
    ("column", "most", "reason"),
    [(0, 3.0, "that is millimetres"), (2, -3.0, "that is millimetres"), (3, 6.38, "degrees")],
)
def test_numbers_are_taken_for_other_units_where_no_arm_could_reach_them(
    tmp_path: Path, column: int, most: float, reason: str
) -> None:
    (ref,) = folder_of(tmp_path, 1)
    rows_N6 = folders.rows_of(ref, layout.CARTESIAN)
    for reaches, is_bad in ((0.99 * most, False), (1.01 * most, True)):
        rows_N6[7, column] = reaches
        folders.change_rows(ref, layout.CARTESIAN, rows_N6)
        assert [reason in said for said in only(tmp_path).reasons] == [True] * is_bad


@pytest.mark.parametrize(("closed", "is_fault"), [(4, False), (5, True)])
def test_a_folder_may_hold_some_grippers_that_start_closed(tmp_path: Path, closed: int, is_fault: bool) -> None:
    for ref in folder_of(tmp_path, 6)[:closed]:
        folders.change_rows(ref, layout.GRIPPER, np.linspace(1, 0, 40))
        folders.change_rows(ref, layout.COMMANDED_GRIPPER, None)
    assert [("start with the gripper closed" in fault) for fault in check_folder(tmp_path).faults] == [True] * is_fault


def test_a_still_picture_of_a_hand_that_hardly_moves_is_no_frozen_camera(tmp_path: Path) -> None:
    poses_N7 = np.zeros((40, 7))
    poses_N7[:, 0] = np.linspace(0.40, 0.44, 40)
    freeze(folder_of(tmp_path, 1, poses_N7=poses_N7)[0])
    assert not only(tmp_path).reasons


@pytest.mark.parametrize(("every_frame", "span"), [(False, "20 to 39 while the hand moves 10 cm"), (True, "15 to 39")])
def test_a_camera_that_freezes_midway_shows(tmp_path: Path, every_frame: bool, span: str) -> None:
    (ref,) = folder_of(tmp_path, 1)
    films_THWC = folders.ramp(40)
    films_THWC[15:] = films_THWC[15]
    write_video(folders.video_of(ref), films_THWC, 4.0)
    (reason,) = only(tmp_path, CheckConfig(every_frame=every_frame)).reasons
    assert reason.startswith("the picture stands still from frame ")
    assert span in reason


def test_a_picture_that_comes_back_after_another_is_no_frozen_camera(tmp_path: Path) -> None:
    (ref,) = folder_of(tmp_path, 1)
    films_THWC = folders.ramp(40)
    films_THWC[20:] = films_THWC[19::-1]
    write_video(folders.video_of(ref), films_THWC, 4.0)
    assert not only(tmp_path, CheckConfig(every_frame=True)).reasons


def test_a_hand_that_never_moves_is_noted(tmp_path: Path) -> None:
    folder_of(tmp_path, 1, poses_N7=np.zeros((40, 7)))
    assert only(tmp_path).notes == ["the hand never moves"]


def test_grippers_that_differ_are_no_fault_of_the_folder(tmp_path: Path) -> None:
    refs = folder_of(tmp_path, 4)
    for ref in refs[:2]:
        closing_is_opening(ref)  # half of them are pushed
        for path in (layout.GRIPPER, layout.COMMANDED_GRIPPER):  # and start closed
            folders.change_rows(ref, path, 1 - folders.rows_of(ref, path))
    for ref in refs[2:]:
        measured = np.tile(np.concatenate((np.linspace(0, 1, 10), np.linspace(1, 0, 10))), 2)
        folders.change_rows(ref, layout.GRIPPER, measured)
        folders.change_rows(ref, layout.COMMANDED_GRIPPER, (np.roll(measured, -1) > measured).astype(float))
    report = check_folder(tmp_path)
    assert sum(each.gripper_opposes for each in report.episodes) >= 5
    assert not report.faults


def test_a_gripper_that_is_never_used_is_no_fault_of_the_folder(tmp_path: Path) -> None:
    for ref in folder_of(tmp_path):
        folders.change_rows(ref, layout.GRIPPER, np.full(40, 0.01))
    assert not check_folder(tmp_path).faults


def test_steps_that_open_or_close_the_gripper_are_counted(tmp_path: Path) -> None:
    (ref,) = folder_of(tmp_path, 1)
    folders.change_rows(ref, layout.GRIPPER, np.repeat([0.0, 0.5, 1.0, 0.8, 0.6, 0.0], [10, 1, 9, 5, 5, 10]))
    assert only(tmp_path).gripper_events == 3  # two close it, one opens it; a fifth is none


@pytest.mark.parametrize(("fps", "rows"), [(4.0, 8), (15.0, 29)])
def test_as_many_frames_as_a_window_has_are_enough_and_fewer_too_few(tmp_path: Path, fps: float, rows: int) -> None:
    folder_of(tmp_path / "a", 1, fps=fps, rows=rows - 1)
    folder_of(tmp_path / "b", 1, fps=fps, rows=rows)
    fewer, enough = check_folder(tmp_path).episodes
    assert (fewer.notes, enough.notes) == (["too short for a window of 8 frames at 4 fps"], [])


def test_the_share_of_bad_episodes_that_is_allowed_may_be_reached(tmp_path: Path) -> None:
    folders.video_of(folder_of(tmp_path, 4)[0]).unlink()
    assert check_folder(tmp_path, CheckConfig(bad_share=0.25)).is_usable
    assert not check_folder(tmp_path, CheckConfig(bad_share=0.24)).is_usable


def test_an_empty_folder_is_not_usable(tmp_path: Path) -> None:
    report = check_folder(tmp_path)
    assert not report.is_usable
    assert "no episode here" in report.faults[0]


def test_the_command_answers_with_words_and_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refs = folder_of(tmp_path / "d")
    assert cli.run(["data", "check", str(tmp_path / "d"), "--sheet", str(tmp_path / "sheet.png")]) == 0
    assert "3 of 3 usable" in capsys.readouterr().out
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert cli.run(["data", "check", str(tmp_path / "d"), "--bad-share", "0.005"]) == 0
    assert "usable (0.0% bad, 0.5% allowed)" in capsys.readouterr().out
    folders.video_of(refs[2]).unlink()
    assert cli.run(["data", "check", str(tmp_path / "d")]) == 1
    said = capsys.readouterr().out
    assert refs[2].name + ": video 10000001.mp4 is missing" in said
    assert "NOT usable (33.3% bad, 5% allowed)" in said
    assert cli.run(["data", "check", str(tmp_path / "d"), "--bad-share", "0.5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bad_episodes"] == {refs[2].name: ["video 10000001.mp4 is missing"]}
    assert cli.run(["data", "check", str(tmp_path / "nowhere")]) == 2


def test_a_sheet_that_cannot_be_made_does_not_cost_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["data", "check", str(tmp_path), "--sheet", str(tmp_path / "sheet.png")]) == 1
    assert "no episode here" in capsys.readouterr().out
    folder_of(tmp_path, 1)
    assert cli.run(["data", "check", str(tmp_path), "--sheet", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "1 of 1 usable" in said.out
    assert said.err.splitlines()[-1] == f"error: {tmp_path} cannot be written: Is a directory"
