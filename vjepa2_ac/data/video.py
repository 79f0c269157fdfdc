"""Reading of exactly the video frames that are asked for, and writing of H.264 with little loss.

Shapes: T frames in a row, H height, W width; frames are RGB uint8.
"""

from __future__ import annotations

import bisect
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from numpy.typing import NDArray

from vjepa2_ac.errors import VideoError

Frames = NDArray[np.uint8]

FRAME_BETWEEN_KEYS = 8  # so that a window of 8 frames decodes at most 16; half the size of all-key video
QUALITY = 16  # x264 constant rate factor: 0.6 dB below what 4:2:0 can hold of simulated frames (docs/data.md)


@dataclass(frozen=True, slots=True)
class Video:
    """A video file's properties, and where each of its frames is. Made by `open_video`."""

    path: Path
    fps: float  # as the header states it, which need not be true
    height: int
    width: int
    codec: str
    times: tuple[int, ...]  # presentation time of each frame, in the stream's ticks, rising
    keys: tuple[int, ...]  # numbers of the frames where decoding can start

    def __len__(self) -> int:
        return len(self.times)

    @property
    def rate(self) -> float:
        """The frames a second to choose strides by: a rate slightly above a whole number counts as that number."""
        return min(self.fps, whole_rate(self.fps))

    def frames(self, numbers: Sequence[int] | NDArray[np.int64]) -> Frames:
        """The frames with these numbers, RGB [T, H, W, 3], in the order asked; decodes no others than it must.

        Raises VideoError when one is not there or does not decode. (Flipped bits that still form a valid stream go
        unnoticed: H.264 carries no checksum.)
        """
        wanted = sorted({int(number) for number in numbers})
        found = dict(self.one_by_one(wanted))
        if not wanted:
            return np.empty((0, self.height, self.width, 3), dtype=np.uint8)
        return np.stack([found[int(number)] for number in numbers])

    def one_by_one(self, wanted: Sequence[int]) -> Iterator[tuple[int, Frames]]:
        """The frames [H, W, 3] with their numbers, which must rise, one after the other, so that none need be kept."""
        if wanted and not 0 <= wanted[0] <= wanted[-1] < len(self):
            raise VideoError(f"{self.path.name} has frames 0 … {len(self) - 1}; asked for {wanted[0]} … {wanted[-1]}")
        missing = set(wanted)
        try:
            for number, frame_HW3 in self._found(wanted):
                missing.remove(number)
                yield number, frame_HW3
        except (av.error.FFmpegError, OSError) as error:
            raise VideoError(f"cannot decode {self.path.name}: {_reason(error)}") from error
        if missing:
            raise VideoError(f"{self.path.name} is damaged: frame {min(missing)} of {len(self)} does not decode")

    def _found(self, wanted: Sequence[int]) -> Iterator[tuple[int, Frames]]:
        """The frames that decode: from the key frames before them or, where that is not enough, from the first frame.

        (An open group of pictures needs the one before it; with intra refresh, a key frame is whole only some frames
        later.)
        """
        given = 0
        with contextlib.suppress(av.error.FFmpegError):
            for number, frame_HW3 in self._decode(wanted, self.keys):
                if number != wanted[given]:
                    break
                yield number, frame_HW3
                given += 1
        if given < len(wanted):
            yield from self._decode(wanted[given:], ())

    def _decode(self, wanted: Sequence[int], keys: tuple[int, ...]) -> Iterator[tuple[int, Frames]]:
        with open_container(self.path) as container:
            stream = container.streams.video[0]
            stream.codec_context.options = {"err_detect": "explode"}  # damage is an error, not a smeared picture
            for key, numbers in _runs(wanted, keys):
                if keys:  # else from the start of the file, where seeking to its first frame may miss it (MPEG-TS)
                    container.seek(self.times[key], stream=stream)
                missing = {self.times[number]: number for number in numbers}
                last = max(missing)
                for frame in container.decode(stream):
                    if frame.pts in missing:
                        number = missing.pop(frame.pts)
                        self._refuse_another_size(number, frame)
                        # The plain conversion is the one decord makes, so pixels equal those of the reference.
                        yield number, np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                    if not missing or (frame.pts is not None and frame.pts > last):
                        break

    def _refuse_another_size(self, number: int, frame: av.VideoFrame) -> None:
        if (frame.width, frame.height) != (self.width, self.height):
            raise VideoError(
                f"{self.path.name} changes its size: frame {number} is {frame.width} × {frame.height}, "
                f"the first {self.width} × {self.height}"
            )


