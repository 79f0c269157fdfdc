"""Batches for pretraining: randomly cropped clips of videos, and the masks that go with them.

Videos come from a CSV or text file with one path per line, a folder of videos, or raw DROID episodes. They are decoded
as they are drawn, or once into a store of small uint8 frames, so that a small model need not wait for the decoder.

Legend: B batch · C colours · T frames of a clip · F frames of a video · H, W pixels.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from vjepa2_ac.data.episodes import BadEpisodes, open_episode
from vjepa2_ac.data.layout import (
    CAMERAS,
    INDEX,
    EpisodeRef,
    find_episodes,
    is_folder,
    is_there,
    lines_of,
    possible_paths,
    video_path,
)
from vjepa2_ac.data.video import Frames, Video, open_video
from vjepa2_ac.errors import ConfigError, EpisodeError, InputError, VideoError
from vjepa2_ac.images import RandomResizedCrop
from vjepa2_ac.training.masks import MultiBlockConfig, MultiBlockMasks
from vjepa2_ac.training.order import ATTEMPTS, Layout, first_readable, generator_of, shuffled
from vjepa2_ac.training.processes import Processes
from vjepa2_ac.training.store import Facts, Store, Work, fill, identity_of_episode, identity_of_files

SUFFIXES = (".mp4", ".webm", ".mkv", ".avi", ".mov", ".m4v")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipConfig:
    """The length, rate and crop of a clip; the defaults are those of the released pretraining."""

    frames_per_clip: int = 16
    fps: float = 4.0
    scale: tuple[float, float] = (0.3, 1.0)  # of the frame's area
    ratio: tuple[float, float] = (0.75, 1.35)  # width over height
    flip: bool = True
    cameras: tuple[str, ...] = ("left",)  # of raw DROID episodes
    cache: bool = False  # decode everything once, at `cache_side`
    cache_side: int = 128  # [px] the short side of cached frames
    bad_videos: int = 100  # that may be left out, each named and counted

    def __post_init__(self) -> None:
        if self.frames_per_clip < 1 or self.fps <= 0 or self.cache_side < 1 or self.bad_videos < 0:
            raise ConfigError("a clip has at least one frame, at a rate above 0; cache_side is in pixels")
        if not self.cameras or any(camera not in CAMERAS for camera in self.cameras):
            raise ConfigError(f"cameras are some of {', '.join(CAMERAS)}; got {self.cameras}")
        self.crop((1, 1))

    def crop(self, img_size: tuple[int, int]) -> RandomResizedCrop:
        """The random crop of a clip to this size."""
        return RandomResizedCrop(img_size=img_size, scale=self.scale, ratio=self.ratio, flip=self.flip)


@dataclass(frozen=True, slots=True)
class VideoSource:
    """A video that has been found but not yet opened; for an episode, `path` is its folder and `camera` is set."""

    name: str
    path: Path
    camera: str | None = None

    def open(self, fps: float) -> tuple[Video, int]:
        """The video, and the stride in its frames that gives `fps` or less; EpisodeError says what is wrong."""
        if self.camera is not None:
            episode = open_episode(EpisodeRef(self.path, self.name), self.camera)
            return episode.video, episode.stride(fps)
        try:
            video = open_video(self.path)
        except VideoError as error:
            raise EpisodeError(self.name, str(error)) from error
        return video, max(1, math.ceil(video.rate / fps))

    @property
    def video_bytes(self) -> int:
        """The size of the video's file, by which a resumed run recognises it; 0 where there is none."""
        try:
            path = self.path if self.camera is None else video_path(self.path, self.camera, self.name)
            return path.stat().st_size
        except (EpisodeError, OSError):
            return 0


def find_videos(source: Path, cameras: Sequence[str] = ("left",)) -> list[VideoSource]:
    """The videos of a folder or list, one per camera of an episode, in a fixed order; InputError without any."""
    if source.is_dir() or source.name == INDEX:
        episodes = find_episodes(source)
        if episodes:
            return [VideoSource(ref.name, ref.folder, camera) for ref in episodes for camera in cameras]
        found = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        videos = [VideoSource(str(path.relative_to(source)), path) for path in found]
    elif source.is_file():
        videos = _listed(source, cameras)
    else:
        raise InputError(f"no videos at {source}: there is no such folder or file")
    if not videos:
        raise InputError(f"no videos in {source}; expected {', '.join(SUFFIXES)}, or raw DROID episodes")
    return videos


def _listed(listing: Path, cameras: Sequence[str]) -> list[VideoSource]:
    """The videos of a list: a path per line, relative to the list or the working directory.

    More columns may follow after commas or spaces.
    """
    videos: list[VideoSource] = []
    for line in lines_of(listing).values():
        paths = possible_paths(line, listing.parent)
        path = next((path for path in paths if is_there(path)), listing.parent / line)
        videos += (
            [VideoSource(line, path, camera) for camera in cameras] if is_folder(path) else [VideoSource(line, path)]
        )
    return videos


def recorded(source: VideoSource, config: ClipConfig) -> Callable[[np.random.Generator], Frames]:
    """A function that draws random clips of a video and decodes it each time."""

    def draw(rng: np.random.Generator) -> Frames:
        video, stride = source.open(config.fps)
        try:
            return video.frames(_numbers(len(video), stride, config.frames_per_clip, rng))
        except VideoError as error:
            raise EpisodeError(source.name, str(error)) from error

    return draw


