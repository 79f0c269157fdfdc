from __future__ import annotations

import wave
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.data.folders import ramp
from vjepa2_ac.data import video as videos
from vjepa2_ac.data.video import Frames, open_video, whole_rate, write_video
from vjepa2_ac.errors import VideoError

LEVEL = 1.5  # grey levels lost to colour conversion and coding of a plain picture


def grey(frames_THWC: Frames) -> np.ndarray:
    return frames_THWC.mean(axis=(1, 2, 3))


def patterned(rows: int) -> Frames:
    """The ramp over a pattern that stays, without which every frame would pass for another scene, and be a key."""
    pattern_HW1 = (
        np.random.default_rng(0).permutation(np.arange(-15, 17)[None].repeat(32, 0).ravel()).reshape(32, 32, 1)
    )
    return np.asarray(ramp(rows) + pattern_HW1, np.uint8)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    write_video(tmp_path / "film.mp4", patterned(40), 4.0)
    return tmp_path / "film.mp4"


def encode(path: Path, codec: str, rows: int = 40, side: int = 64, **options: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(15), options=options)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for pixels in ramp(rows).repeat(side // 32, axis=1).repeat(side // 32, axis=2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def changed(film: Path, name: str, change: Callable[[int, av.Packet], object], **options: str) -> Path:
    """The same stream, its packets changed one by one and nothing decoded."""
    path = film.with_name(name)
    with av.open(str(film)) as source, av.open(str(path), "w", options=options) as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(each for each in source.demux(video=0) if each.size):
            change(number, packet)
            packet.stream = stream
            container.mux(packet)
    return path


def test_what_was_written_is_what_is_read(film: Path) -> None:
    video = open_video(film)
    assert (len(video), video.fps, video.height, video.width, video.codec) == (40, 4.0, 32, 32, "h264")
    np.testing.assert_allclose(grey(video.frames(range(40))), 20 + 3 * np.arange(40), atol=LEVEL)
    assert video.keys == (0, 8, 16, 24, 32)


@pytest.mark.parametrize("numbers", [[0], [39], [17, 3, 3, 39], [8, 16, 24], [7, 8, 9], []])
def test_exactly_the_frames_asked_for_in_the_order_asked(film: Path, numbers: list[int]) -> None:
    video = open_video(film)
    np.testing.assert_array_equal(video.frames(numbers), video.frames(range(40))[numbers], strict=True)


def test_frames_are_decoded_from_the_key_before_them_and_no_further(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []

    class Counted:
        def __init__(self, container: Any) -> None:
            self.streams, self.seek, self.container = container.streams, container.seek, container

        def __enter__(self) -> Counted:
            return self

        def __exit__(self, *_: object) -> None:
            self.container.close()

        def decode(self, stream: Any) -> Iterator[av.VideoFrame]:
            for frame in self.container.decode(stream):
                decoded.append(video.times.index(frame.pts))
                yield frame

    video, opened = open_video(film), videos.open_container
    monkeypatch.setattr(videos, "open_container", lambda path: Counted(opened(path)))
    video.frames([29, 10, 12])
    assert decoded == [8, 9, 10, 11, 12, 24, 25, 26, 27, 28, 29]


def test_frames_that_an_edit_list_cuts_away_are_not_counted(film: Path) -> None:
    step = open_video(film).times[1]

    def earlier(_: int, packet: av.Packet) -> None:
        packet.pts, packet.dts = packet.pts - 10 * step, packet.dts - 10 * step  # type: ignore[operator]

    video = open_video(changed(film, "cut.mp4", earlier, avoid_negative_ts="disabled"))
    np.testing.assert_array_equal(video.frames(range(30)), open_video(film).frames(range(10, 40)), strict=True)


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"bf": "3", "g": "25"}),  # frames stored in another order than shown
        (
            "libx264",
            {"x264-params": "open-gop=1:keyint=10:min-keyint=5:bframes=3"},
        ),  # frames lean on those before a key
        ("libx264", {"x264-params": "intra-refresh=1:keyint=10"}),  # keys that are none: what is seen comes bit by bit
        ("libsvtav1", {"preset": "12"}),
        ("mpeg4", {"g": "12"}),
    ],
)
def test_other_encodings_give_the_same_exact_frames(tmp_path: Path, codec: str, options: dict[str, str]) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV cannot write {codec}")
    video = open_video(encode(tmp_path / "other.mp4", codec, **options))
    numbers = [31, 2, 30, 11, 39]
    assert len(video) == 40
    np.testing.assert_allclose(grey(video.frames(numbers)), 20 + 3 * np.array(numbers), atol=4)
    all_THWC = video.frames(range(40))
    np.testing.assert_array_equal(video.frames(numbers), all_THWC[numbers])
    np.testing.assert_array_equal(np.concatenate([video.frames([n]) for n in range(40)]), all_THWC)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_an_avi_is_read_exactly_or_refused_where_it_does_not_say_when_frames_are_shown(
    tmp_path: Path, codec: str
) -> None:
    video = open_video(encode(tmp_path / "in order.avi", codec, bf="0"))
    np.testing.assert_allclose(grey(video.frames([31, 2])), 20 + 3 * np.array([31, 2]), atol=4)
    with pytest.raises(VideoError, match=r"other\.avi is an AVI with B-frames"):
        open_video(encode(tmp_path / "other.avi", codec, bf="2"))


