from __future__ import annotations

import copy
import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from tests.data import folders
from tests.data.folders import folder_of
from tests.training import episodes
from tests.training.small import ALONE, SHAPE, frame_encoder
from vjepa2_ac import poses
from vjepa2_ac.data import layout
from vjepa2_ac.data.layout import find_episodes
from vjepa2_ac.data.video import write_video
from vjepa2_ac.data.windows import WindowConfig
from vjepa2_ac.errors import InputError, NotEnoughDiskError, TooManyBadEpisodesError
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.models.build import build
from vjepa2_ac.models.encoder import Encoder
from vjepa2_ac.training.latents import FrameEncoder
from vjepa2_ac.training.order import Layout
from vjepa2_ac.training.processes import Processes
from vjepa2_ac.training.store import Store, fingerprint
from vjepa2_ac.training.trajectories import (
    SamplingConfig,
    Trajectory,
    TrajectoryBatches,
    cached_trajectories,
    recorded_trajectories,
)

WINDOW = WindowConfig(frames_per_clip=4)


@pytest.fixture(scope="module")
def encoder() -> FrameEncoder:
    return frame_encoder()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return episodes.folder(tmp_path / "episodes", range(5), close=True)


def open_cached(data: Path, encoder: FrameEncoder, sampling: SamplingConfig | None = None) -> list[Trajectory]:
    return cached_trajectories(data, WINDOW, sampling or SamplingConfig(), encoder, data.parent / "cache", ALONE)


def batches_of(trajectories: list[Trajectory], layout: Layout | None = None, **sampling: float) -> TrajectoryBatches:
    config = SamplingConfig(**sampling)  # type: ignore[arg-type]  # shares and counts
    return TrajectoryBatches(trajectories, WINDOW, config, layout or Layout(4), seed=0)


def test_latents_from_disk_are_those_of_the_frames(data: Path, encoder: FrameEncoder) -> None:
    cached = batches_of(open_cached(data, encoder))[3]
    recorded = batches_of(recorded_trajectories(data, WINDOW, SamplingConfig(), ALONE))[3]
    assert torch.equal(cached["poses_BT7"], recorded["poses_BT7"])
    assert torch.equal(cached["actions_BS7"], recorded["actions_BS7"])
    fresh_BND = encoder(recorded["frames_BTHW3"].flatten(0, 1)).reshape(4, -1, 24)
    torch.testing.assert_close(cached["latents_BND"].float(), fresh_BND, atol=0.02, rtol=0)  # bf16: 8 bits of mantissa


def test_frames_that_are_encoded_within_a_training_step_have_the_same_latents(encoder: FrameEncoder) -> None:
    frames_FHW3 = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    with torch.autocast("cpu", torch.bfloat16):
        within = encoder(frames_FHW3)
    assert torch.equal(within, encoder(frames_FHW3))


def test_actions_lead_from_pose_to_pose(data: Path, encoder: FrameEncoder) -> None:
    batch = batches_of(open_cached(data, encoder))[0]
    reached = poses.integrate(batch["poses_BT7"][:, :-1].numpy(), batch["actions_BS7"].numpy())
    np.testing.assert_allclose(reached, batch["poses_BT7"][:, 1:], atol=1e-5)


def test_the_same_number_gives_the_same_batch_and_processes_share_it(data: Path, encoder: FrameEncoder) -> None:
    trajectories = open_cached(data, encoder)
    whole = batches_of(trajectories, Layout(4))
    halves = [batches_of(trajectories, Layout(2, processes=2, rank=rank)) for rank in (0, 1)]
    for number in (0, 7):
        assert torch.equal(whole[number]["poses_BT7"], batches_of(trajectories, Layout(4))[number]["poses_BT7"])
        joined = torch.cat([half[number]["poses_BT7"] for half in halves])
        assert torch.equal(whole[number]["poses_BT7"], joined)


