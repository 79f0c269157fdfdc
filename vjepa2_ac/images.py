"""Preparation of camera frames for the encoder: crop, resize, and normalise by ImageNet's mean and standard deviation.

Every way in which frames were prepared for the released models is here by name, because a model sees well only frames
that are prepared as in its training:

| name       | crop                                       | resize                     | used by                      |
|------------|--------------------------------------------|----------------------------|------------------------------|
| `centre`   | largest centred window of the model's      | antialiased                | the models trained here      |
|            | aspect                                     |                            |                              |
| `notebook` | largest centred square                     | bilinear, not antialiased  | released planning notebook   |
| `droid`    | centred, aspect held within 0.75 … 1.35,   | bilinear, not antialiased  | post-training of V-JEPA 2-AC |
|            | then squashed to the model's               |                            |                              |
| `hub`      | centred square                             | before the crop, OpenCV    | released evaluation          |
|            |                                            | bilinear: short side to    |                              |
|            |                                            | 256/224 of the model's     |                              |

`Preprocessing` names one and travels with a release. `RandomResizedCrop` is the augmentation of pretraining, and
`hub_views` the several crops of the probes' evaluation.

Shapes: B frames, H and W height and width, 3 channels; frames are uint8 RGB, model input is float32.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vjepa2_ac.errors import ConfigError, InputError

Frames = Tensor | NDArray[np.uint8] | Sequence[NDArray[np.uint8]]

MEAN = (0.485, 0.456, 0.406)  # ImageNet, RGB
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """How frames are prepared for the encoder: one of the ways above, and the size of the result."""

    name: str = "centre"
    img_size: tuple[int, int] = (256, 256)  # height, width

    def __post_init__(self) -> None:
        if self.name not in _PREPROCESSINGS:
            raise ConfigError(f"no preprocessing {self.name!r}; there are {', '.join(sorted(_PREPROCESSINGS))}")
        if len(self.img_size) != 2 or min(self.img_size) < 1:
            raise ConfigError(f"img_size is height and width in pixels, got {self.img_size}")
        if self.name == "hub" and self.img_size[0] != self.img_size[1]:
            raise ConfigError(f"the hub preprocessing makes squares, not {self.img_size}")

    def __call__(self, frames: Frames) -> Tensor:
        """Model input [B, 3, *img_size], float32, of one frame [H, W, 3] or several [B, H, W, 3], uint8 RGB.

        A tensor is prepared on its own device. Raises InputError for anything that is not uint8 pictures.
        """
        return _PREPROCESSINGS[self.name](as_frames(frames), self.img_size)


def as_frames(frames: Frames) -> Tensor:
    """The frames as one uint8 tensor [B, H, W, 3], or an InputError that says what they are instead."""
    if not isinstance(frames, Tensor):
        # Read-only arrays (Pillow's pictures, bytes from a wire) are copied: torch has no read-only tensors.
        frames = torch.from_numpy(np.require(_stack(frames), requirements=["C", "W"]))
    if frames.numel() == 0:
        raise InputError(f"there are no pixels in frames of shape {list(frames.shape)}")
    if frames.dtype != torch.uint8:
        dtype = str(frames.dtype).removeprefix("torch.")
        raise InputError(f"frames hold {dtype}; expected uint8 RGB from 0 to 255")
    if frames.ndim not in (3, 4) or frames.shape[-1] != 3:
        raise InputError(f"frames have shape {list(frames.shape)}; expected [H, W, 3] or [B, H, W, 3], RGB last")
    return frames if frames.ndim == 4 else frames.unsqueeze(0)


def normalize(pixels_B3HW: Tensor) -> Tensor:
    """Pixels 0 … 255 normalised by ImageNet's mean and standard deviation, as float32."""
    mean_311, std_311 = (_channel(values, pixels_B3HW) for values in (MEAN, STD))
    return (pixels_B3HW.float() - mean_311) / std_311


def denormalize(video_B3HW: Tensor) -> Tensor:
    """The uint8 frames [B, H, W, 3] behind model input, for looking at what a model was shown."""
    mean_311, std_311 = (_channel(values, video_B3HW) for values in (MEAN, STD))
    return (video_B3HW * std_311 + mean_311).round().clamp(0, 255).to(torch.uint8).movedim(1, -1)