def test_a_stream_that_is_sought_by_when_frames_are_decoded_is_read_exactly(tmp_path: Path) -> None:
    video = open_video(encode(tmp_path / "camera.ts", "libx264", bf="2", g="10"))
    np.testing.assert_allclose(grey(video.frames([31, 0, 12])), 20 + 3 * np.array([31, 0, 12]), atol=4)


def test_equal_frames_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("film.mp4", "again.mp4"):
        write_video(tmp_path / name, patterned(40).repeat(2, axis=1).repeat(2, axis=2), 4.0)
    assert (tmp_path / "again.mp4").read_bytes() == (tmp_path / "film.mp4").read_bytes()


def test_a_folder_named_after_a_time_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("2026-01-01T12:30:00")  # as a command line says it: relative
    folder.mkdir()
    write_video(folder / "film.mp4", ramp(5), 4.0)
    assert len(open_video(folder / "film.mp4").frames([4])) == 1


def test_a_frame_beyond_the_end_is_refused(film: Path) -> None:
    with pytest.raises(VideoError, match="frames 0 … 39; asked for 40"):
        open_video(film).frames([40])


def test_damage_is_refused_and_not_concealed(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (16, 64, 64, 3), dtype=np.uint8)
    write_video(tmp_path / "noise.mp4", noise, 4.0)
    data = bytearray((tmp_path / "noise.mp4").read_bytes())
    data[-3000:-2000] = bytes(1000)
    (tmp_path / "noise.mp4").write_bytes(data)
    with pytest.raises(VideoError, match=r"noise\.mp4"):
        open_video(tmp_path / "noise.mp4").frames(range(16))


def test_a_cut_off_file_is_refused(film: Path) -> None:
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    with pytest.raises(VideoError, match=r"film\.mp4"):
        open_video(film).frames([39])


def test_a_file_that_shrinks_after_it_was_opened_is_refused(film: Path) -> None:
    video = open_video(film)
    write_video(film, patterned(20), 4.0)
    with pytest.raises(VideoError, match=r"film\.mp4 is damaged: frame 39 of 40 does not decode"):
        video.frames([3, 39])


def test_frames_of_one_time_are_refused(film: Path) -> None:
    step = open_video(film).times[1]

    def crowd(number: int, packet: av.Packet) -> None:
        if number:
            packet.pts = packet.dts + (0 if number == 2 else step)  # type: ignore[operator]

    with pytest.raises(VideoError, match="several frames claim the same time"):
        open_video(changed(film, "crowded.mp4", crowd))