def cached(store: Store, identity: str, config: ClipConfig) -> Callable[[np.random.Generator], Frames]:
    """A function that draws random clips of a video from the store, whose frames have the right rate already."""

    def draw(rng: np.random.Generator) -> Frames:
        return store.read(identity, _numbers(len(store.rows(identity)), 1, config.frames_per_clip, rng))

    return draw


def _numbers(length: int, stride: int, frames: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The frame numbers of a clip that begins at random; where a video is too short, its last frame repeats."""
    start = int(rng.integers(max(1, length - (frames - 1) * stride)))
    return np.minimum(start + stride * np.arange(frames, dtype=np.int64), length - 1)


def cache_videos(
    videos: Sequence[VideoSource], config: ClipConfig, root: Path, processes: Processes
) -> list[Callable[[np.random.Generator], Frames]]:
    """Decode into the store what is not there yet; returns for each readable video a function that draws clips."""
    store = Store.keyed(root, {"what": "frames", "fps": config.fps, "side": config.cache_side})
    bad = BadEpisodes(config.bad_videos)

    def read(item: VideoSource) -> Frames:
        video, stride = item.open(config.fps)
        decoded = video.one_by_one(range(0, len(video), stride))  # an hour in full size would take a machine's memory
        try:
            return np.stack([_shrunk(frame_HW3, config.cache_side) for _, frame_HW3 in decoded])
        except VideoError as error:
            raise EpisodeError(item.name, str(error)) from error

    def size(item: VideoSource) -> int:
        video, stride = item.open(config.fps)
        side = config.cache_side / min(video.height, video.width)
        return round(-(-len(video) // stride) * video.height * video.width * 3 * min(1.0, side) ** 2)

    def finish(frames_FHW3: Frames) -> tuple[Frames, Facts]:
        return frames_FHW3, {"frames": len(frames_FHW3)}

    work = Work("frames", _identity, lambda item: item.name, read, finish, size)
    made = fill(store, videos, work, bad, processes)
    if processes.is_first:
        for name, reason in bad.reasons.items():
            print(f"left out: {name}: {reason}", file=sys.stderr)
    if not made:
        raise InputError("none of the videos can be read")
    return [cached(store, identity, config) for identity, _ in made]


def _identity(item: VideoSource) -> str:
    if not is_there(item.path):
        return identity_of_files(also=(str(item.path), "missing"))
    if item.camera is not None:
        return identity_of_episode(item.path, item.camera, also=(item.camera,))
    return identity_of_files(item.path, also=("",))


def _shrunk(frame_HW3: Frames, side: int) -> Frames:
    height, width, _ = frame_HW3.shape
    scale = side / min(height, width)
    if scale >= 1:
        return frame_HW3
    size = (round(height * scale), round(width * scale))
    pixels_13HW = torch.from_numpy(frame_HW3).movedim(-1, 0)[None].float()
    pixels_13hw = F.interpolate(pixels_13HW, size, mode="bilinear", align_corners=False, antialias=True)
    return np.asarray(pixels_13hw[0].round().clamp(0, 255).to(torch.uint8).movedim(0, -1).numpy())


class ClipBatches:
    """The micro-batches of a pretraining run: clips and their masks, each a pure function of its number."""

    def __init__(
        self,
        draws: Sequence[Callable[[np.random.Generator], Frames]],
        config: ClipConfig,
        masks: Sequence[MultiBlockConfig],
        img_size: tuple[int, int],
        grid_THW: tuple[int, int, int],
        layout: Layout,
        seed: int,
        found: Sequence[VideoSource] = (),  # readable or not; a resumed run recognises its data by it
    ) -> None:
        self.draws, self.layout, self.seed, self.found = draws, layout, seed, found
        self.crop = config.crop(img_size)
        self.masks = [MultiBlockMasks(grid_THW, mask) for mask in masks]

    def __getitem__(self, micro_batch: int) -> dict[str, Any]:
        """`video_BCTHW`; `contexts` and `targets`, lists of token ids [B, K], one per mask; `bad` videos."""
        bad: dict[str, str] = {}
        clips = [self._clip(sample, bad) for sample in self.layout.samples(micro_batch)]
        generator = torch.Generator().manual_seed(
            int(generator_of(self.seed, micro_batch, attempt=ATTEMPTS + self.layout.rank).integers(2**62))
        )
        masks = []
        for draw in self.masks:
            draw.calls = micro_batch  # this fixes the size of the blocks, the same in all processes
            masks.append(draw(len(clips), generator))
        return {
            "video_BCTHW": torch.stack(clips),
            "contexts": [mask.context_BK for mask in masks],
            "targets": [mask.target_BK for mask in masks],
            "bad": bad,
        }

    def _clip(self, sample: int, bad: dict[str, str]) -> torch.Tensor:
        def draw(attempt: int) -> torch.Tensor:
            rng = generator_of(self.seed, sample, attempt)
            which = sample if attempt == 0 else int(rng.integers(len(self.draws)))
            frames_THW3 = self.draws[shuffled(len(self.draws), self.seed, which)](rng)
            crops, flips = random.Random(int(rng.integers(2**62))), np.random.RandomState(int(rng.integers(2**31)))
            return self.crop(frames_THW3, crops, flips).movedim(0, 1)

        return first_readable(draw, bad)