def open_video(path: Path) -> Video:
    """Read a video's header and packet table, decoding nothing. Raises VideoError when it is not a usable video."""
    try:
        if not path.is_file():
            raise VideoError(f"video {path.name} is missing")
        with open_container(path) as container:
            if not container.streams.video:
                raise VideoError(f"{path.name} holds no video")
            stream = container.streams.video[0]
            packets = sorted(
                (packet.pts, packet.is_keyframe)
                for packet in container.demux(stream)
                if packet.pts is not None and packet.size and not packet.is_discard
            )
            codec = stream.codec_context
            if codec is None:
                raise VideoError(f"{path.name} is of a codec that this FFmpeg does not know")
            if container.format.name == "avi" and codec.has_b_frames:
                raise VideoError(f"{path.name} is an AVI with B-frames, which does not say when one is shown; use MP4")
            rate = stream.average_rate or stream.guessed_rate
            height, width, name = codec.height, codec.width, codec.name
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(f"cannot open {path.name}: {_reason(error)}") from error
    if not packets or not rate:
        raise VideoError(f"{path.name} holds no frames")
    times = tuple(time for time, _ in packets)
    if len(set(times)) != len(times):
        raise VideoError(f"{path.name} is damaged: several frames claim the same time")
    keys = tuple(number for number, (_, is_key) in enumerate(packets) if is_key)
    return Video(path, float(rate), height, width, _NAMES.get(name, name), times, keys)


def whole_rate(rate: float) -> float:
    """`rate`, rounded where it is within 3 % of a whole number: clocks jitter."""
    return float(round(rate)) if round(rate) and abs(rate / round(rate) - 1) < 0.03 else rate


def write_video(path: Path, frames_THWC: Frames, fps: float, *, quality: int = QUALITY) -> None:
    """Write RGB frames [T, H, W, 3] as H.264 in an MP4 that every player and every DROID reader opens.

    It is encoded on one thread and carries no date, so that equal frames give equal bytes (except for frames of 32 × 32
    pixels and fewer, of which x264 now and then encodes one differently).
    """
    if not isinstance(frames_THWC, np.ndarray):
        kind = type(frames_THWC).__name__
        raise VideoError(f"video needs uint8 [T, H, W, 3], got a {kind}: np.stack makes one array of frames")
    if frames_THWC.ndim != 4 or frames_THWC.shape[-1] != 3 or frames_THWC.dtype != np.uint8 or not len(frames_THWC):
        raise VideoError(f"video needs uint8 [T, H, W, 3], got {frames_THWC.dtype} {list(frames_THWC.shape)}")
    _, height, width, _ = frames_THWC.shape
    if height % 2 or width % 2:
        raise VideoError(f"H.264 needs an even height and width, got {height} × {width}")
    with av.open(
        for_ffmpeg(path), "w", format="mp4", options={"fflags": "+bitexact", "movflags": "+faststart"}
    ) as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(float(fps)).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.colorspace = Colorspace.SMPTE170M  # BT.601, what decoders assume at this size
        stream.codec_context.color_range = ColorRange.MPEG
        stream.options = {"crf": str(quality), "preset": "veryfast", "g": str(FRAME_BETWEEN_KEYS), "bf": "0"}
        for pixels_HWC in frames_THWC:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels_HWC), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p", interpolation=_ACCURATE, threads=1)))
        container.mux(stream.encode())


def _runs(wanted: Sequence[int], keys: tuple[int, ...]) -> list[tuple[int, list[int]]]:
    """The wanted frames as runs: the key frame where decoding starts, and the frames wanted before the next start."""
    runs: list[tuple[int, list[int]]] = []
    for number in wanted:
        key = keys[max(bisect.bisect_right(keys, number) - 1, 0)] if keys else 0
        if runs and key == runs[-1][0]:
            runs[-1][1].append(number)
        else:
            runs.append((key, [number]))
    return runs


def open_container(path: Path) -> InputContainer:
    """A file opened by FFmpeg, even if its title or other metadata are not UTF-8."""
    return av.open(for_ffmpeg(path), metadata_errors="replace")


def for_ffmpeg(path: Path) -> str:
    """A path as FFmpeg takes it: absolute, for `12` in a relative `12:30/film.mp4` would be taken for a protocol."""
    return str(path.absolute())


_ACCURATE = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP  # + 0.4 dB over the default
_NAMES = {"libdav1d": "av1", "libx264": "h264"}


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
