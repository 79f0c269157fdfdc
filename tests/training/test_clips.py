from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.data.folders import folder_of
from tests.data.test_video import encode
from tests.training import episodes
from vjepa2_ac.data.video import open_video, write_video
from vjepa2_ac.errors import EpisodeError, InputError
from vjepa2_ac.training.clips import ClipBatches, ClipConfig, cache_videos, find_videos, recorded
from vjepa2_ac.training.masks import MultiBlockConfig
from vjepa2_ac.training.order import Layout
from vjepa2_ac.training.processes import Processes

ALONE = Processes(0, 1, torch.device("cpu"))
CLIPS = ClipConfig(frames_per_clip=4, cache_side=32)
MASKS = (MultiBlockConfig(blocks=2, spatial_scale=(0.2, 0.2)), MultiBlockConfig(blocks=1, spatial_scale=(0.5, 0.5)))


def film(path: Path, frames: int = 12, fps: float = 8.0, size: tuple[int, int] = (48, 64)) -> Path:
    """Frame n has grey level 20 n."""
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = (20 * np.arange(frames)).astype(np.uint8)
    write_video(path, np.broadcast_to(levels[:, None, None, None], (frames, *size, 3)).copy(), fps)
    return path


def batches(draws: list, layout: Layout | None = None) -> ClipBatches:  # type: ignore[type-arg]  # clips by any source
    return ClipBatches(draws, CLIPS, MASKS, (32, 32), (2, 4, 4), layout or Layout(2), seed=0)


def test_a_folder_of_videos_is_found_in_order(tmp_path: Path) -> None:
    for name in ("b/two words.mp4", "a.mp4"):
        film(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a video")
    assert [item.name for item in find_videos(tmp_path)] == ["a.mp4", "b/two words.mp4"]


def test_a_comma_in_a_path_is_none_before_a_column(tmp_path: Path) -> None:
    film(tmp_path / "cups, red" / "a.mp4")
    (tmp_path / "videos.csv").write_text("cups, red/a.mp4,17\n")
    assert [item.path.name for item in find_videos(tmp_path / "videos.csv")] == ["a.mp4"]


@pytest.mark.parametrize(
    "line", ["a film.mp4", "a film.mp4 17", "a film.mp4,17", '"a film.mp4",17', "a film.mp4 1 7", "a film.mp4,1,7"]
)
def test_a_list_of_videos_may_have_labels_and_spaces(tmp_path: Path, line: str) -> None:
    film(tmp_path / "a film.mp4")
    (tmp_path / "videos.csv").write_text(f"# path label\n\n{line}\n")
    assert [item.path.name for item in find_videos(tmp_path / "videos.csv")] == ["a film.mp4"]


def test_raw_droid_is_seen_through_its_cameras(tmp_path: Path) -> None:
    data = episodes.folder(tmp_path, range(2))
    assert [item.camera for item in find_videos(data)] == ["left", "left"]
    clip = recorded(find_videos(data)[0], CLIPS)(np.random.default_rng(0))
    assert clip.shape == (4, 32, 32, 3)


def test_a_collectors_index_is_a_list_of_its_episodes(tmp_path: Path) -> None:
    data = episodes.folder(tmp_path, range(2))
    index = data / "index.jsonl"
    whole = find_videos(data)
    index.write_text("".join(json.dumps({"path": item.name, "frames": 12}) + "\n" for item in whole))
    assert find_videos(index) == whole


def test_a_video_is_no_list_and_a_long_line_no_path(tmp_path: Path) -> None:
    video = tmp_path / "video.mp4"
    video.write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match=r"video\.mp4 is no list"):
        find_videos(video, ("left",))
    (tmp_path / "list.txt").write_text("x" * 5000 + '\n""\n')
    assert len(find_videos(tmp_path / "list.txt", ("left",))) == 2  # which fail when they are opened


def test_nothing_to_see_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no videos in"):
        find_videos(tmp_path)


@pytest.mark.parametrize("fps", [8.0, 8.1])  # or a header a little off
def test_clips_are_taken_at_their_rate(tmp_path: Path, fps: float) -> None:
    (video,) = find_videos(film(tmp_path / "a.mp4", fps=fps).parent)
    clip = recorded(video, CLIPS)(np.random.default_rng(0))
    steps = np.diff(clip.mean(axis=(1, 2, 3)))
    np.testing.assert_allclose(steps, 40, atol=4)  # every second frame of 8 a second


def test_a_short_video_stands_still_at_its_end(tmp_path: Path) -> None:
    (video,) = find_videos(film(tmp_path / "a.mp4", frames=3).parent)
    clip = recorded(video, CLIPS)(np.random.default_rng(0))
    assert (clip[1:] == clip[1]).all()


def test_cached_frames_give_the_clips_of_the_video(tmp_path: Path) -> None:
    videos = find_videos(film(tmp_path / "videos" / "a.mp4", size=(32, 32)).parent)
    (cached,) = cache_videos(videos, CLIPS, tmp_path / "cache", ALONE)
    for seed in range(3):
        clip = cached(np.random.default_rng(seed))
        np.testing.assert_allclose(np.diff(clip.mean(axis=(1, 2, 3))), 40, atol=4)