def test_what_holds_no_frames_is_refused(film: Path) -> None:
    with pytest.raises(VideoError, match=r"bare\.h264 holds no frames"):  # which says of no frame when it is shown
        open_video(changed(film, "bare.h264", lambda *_: None))
    sound = film.with_name("sound.wav")
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(1600))
    with pytest.raises(VideoError, match=r"sound\.wav holds no video"):
        open_video(sound)
    with pytest.raises(VideoError, match=r"video none\.mp4 is missing"):
        open_video(film.with_name("none.mp4"))


def test_a_codec_that_nobody_knows_is_refused(film: Path) -> None:
    data = film.read_bytes()
    named = data.rindex(b"avc1")  # in the list of its streams
    film.write_bytes(data[:named] + b"none" + data[named + 4 :])
    with pytest.raises(VideoError, match=r"film\.mp4 is of a codec that this FFmpeg does not know"):
        open_video(film)


def test_a_title_may_be_written_in_anything(film: Path) -> None:
    before_THWC = open_video(film).frames(range(40))
    data = film.read_bytes()
    assert b"VideoHandler" in data
    film.write_bytes(data.replace(b"VideoHandler", "Küchenkamera".encode("latin-1")))
    np.testing.assert_array_equal(open_video(film).frames(range(40)), before_THWC)


def test_a_video_whose_pictures_change_their_size_is_refused(tmp_path: Path) -> None:
    path, number = tmp_path / "two.mkv", 0
    with av.open(str(path), "w") as container:
        stream = None
        for side in (64, 128):
            part = encode(tmp_path / f"{side}.mkv", "libx264", side=side, x264opts="repeat-headers=1:bframes=0")
            with av.open(str(part)) as source:
                stream = stream or container.add_stream_from_template(source.streams.video[0])
                for packet in (each for each in source.demux(video=0) if each.size):
                    packet.pts = packet.dts = number
                    packet.time_base, packet.stream = Fraction(1, 15), stream
                    number += 1
                    container.mux(packet)
    assert open_video(path).frames(range(40)).shape == (40, 64, 64, 3)
    with pytest.raises(VideoError, match=r"two\.mkv changes its size: frame 50 is 128 × 128, the first 64 × 64"):
        open_video(path).frames([3, 50])


@pytest.mark.parametrize(
    ("rate", "taken"), [(4.02, 4.0), (3.9, 4.0), (29.97, 30.0), (4.13, 4.13), (3.87, 3.87), (0.4, 0.4), (0.0, 0.0)]
)
def test_a_rate_within_three_percent_of_a_whole_number_is_that_number(rate: float, taken: float) -> None:
    assert whole_rate(rate) == taken


def test_noise_is_not_a_video(tmp_path: Path) -> None:
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(VideoError, match=r"cannot open noise\.mp4"):
        open_video(tmp_path / "noise.mp4")


def test_frames_that_cannot_be_h264_are_refused(tmp_path: Path) -> None:
    for height, width in ((31, 32), (32, 31)):
        with pytest.raises(VideoError, match=f"even height and width, got {height} × {width}"):
            write_video(tmp_path / "odd.mp4", np.zeros((3, height, width, 3), dtype=np.uint8), 4.0)
    with pytest.raises(VideoError, match="uint8"):
        write_video(tmp_path / "float.mp4", np.zeros((3, 32, 32, 3)), 4.0)  # type: ignore[arg-type]  # that is the point
    for shape in ((3, 32, 32, 4), (32, 32, 3), (0, 32, 32, 3)):
        with pytest.raises(VideoError, match="video needs uint8"):
            write_video(tmp_path / "shape.mp4", np.zeros(shape, dtype=np.uint8), 4.0)
    with pytest.raises(VideoError, match=r"got a list: np\.stack makes one array of frames"):
        write_video(tmp_path / "list.mp4", list(ramp(3)), 4.0)  # type: ignore[arg-type]  # that is the point