def test_every_episode_comes_once_an_epoch(data: Path, encoder: FrameEncoder) -> None:
    trajectories = open_cached(data, encoder)
    batches = batches_of(trajectories, Layout(1))
    seen = {float(batches[number]["poses_BT7"][0, 0, 0]) for number in range(5)}
    owners = {next(t.name for t in trajectories if np.isclose(t.poses_R7[:, 0], x, atol=1e-6).any()) for x in seen}
    assert len(owners) == 5


def test_the_cache_is_made_once(data: Path, encoder: FrameEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_cached(data, encoder)
    monkeypatch.setattr(FrameEncoder, "__call__", lambda *_: pytest.fail("encoded again"))
    again = open_cached(data, encoder)
    assert [t.name for t in again] == [t.name for t in first]


def test_the_cache_is_found_again_however_the_way_to_the_episodes_is_written(
    data: Path, encoder: FrameEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_cached(data, encoder)
    monkeypatch.setattr(FrameEncoder, "__call__", lambda *_: pytest.fail("encoded again"))
    monkeypatch.chdir(data.parent)
    (data.parent / "link").symlink_to(data)
    for way in ("episodes", "link"):
        found = cached_trajectories(Path(way), WINDOW, SamplingConfig(), encoder, data.parent / "cache", ALONE)
        assert len(found) == 5


def test_a_trajectory_knows_how_fast_its_rows_follow(tmp_path: Path, encoder: FrameEncoder) -> None:
    data, cache = episodes.folder(tmp_path / "five a second", range(1), fps=5.0), tmp_path / "cache"

    def kept(every_frame: bool) -> tuple[int, float]:
        given = (data, WINDOW, SamplingConfig(), encoder, cache, ALONE)
        (trajectory,) = cached_trajectories(*given, every_frame=every_frame)
        return trajectory.stride, trajectory.fps

    (recorded,) = recorded_trajectories(data, WINDOW, SamplingConfig(), ALONE)
    assert (recorded.stride, recorded.fps) == kept(every_frame=True) == (2, 5.0)
    assert kept(every_frame=False) == (1, 2.5)
    for facts in cache.glob("*/*/*.json"):  # as earlier versions wrote them
        said = json.loads(facts.read_text())
        del said["fps"]
        facts.write_text(json.dumps(said))
    assert kept(every_frame=True) == (2, 8.0)


@pytest.mark.parametrize("name", ["10000001.mov", "again/10000001.mp4"])
def test_a_video_that_was_replaced_is_encoded_again_whatever_it_is_called(
    data: Path, encoder: FrameEncoder, name: str
) -> None:
    ref = find_episodes(data)[0]
    there = ref.folder / layout.RECORDINGS / name
    there.parent.mkdir(exist_ok=True)
    folders.video_of(ref).rename(there)
    folders.change_metadata(ref, left_mp4_path=f"{layout.RECORDINGS}/{name}")
    before = open_cached(data, encoder)[0].read(np.arange(4))["latents_TND"]
    there.rename(data.parent / "film.mp4")
    with pytest.raises(TooManyBadEpisodesError, match=f"video {there.name} is missing"):
        open_cached(data, encoder, SamplingConfig(bad_episodes=0))
    write_video(data.parent / "film.mp4", np.full((12, 32, 32, 3), 200, np.uint8), 4.0)
    (data.parent / "film.mp4").rename(there)
    after = open_cached(data, encoder)[0].read(np.arange(4))["latents_TND"]
    assert not np.array_equal(before, after)


def test_the_word_simulation_in_another_recorders_metadata_means_nothing(tmp_path: Path) -> None:
    (ref,) = folder_of(tmp_path, 1)
    folders.change_metadata(ref, simulation="Isaac")
    trajectories = recorded_trajectories(tmp_path, WINDOW, SamplingConfig(), ALONE, copies=1)
    assert [trajectory.branch for trajectory in trajectories] == [None, None]
    assert all(trajectory.read(np.arange(2))["frames_THW3"].shape[0] == 2 for trajectory in trajectories)


def test_another_encoder_has_another_cache(data: Path, encoder: FrameEncoder) -> None:
    open_cached(data, encoder)
    other = FrameEncoder(build(Encoder, SHAPE, seed=1), encoder.preprocessing, ALONE.device, "fp32")
    open_cached(data, other)
    assert len(list((data.parent / "cache").iterdir())) == 2


def test_latents_that_would_be_others_have_another_cache() -> None:
    def key(name: str = "centre", precision: str = "fp32", normalize: bool = True) -> str:
        preprocessing = Preprocessing(name=name, img_size=SHAPE.img_size)
        encoder = build(Encoder, SHAPE, seed=1)
        return fingerprint(FrameEncoder(encoder, preprocessing, ALONE.device, precision, normalize=normalize).key)

    assert key() == key()
    assert len({key(), key(name="notebook"), key(precision="bf16"), key(normalize=False)}) == 4


def test_frames_at_another_rate_have_another_cache(data: Path, encoder: FrameEncoder) -> None:
    assert {len(trajectory) for trajectory in open_cached(data, encoder)} == {12}
    slow = replace(WINDOW, fps=2.0)
    found = cached_trajectories(data, slow, SamplingConfig(), encoder, data.parent / "cache", ALONE)
    assert {len(trajectory) for trajectory in found} == {6}


def test_each_camera_of_an_episode_has_latents_of_its_own(tmp_path: Path, encoder: FrameEncoder) -> None:
    folder_of(tmp_path / "episodes", 1)
    both = replace(WINDOW, cameras=("left", "right"))
    found = cached_trajectories(tmp_path / "episodes", both, SamplingConfig(), encoder, tmp_path / "cache", ALONE)
    left, right = (trajectory.read(np.arange(3))["latents_TND"] for trajectory in found)
    assert not np.array_equal(left, right)


def test_an_episode_whose_poses_were_put_right_is_not_taken_from_the_cache(data: Path, encoder: FrameEncoder) -> None:
    open_cached(data, encoder)
    with h5py.File(next(data.rglob(layout.TRAJECTORY)), "r+") as file:
        file[layout.CARTESIAN][:, 2] = 0.3
    assert sum((trajectory.poses_R7[:, 2] == 0.3).all() for trajectory in open_cached(data, encoder)) == 1


def test_poses_and_actions_are_as_the_camera_sees_them_where_that_is_asked(data: Path, encoder: FrameEncoder) -> None:
    def drawn(window: WindowConfig) -> tuple[np.ndarray, np.ndarray]:
        batch = TrajectoryBatches(open_cached(data, encoder), window, SamplingConfig(), Layout(4), seed=0)[0]
        return batch["poses_BT7"].double().numpy(), batch["actions_BS7"].numpy()

    seen_BT7 = poses.in_camera_frame(drawn(WINDOW)[0], np.full(6, 0.1))
    poses_BT7, actions_BS7 = drawn(replace(WINDOW, camera_frame=True))
    np.testing.assert_allclose(poses_BT7, seen_BT7, atol=1e-5)
    np.testing.assert_allclose(actions_BS7, poses.pose_differences(seen_BT7), atol=1e-5)


def test_an_encoder_shares_its_cache_with_its_rounded_release() -> None:
    whole, preprocessing = build(Encoder, SHAPE, seed=1), Preprocessing(img_size=SHAPE.img_size)
    rounded = copy.deepcopy(whole).bfloat16().float()  # as a bf16 release is opened
    other = FrameEncoder(copy.deepcopy(whole), preprocessing, ALONE.device, "fp32").key
    keys = [FrameEncoder(each, preprocessing, ALONE.device, "bf16").key for each in (whole, rounded)]
    assert keys[0] == keys[1]
    assert keys[0] != other


def test_two_processes_fill_one_cache(data: Path, encoder: FrameEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Processes, "wait", lambda _: None)
    monkeypatch.setattr(Processes, "united", lambda _, reasons: reasons)
    for rank in (1, 0):
        processes = Processes(rank, 2, ALONE.device)
        lenient = SamplingConfig(bad_episodes=5)  # what the other process has not made yet
        found = cached_trajectories(data, WINDOW, lenient, encoder, data.parent / "cache", processes)
    assert len(found) == 5


def test_episodes_have_the_names_they_are_found_by_not_those_they_were_cached_under(
    data: Path, encoder: FrameEncoder
) -> None:
    names = [trajectory.name for trajectory in open_cached(data, encoder)]
    above = cached_trajectories(data.parent, WINDOW, SamplingConfig(), encoder, data.parent / "cache", ALONE)
    assert [trajectory.name for trajectory in above] == [f"{data.name}/{name}" for name in names]


def test_an_episode_that_is_touched_while_others_are_encoded_is_still_used(
    data: Path, encoder: FrameEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Store.put

    def put_and_touch(self: Store, *item: Any) -> None:
        put(self, *item)
        for file in data.rglob("*.json"):
            os.utime(file, ns=(10**18, 10**18))

    monkeypatch.setattr(Store, "put", put_and_touch)
    assert len(open_cached(data, encoder)) == 5


def test_a_cache_that_does_not_fit_is_refused_before_it_is_begun(
    data: Path, encoder: FrameEncoder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(NotEnoughDiskError):
        open_cached(data, encoder)
    assert "latents: 5 of 5 to make, about 0.00 GB" in capsys.readouterr().err


def test_bad_episodes_are_named_counted_and_limited(data: Path, encoder: FrameEncoder) -> None:
    next(data.rglob("*.mp4")).write_bytes(b"not a video")
    assert len(open_cached(data, encoder)) == 4
    with pytest.raises(TooManyBadEpisodesError, match="limit is 0"):
        open_cached(data, encoder, SamplingConfig(bad_episodes=0))


def test_episodes_that_lack_one_of_two_cameras_are_not_said_to_be_left_out(
    data: Path, tmp_path: Path, encoder: FrameEncoder, capsys: pytest.CaptureFixture[str]
) -> None:
    both = replace(WINDOW, cameras=("left", "right"))  # there is a left one alone
    next(find_episodes(data)[0].folder.glob("metadata_*.json")).unlink()
    for opened in (
        lambda: recorded_trajectories(data, both, SamplingConfig(), ALONE),
        lambda: cached_trajectories(data, both, SamplingConfig(), encoder, tmp_path / "cache", ALONE),
    ):
        assert len(opened()) == 4
        told = capsys.readouterr().err
        assert "\n1 episodes are left out:\n" in told
        assert "\nof 4 episodes, not all of the cameras are used:\n" in told
        assert told.count("metadata names no right camera; it has left") == 4


def test_where_no_episode_can_be_used_that_is_said_and_not_that_they_are_short(
    data: Path, tmp_path: Path, encoder: FrameEncoder
) -> None:
    (tmp_path / "empty").mkdir()
    right = replace(WINDOW, cameras=("right",))
    for opened in (
        lambda source, window: recorded_trajectories(source, window, SamplingConfig(), ALONE),
        lambda source, window: cached_trajectories(source, window, SamplingConfig(), encoder, tmp_path / "c", ALONE),
    ):
        with pytest.raises(InputError, match=r"no episodes at .*empty: no folder there holds trajectory\.h5"):
            opened(tmp_path / "empty", WINDOW)
        with pytest.raises(InputError, match=r"none of the 5 episodes at .*episodes can be used"):
            opened(data, right)


def test_a_video_that_fails_later_is_named_and_another_drawn(data: Path) -> None:
    trajectories = recorded_trajectories(data, WINDOW, SamplingConfig(), ALONE)
    broken = sorted(data.rglob("*.mp4"))[0]
    broken.write_bytes(broken.read_bytes()[:600])
    bad: dict[str, str] = {}
    for number in range(4):
        batch = batches_of(trajectories)[number]
        assert len(batch["poses_BT7"]) == 4
        bad |= batch["bad"]
    assert len(bad) == 1


def test_frames_of_several_sizes_are_refused_before_the_first_update_and_cached_alike(
    data: Path, encoder: FrameEncoder
) -> None:
    video = next((sorted(data.rglob("trajectory.h5"))[2].parent / layout.RECORDINGS).glob("*.mp4"))
    write_video(video, np.zeros((12, 48, 64, 3), np.uint8), 4.0)
    with pytest.raises(InputError, match=r"32 x 32 as in .*, 64 x 48 as in .*; use the latent cache \(cache=true\)"):
        recorded_trajectories(data, WINDOW, SamplingConfig(), ALONE)
    assert len(recorded_trajectories(data, WINDOW, SamplingConfig(), ALONE, batch=1)) == 5  # nothing to share
    assert len(open_cached(data, encoder)) == 5


def test_a_branch_that_fails_later_is_named_and_another_pair_drawn(tmp_path: Path) -> None:
    data = episodes.branches(episodes.folder(tmp_path / "episodes", range(2)))
    twice = [*recorded_trajectories(data, WINDOW, SamplingConfig(), ALONE)]
    batches = batches_of(twice, Layout(2), pair_share=1.0, pair_frames=3)
    broken = next(trajectory for trajectory in twice if trajectory.branch)
    batches.pairs.append([replace(other, branch="sound") for other in twice if not other.branch][:2])
    next(data.rglob(f"{Path(broken.name).name}/recordings/MP4/*.mp4")).write_bytes(b"torn")
    bad: dict[str, str] = {}
    for number in range(4):
        assert len(batches[number]["poses_BT7"]) == 2
        bad |= batches[number]["bad"]
    assert list(bad) == [broken.name]


def test_episodes_that_do_not_know_their_camera_are_left_out_where_that_counts(
    data: Path, encoder: FrameEncoder, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *others = open_cached(data, encoder)
    mixed = [replace(first, extrinsics_R6=None), *others]
    batches = TrajectoryBatches(mixed, WINDOW, SamplingConfig(), Layout(4), seed=0, extrinsics=True)
    assert len(batches.trajectories) == len(others)
    assert f"left out: {first.name}: it has no extrinsics" in capsys.readouterr().err
    TrajectoryBatches(mixed, WINDOW, SamplingConfig(), Layout(4, 2, rank=1), seed=0, extrinsics=True)
    assert not capsys.readouterr().err  # said by one process of many
    assert len(TrajectoryBatches(mixed, WINDOW, SamplingConfig(), Layout(4), seed=0).trajectories) == len(mixed)
    with pytest.raises(TooManyBadEpisodesError):
        TrajectoryBatches(mixed, WINDOW, SamplingConfig(bad_episodes=0), Layout(4), seed=0, extrinsics=True)
    with pytest.raises(InputError, match="none of 2 episodes has its camera's extrinsics"):
        TrajectoryBatches(2 * mixed[:1], WINDOW, SamplingConfig(), Layout(4), seed=0, extrinsics=True)


def test_event_windows_hold_a_move_of_the_gripper(tmp_path: Path, encoder: FrameEncoder) -> None:
    data = episodes.folder(tmp_path / "episodes", range(9))
    episodes.write(data, 9, close=True)
    batches = batches_of(open_cached(data, encoder), event_share=1.0)
    changes = batches[0]["actions_BS7"][..., 6].abs().amax(dim=1)
    assert (changes > 0.05).all()


def track(rows: int, stride: int = 1, closes_at: int | None = None, branch: str | None = None) -> Trajectory:
    """x is the row, in metres; the gripper closes at once, at row `closes_at`."""
    poses_R7 = np.zeros((rows, 7))
    poses_R7[:, 0] = np.arange(rows)
    if closes_at is not None:
        poses_R7[closes_at:, 6] = 1.0
    read = lambda rows_T: {"latents_TND": np.zeros((len(rows_T), 2, 3), np.uint16)}  # noqa: E731  # as brief as it is
    return Trajectory(f"{branch} {rows}", poses_R7, None, stride, 4.0 * stride, branch, read)


def test_every_window_that_fits_is_drawn() -> None:
    batches = batches_of([track(rows=9, stride=2)], Layout(64))
    assert set(batches[0]["poses_BT7"][:, 0, 0].tolist()) == {0.0, 1.0, 2.0}  # seven rows apart at most: 2 · 3 + 1


def test_episodes_too_short_for_a_window_are_counted_by_one_process(capsys: pytest.CaptureFixture[str]) -> None:
    shorter, short, long = (track(rows=rows) for rows in (2, 3, 4))
    said = "2 of 3 episodes are too short for a window of 4 frames at 4 fps: none is drawn from them\n"
    for rank, expected in ((0, said), (1, "")):
        copies = 2 * [shorter, long, short]  # in other colours, say
        assert batches_of(copies, Layout(4, 2, rank)).trajectories == [long, long]
        assert capsys.readouterr().err == expected
    batches_of([long])
    batches_of([long, *2 * [track(rows=3, branch="a")]], pair_share=0.5)  # long enough for pairs
    assert capsys.readouterr().err == ""


def test_windows_slower_than_a_release_will_say_are_counted_by_one_process(
    tmp_path: Path, encoder: FrameEncoder, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, fps in enumerate((15.0, 10.0, 10.0)):
        episodes.write(tmp_path / "data", number, rows=40, fps=fps)
    recorded = recorded_trajectories(tmp_path / "data", WINDOW, SamplingConfig(), ALONE)
    both = recorded, open_cached(tmp_path / "data", encoder)
    capsys.readouterr()
    for trajectories in both:
        batches_of(trajectories, Layout(4, 2, rank=1))
        assert not capsys.readouterr().err
        batches_of(trajectories, Layout(4, 2, rank=0))
        said = "note: of 2 of 3 trajectories windows come at 3.33 frames a second, not 4, "
        assert capsys.readouterr().err.startswith(said)


@pytest.mark.parametrize("closes_at", [1, 2, 9, 18, 19])
@pytest.mark.parametrize("stride", [1, 2])
def test_an_event_lies_inside_its_window_wherever_the_gripper_moves(closes_at: int, stride: int) -> None:
    batches = batches_of([track(20, stride, closes_at)], Layout(32), event_share=1.0)
    closedness_BT = batches[0]["poses_BT7"][..., 6]
    assert (closedness_BT[:, 0] == 0).all()
    assert (closedness_BT[:, -1] == 1).all()


def test_events_come_in_their_share_of_the_windows_and_anywhere_in_them() -> None:
    batch = batches_of([track(2000, closes_at=1000)], Layout(2000), event_share=0.3)[0]
    closes_BS = batch["actions_BS7"][..., 6] > 0.5
    assert float(closes_BS.any(dim=1).float().mean()) == pytest.approx(0.3, abs=0.03)  # three standard deviations
    assert closes_BS.float().mean(dim=0).tolist() == pytest.approx([0.1, 0.1, 0.1], abs=0.02)


def test_a_gripper_that_moves_less_than_an_event_makes_none() -> None:
    moved = [track(20, closes_at=10), track(20, closes_at=10)]
    for trajectory, closedness in zip(moved, (0.04, 0.06), strict=True):
        trajectory.poses_R7[:, 6] *= closedness
    with pytest.raises(InputError, match="no gripper moves"):
        batches_of(moved[:1], event_share=1.0)
    assert batches_of(moved, event_share=1.0).events == [(1, 9)]


def test_pairs_come_in_their_share_of_the_batches_alike_in_all_processes_and_in_either_order() -> None:
    pairs = [track(rows, branch=str(n)) for n in range(3) for rows in (4, 5)]
    for trajectory in pairs:
        trajectory.poses_R7[:, 1] = len(trajectory)
    ranks = [batches_of(pairs, Layout(2, 2, rank), pair_share=0.25, pair_frames=2) for rank in (0, 1)]
    paired, alike = ([batches[number] for number in range(600)] for batches in ranks)
    assert [batch["is_paired"] for batch in paired] == [batch["is_paired"] for batch in alike]
    assert np.mean([batch["is_paired"] for batch in paired]) == pytest.approx(0.25, abs=0.05)
    two = [tuple(batch["poses_BT7"][:, 0, 1].tolist()) for batch in paired if batch["is_paired"]]
    assert set(two) == {(4, 5), (5, 4)}
    assert np.mean([first < second for first, second in two]) == pytest.approx(0.5, abs=0.13)


def test_each_pair_comes_once_an_epoch() -> None:
    pairs = [track(rows, branch=str(n)) for n in range(6) for rows in (4, 5)]
    batches = batches_of(pairs, Layout(4), pair_share=1.0, pair_frames=2)
    drawn: list[str] = []
    batches._window = lambda t, start, frames: drawn.append(t.branch) or TrajectoryBatches._window(t, start, frames)  # type: ignore[method-assign,assignment,func-returns-value,arg-type]  # looks on
    for number in range(3):
        batches[number]
    assert sorted(drawn[::2]) == [str(n) for n in range(6)]


def test_pairs_begin_at_the_same_moment_and_part(tmp_path: Path, encoder: FrameEncoder) -> None:
    data = episodes.branches(episodes.folder(tmp_path / "episodes", range(2)))
    batch = batches_of(open_cached(data, encoder), pair_share=1.0, pair_frames=3)[0]
    assert batch["is_paired"]
    closing = batch["actions_BS7"][:, 0, 6].view(2, 2) > 0.1
    assert closing.sum(dim=1).tolist() == [1, 1]
    assert batch["poses_BT7"].shape == (4, 3, 7)


def test_branches_of_two_collections_that_count_alike_are_not_paired(tmp_path: Path, encoder: FrameEncoder) -> None:
    data = tmp_path / "episodes"
    for collection in ("one", "two"):
        episodes.branches(episodes.folder(data / collection, range(2)))
    trajectories = open_cached(data, encoder)
    groups = Counter(each.branch for each in trajectories if each.branch)
    assert list(groups.values()) == [2, 2, 2, 2]
    assert groups == Counter(
        each.branch for each in recorded_trajectories(data, WINDOW, SamplingConfig(), ALONE) if each.branch
    )


def test_what_cannot_be_sampled_is_said(data: Path, tmp_path: Path, encoder: FrameEncoder) -> None:
    with pytest.raises(InputError, match="left the same state"):
        batches_of(open_cached(data, encoder), pair_share=0.5)
    branches = [track(rows=5, branch="a"), track(rows=6, branch="a")]
    with pytest.raises(InputError, match="no two branches of one state have 6 frames at 4 fps"):
        batches_of(branches, pair_share=0.5, pair_frames=6)
    batches_of(branches, pair_share=0.5, pair_frames=5)
    still = open_cached(episodes.folder(tmp_path / "still" / "episodes", range(2)), encoder)
    with pytest.raises(InputError, match="no gripper moves"):
        batches_of(still, event_share=0.5)
    short = open_cached(episodes.folder(tmp_path / "short" / "episodes", range(2), rows=3), encoder)
    with pytest.raises(InputError, match="long enough for 4 frames"):
        batches_of(short)


def test_fifteen_hertz_is_thinned_to_four(tmp_path: Path, encoder: FrameEncoder) -> None:
    data = episodes.folder(tmp_path / "episodes", range(1), rows=40, fps=15.0)
    (thin,) = open_cached(data, encoder)
    assert (len(thin), thin.stride) == (10, 1)
    every = cached_trajectories(data, WINDOW, SamplingConfig(), encoder, tmp_path / "cache", ALONE, every_frame=True)
    assert (len(every[0]), every[0].stride) == (40, 4)