def test_no_more_than_a_frame_of_a_long_video_is_held_in_full_size(tmp_path: Path) -> None:
    videos = find_videos(film(tmp_path / "videos" / "a.mp4", frames=250, fps=4.0, size=(128, 128)).parent)
    tracemalloc.start()
    (draw,) = cache_videos(videos, replace(CLIPS, frames_per_clip=250), tmp_path / "cache", ALONE)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 250 * 128 * 128 * 3 / 3  # [bytes], of all in full size
    levels = draw(np.random.default_rng(0)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(levels, 20 * np.arange(250) % 256, atol=4)


def test_a_video_whose_keys_are_not_enough_is_decoded_twice_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode(tmp_path / "a.mp4", "libx264", rows=150, **{"x264-params": "intra-refresh=1:keyint=10"})
    videos, opened = find_videos(tmp_path), Mock(wraps=av.open)
    assert len(open_video(path).keys) > 2
    monkeypatch.setattr(av, "open", opened)
    (draw,) = cache_videos(videos, replace(CLIPS, fps=15.0, frames_per_clip=150), tmp_path / "cache", ALONE)
    assert opened.call_count <= 2 + 2  # and its header is read for its size and its rate
    levels = draw(np.random.default_rng(0)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(levels[:70], 20 + 3 * np.arange(70), atol=4)


def test_a_batch_is_a_function_of_its_number(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4")
    film(tmp_path / "b.mp4", frames=20)
    draws = [recorded(item, CLIPS) for item in find_videos(tmp_path)]
    first, again, other = batches(draws)[3], batches(draws)[3], batches(draws)[4]
    assert torch.equal(first["video_BCTHW"], again["video_BCTHW"])
    assert all(map(torch.equal, first["contexts"], again["contexts"]))
    assert not torch.equal(first["video_BCTHW"], other["video_BCTHW"])
    assert first["video_BCTHW"].shape == (2, 3, 4, 32, 32)


def test_videos_that_all_fail_are_named_line_by_line() -> None:
    def broken(name: str) -> Callable[[np.random.Generator], NDArray[np.uint8]]:
        def draw(rng: np.random.Generator) -> NDArray[np.uint8]:
            raise EpisodeError(name, "it ends early")

        return draw

    with pytest.raises(
        InputError, match=r"^10 videos or episodes in a row cannot be decoded:(\n  [ab]: it ends early)+$"
    ):
        batches([broken("a"), broken("b")])[0]


def test_masks_are_a_function_of_the_batch_whatever_came_before(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4")
    draws = [recorded(item, CLIPS) for item in find_videos(tmp_path)]
    shapes = MultiBlockConfig(blocks=1, spatial_scale=(0.1, 0.6), aspect_ratio=(0.5, 2.0))
    begun, resumed = (ClipBatches(draws, CLIPS, [shapes], (32, 32), (2, 4, 4), Layout(2), seed=0) for _ in range(2))
    hidden = set()
    for number in range(8):
        batch = begun[number]
        hidden.add(batch["targets"][0].shape[1])
    assert len(hidden) > 1  # blocks of another size in other batches
    for name in ("contexts", "targets"):
        assert all(map(torch.equal, batch[name], resumed[7][name]))


def test_processes_hide_other_places(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4")
    draws = [recorded(item, CLIPS) for item in find_videos(tmp_path)]
    one, other = (batches(draws, Layout(4, processes=2, rank=rank))[0]["targets"] for rank in (0, 1))
    assert not all(map(torch.equal, one, other))


def test_a_clip_may_end_with_the_last_frame(tmp_path: Path) -> None:
    (video,) = find_videos(film(tmp_path / "a.mp4").parent)
    draw, rng = recorded(video, CLIPS), np.random.default_rng(0)
    ends = {round(float(draw(rng)[-1].mean()) / 20) for _ in range(60)}
    assert ends == {6, 7, 8, 9, 10, 11}  # of twelve frames, four of them two apart


@pytest.mark.parametrize("changed", [{"fps": 2.0}, {"cache_side": 16}])
def test_frames_at_another_rate_or_size_have_another_cache(tmp_path: Path, changed: dict[str, float]) -> None:
    videos = find_videos(film(tmp_path / "videos" / "a.mp4").parent)
    for config in (CLIPS, replace(CLIPS, **changed)):  # type: ignore[arg-type]  # a rate or a size
        cache_videos(videos, config, tmp_path / "cache", ALONE)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_cached_frames_are_those_of_the_camera_that_the_episode_names(tmp_path: Path) -> None:
    folder_of(tmp_path / "episodes", 1)
    videos = find_videos(tmp_path / "episodes", ("left", "right"))

    def starts() -> list[float]:
        draws = cache_videos(videos, CLIPS, tmp_path / "cache", ALONE)
        return [float(draw(np.random.default_rng(0)).mean()) for draw in draws]

    left, right = starts()
    assert left != right
    (metadata,) = videos[0].path.glob("metadata_*.json")
    said = json.loads(metadata.read_text())
    said["left_mp4_path"], said["right_mp4_path"] = said["right_mp4_path"], said["left_mp4_path"]
    metadata.write_text(json.dumps(said))
    assert starts() == [right, left]  # put right since


def test_masks_have_one_size_in_all_processes(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4")
    draws = [recorded(item, CLIPS) for item in find_videos(tmp_path)]
    ranks = [batches(draws, Layout(2, processes=2, rank=rank)) for rank in (0, 1)]
    for part in ranks:
        part[5]
    sizes = [[mask.next_block_size() for mask in part.masks] for part in ranks]
    assert sizes[0] == sizes[1]


def test_a_bad_video_is_named_and_another_drawn(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes(b"not a video")
    draws = [recorded(item, CLIPS) for item in find_videos(tmp_path)]
    batch = batches(draws, Layout(4))[0]
    assert batch["bad"].keys() == {"b.mp4"}
    assert len(batch["video_BCTHW"]) == 4