# --- the crops -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Box:
    """A window of a frame, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, frames_BHW3: Tensor) -> Tensor:
        """The pixels inside the window, channels first: [B, 3, height, width]."""
        rows, columns = slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)
        return frames_BHW3[:, rows, columns].movedim(-1, 1)


def centred_box(height: int, width: int, ratio: tuple[float, float]) -> Box:
    """The largest centred window whose aspect (width over height) lies within `ratio`."""
    aspect = width / height
    if aspect < min(ratio):
        box_height, box_width = max(1, round(width / min(ratio))), width
    elif aspect > max(ratio):
        box_height, box_width = height, max(1, round(height * max(ratio)))
    else:
        box_height, box_width = height, width
    return Box((height - box_height) // 2, (width - box_width) // 2, box_height, box_width)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomResizedCrop:
    """The augmentation of the released training runs; the defaults are those of pretraining."""

    img_size: tuple[int, int] = (256, 256)
    scale: tuple[float, float] = (0.3, 1.0)  # of the frame's area
    ratio: tuple[float, float] = (0.75, 1.35)  # width over height
    flip: bool = True  # left and right, every other time

    def __post_init__(self) -> None:
        for name, (low, high) in (("scale", self.scale), ("ratio", self.ratio)):
            if not 0 < low <= high < math.inf:
                raise ConfigError(f"{name} goes from a positive number to one no smaller, got ({low}, {high})")

    def __call__(self, frames: Frames, crops: random.Random, flips: np.random.RandomState) -> Tensor:
        """Model input [B, 3, *img_size] of frames that are all cut and flipped alike.

        Python's generator draws the window and numpy's the flip, in the order of the reference: the same two seeds
        give the same pictures as there.
        """
        frames_BHW3 = as_frames(frames)
        _, height, width, _ = frames_BHW3.shape
        box = self.box(height, width, crops, flips)
        video_B3HW = _bilinear(box.of(frames_BHW3), self.img_size)
        is_flipped = self.flip and flips.uniform() < 0.5
        return normalize(video_B3HW.flip(-1) if is_flipped else video_B3HW)

    def box(self, height: int, width: int, crops: random.Random, flips: np.random.RandomState) -> Box:
        """A window of random area and aspect; after ten that do not fit, the largest centred one."""
        for _ in range(10):
            area = crops.uniform(*self.scale) * height * width
            aspect = math.exp(crops.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            box_width, box_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            flips.uniform()  # the reference asks here whether to swap the sides, and never does
            if 0 < box_width <= width and 0 < box_height <= height:
                top = crops.randint(0, height - box_height)
                return Box(top, crops.randint(0, width - box_width), box_height, box_width)
        return centred_box(height, width, self.ratio)


# --- the preprocessings ----------------------------------------------------------------------------------------------


def _centre(frames_BHW3: Tensor, img_size: tuple[int, int]) -> Tensor:
    aspect = img_size[1] / img_size[0]
    return _centred(frames_BHW3, (aspect, aspect), img_size, antialias=True)


def _notebook(frames_BHW3: Tensor, img_size: tuple[int, int]) -> Tensor:
    # The notebook takes a random crop of scale 1 and aspect 1, which fits square frames exactly and no others.
    return _centred(frames_BHW3, (1.0, 1.0), img_size)


def _droid(frames_BHW3: Tensor, img_size: tuple[int, int]) -> Tensor:
    # Post-training takes a random crop of 1.777 times the frame, which never fits, so its fallback is the rule.
    return _centred(frames_BHW3, (0.75, 1.35), img_size)


def _centred(
    frames_BHW3: Tensor, ratio: tuple[float, float], img_size: tuple[int, int], *, antialias: bool = False
) -> Tensor:
    _, height, width, _ = frames_BHW3.shape
    box = centred_box(height, width, ratio)
    return normalize(_bilinear(box.of(frames_BHW3), img_size, antialias=antialias))


def _hub(frames_BHW3: Tensor, img_size: tuple[int, int]) -> Tensor:
    (view_B3HW,) = hub_views(frames_BHW3, img_size[0])
    return view_B3HW


def hub_views(frames: Frames, size: int, views: int = 1) -> list[Tensor]:
    """The square views [B, 3, size, size] that the released evaluation takes of the same frames.

    For one view, the short side is resized to 256/224 of `size` and the centre cut out. For several, the short side is
    resized to `size`, and the views move along the long side in equal steps of whole pixels.
    """
    if views < 1:
        raise InputError(f"need at least one view, got {views}")
    frames_BHW3 = as_frames(frames)
    short_side = int(size * 256 / 224) if views == 1 else size
    pixels_BHW3 = torch.from_numpy(
        np.stack([_resize_short_side(frame, short_side) for frame in frames_BHW3.cpu().numpy()])
    )
    height, width = pixels_BHW3.shape[1:3]
    if views == 1:
        boxes = [Box(round((height - size) / 2), round((width - size) / 2), size, size)]
    else:
        step = (max(height, width) - size) // (views - 1)
        boxes = [
            Box(0, k * step, size, size) if width >= height else Box(k * step, 0, size, size) for k in range(views)
        ]
    return [normalize(box.of(pixels_BHW3).to(frames_BHW3.device)) for box in boxes]


_PREPROCESSINGS: dict[str, Callable[[Tensor, tuple[int, int]], Tensor]] = {
    "centre": _centre,
    "notebook": _notebook,
    "droid": _droid,
    "hub": _hub,
}


# --- arithmetic ------------------------------------------------------------------------------------------------------


def _bilinear(pixels_B3HW: Tensor, img_size: tuple[int, int], *, antialias: bool = False) -> Tensor:
    pixels_B3HW = pixels_B3HW.float()
    if tuple(pixels_B3HW.shape[-2:]) == tuple(img_size):
        return pixels_B3HW
    return F.interpolate(pixels_B3HW, img_size, mode="bilinear", align_corners=False, antialias=antialias)


def _resize_short_side(frame_HW3: NDArray[np.uint8], short_side: int) -> NDArray[np.uint8]:
    """The frame with its short side resized to `short_side` by OpenCV's fixed-point bilinear, as in the reference."""
    import cv2

    height, width = frame_HW3.shape[:2]
    if height <= width:
        height, width = short_side, int(short_side * width / height)
    else:
        height, width = int(short_side * height / width), short_side
    return np.asarray(cv2.resize(frame_HW3, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _channel(values: tuple[float, ...], like: Tensor) -> Tensor:
    return 255 * torch.tensor(values, dtype=torch.float32, device=like.device)[:, None, None]


def _stack(frames: Any) -> NDArray[Any]:
    try:
        stacked = np.asarray(frames)
    except ValueError:
        shapes = sorted({np.shape(frame) for frame in frames})
        raise InputError(f"frames of different shapes cannot go together: {shapes}") from None
    if stacked.dtype.kind not in "buif":  # None, a path, a list of either
        raise InputError(f"frames are no pictures but {str(frames)[:40]!r}; expected arrays of uint8 RGB")
    return stacked
