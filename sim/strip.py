"""Films made small enough for a page: a GIF that plays them one after the other, or a picture with a row for each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import av.error
import av.filter
import cv2
import numpy as np
from av.container import InputContainer

from sim.film import Frame
from vjepa2_ac.data.video import for_ffmpeg, open_container
from vjepa2_ac.errors import InputError
from vjepa2_ac.files import make_folder, whole

GIF_FRAMES_PER_SECOND = 5
PAUSE = 5  # frames of a GIF for which each film's end stands still
COLOURS = 96


def gif(path: Path, films: Sequence[Path], width: int = 400) -> None:
    """Write the films as one GIF, at their own speed, `width` [px] wide, with one palette made for all of them."""
    frames = [frame for film in films for frame in _thinned(film, width)]
    if len({frame.shape for frame in frames}) > 1:
        raise InputError("the films differ in size; make a GIF of each")
    make_folder(path.parent)
    with whole(path) as aside, av.open(for_ffmpeg(aside), "w", format="gif") as container:
        stream = container.add_stream("gif", rate=GIF_FRAMES_PER_SECOND)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "pal8"
        for frame in _with_palette(frames):
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def strip(films: Sequence[Path], columns: int = 5, width: int = 240) -> Frame:
    """A picture with a row for each film: `columns` moments of it, from its first to its last, each `width` [px]."""
    rows = []
    for film in films:
        frames = list(read(film))
        moments = [frames[round(at)] for at in np.linspace(0, len(frames) - 1, columns)]
        rows.append(np.concatenate([_narrowed(frame, width) for frame in moments], axis=1))
    if len({row.shape for row in rows}) > 1:
        raise InputError("the films differ in size; make a strip of each")
    return np.concatenate(rows)


def read(film: Path) -> Iterator[Frame]:
    """The frames of a film. Raises InputError for a file that is no film or has no picture."""
    with _opened(film) as container:
        frame = None
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
        if frame is None:
            raise InputError(f"{film} is no film: it has no picture")


@contextmanager
def _opened(film: Path) -> Iterator[InputContainer]:
    try:
        with open_container(film) as container:
            if not container.streams.video:
                raise InputError(f"{film} is no film: it has no picture")
            yield container
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"{film} is no film that can be read: {error}") from None


def _thinned(film: Path, width: int) -> list[Frame]:
    """The film's frames at the rate of the GIF, the last one repeated for `PAUSE` frames more."""
    per_frame, frames = GIF_FRAMES_PER_SECOND / _rate(film), list[Frame]()
    for number, frame in enumerate(read(film), start=1):
        moments = math.ceil(number * per_frame)  # until the next frame comes
        if moments > len(frames):
            frames += [_narrowed(frame, width)] * (moments - len(frames))
    return [*frames, *frames[-1:] * PAUSE]


def _rate(film: Path) -> Fraction:
    """Frames per second of a film."""
    with _opened(film) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate or stream.guessed_rate
    if not rate:
        raise InputError(f"{film} does not say how fast it plays")
    return rate


def _narrowed(frame: Frame, width: int) -> Frame:
    height = frame.shape[0] * width // frame.shape[1] // 2 * 2
    return np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _with_palette(frames: Sequence[Frame]) -> Iterator[av.VideoFrame]:
    """The frames in the few colours that suit all of them best; without dithering, so still parts do not flicker."""
    height, width = frames[0].shape[:2]
    tick = Fraction(1, GIF_FRAMES_PER_SECOND)
    graph = av.filter.Graph()
    source = graph.add_buffer(width=width, height=height, format=av.VideoFormat("rgb24"), time_base=tick)
    twice, palette = graph.add("split"), graph.add("palettegen", f"max_colors={COLOURS}")
    painted, sink = graph.add("paletteuse", "dither=none"), graph.add("buffersink")
    source.link_to(twice)
    twice.link_to(palette, 0, 0)
    twice.link_to(painted, 1, 0)
    palette.link_to(painted, 0, 1)
    painted.link_to(sink)
    graph.configure()
    for number, frame in enumerate(frames):
        drawn = av.VideoFrame.from_ndarray(frame, format="rgb24")
        drawn.pts, drawn.time_base = number, tick
        source.push(drawn)
    source.push(None)
    while True:
        try:
            painted_frame = sink.pull()
        except av.error.EOFError:
            return
        assert isinstance(painted_frame, av.VideoFrame)
        yield painted_frame
