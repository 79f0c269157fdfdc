"""Latents of single frames from a frozen encoder, and the form in which they are kept on disk.

Legend: F frames · H, W pixels · N tokens of a frame · D latent width.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vjepa2_ac.config import to_dict
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.models.stills import AnyEncoder, encode_stills
from vjepa2_ac.precision import choose_dtype
from vjepa2_ac.training.losses import normalized

PIECE = 64  # frames encoded at once


class FrameEncoder:
    """A frozen encoder that encodes each frame alone; its latents are those of `WorldModel.encode`.

    They are the same within a training step, whose autocast does not reach the encoder. The encoder is frozen, moved
    and cast in place: pass a copy of one that is still needed as it is.
    """

    def __init__(
        self,
        encoder: AnyEncoder,
        preprocessing: Preprocessing,
        device: torch.device,
        precision: str = "auto",
        *,
        normalize: bool = True,
    ) -> None:
        self.config, self.preprocessing, self.device, self.normalize = encoder.config, preprocessing, device, normalize
        self.dtype = choose_dtype(precision, device)
        self.hash = hash_of(encoder, self.dtype)
        self.encoder = encoder.eval().requires_grad_(False).to(device, self.dtype)

    @torch.no_grad()
    def __call__(self, frames_FHW3: Tensor | NDArray[np.uint8]) -> Tensor:
        """Latents [F, N, D] in float32."""
        frames = torch.as_tensor(frames_FHW3)
        return torch.cat([self._encode(frames[i : i + PIECE]) for i in range(0, len(frames), PIECE)])

    def _encode(self, frames_FHW3: Tensor) -> Tensor:
        images_F3HW = self.preprocessing(frames_FHW3.to(self.device)).to(self.dtype)
        with torch.autocast(self.device.type, enabled=False):
            latents = encode_stills(self.encoder, images_F3HW).float()
        return normalized(latents) if self.normalize else latents

    @property
    def tokens_per_frame(self) -> int:
        """N, the number of tokens of one frame."""
        height, width = self.preprocessing.img_size
        return (height // self.config.patch_size) * (width // self.config.patch_size)

    @property
    def key(self) -> dict[str, Any]:
        """Everything the latents depend on besides the frames."""
        return {
            "encoder": self.hash,
            "config": to_dict(self.config),
            "preprocessing": to_dict(self.preprocessing),
            "normalized": self.normalize,
            "computed in": str(self.dtype),
            "kept in": "bfloat16",
        }


def packed(latents_FND: Tensor) -> NDArray[np.uint16]:
    """Latents as the bits of bf16 in uint16, since numpy has no bf16."""
    bits: NDArray[np.uint16] = latents_FND.to(torch.bfloat16).cpu().view(torch.uint16).numpy()
    return bits


def unpacked(bits: NDArray[np.uint16]) -> Tensor:
    """The bf16 latents behind `packed`."""
    return torch.from_numpy(bits).view(torch.bfloat16)


def hash_of(encoder: torch.nn.Module, dtype: torch.dtype) -> str:
    """A hash of the weights rounded to `dtype`, in which they compute.

    In bf16, a bf16 release and the float32 weights it was rounded from have one hash, as they give the same latents.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        # Hashed as float32, so the same weights have one hash, in whatever type they are held.
        digest.update(weight.detach().cpu().to(dtype).float().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
