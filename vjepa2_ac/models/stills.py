"""Encoding of single frames by an encoder made for clips, in the same way in training and in everything after it.

Legend: B frames, H and W pixels, N tokens of a frame, D width.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor

from vjepa2_ac.models.encoder import Encoder
from vjepa2_ac.models.encoder_v21 import EncoderV21

AnyEncoder = Encoder | EncoderV21
"""An encoder whose tokens an action-conditioned predictor can take: one of V-JEPA 2 or of V-JEPA 2.1."""


def encode_stills(encoder: AnyEncoder, images_B3HW: Tensor) -> Tensor:
    """The tokens [B, N, D] of prepared frames, each encoded alone: the encoder's deepest level, after its own norm.

    A frame goes in as a clip that stands still, the same picture as often as a tubelet has frames (V-JEPA 2, section
    3.1). A V-JEPA 2.1 encoder could also take single pictures (`patch_embed_img`, `img_mod_embed`), but it gets the
    still clip, too (`patch_embed`, `video_mod_embed`): the public post-training repeats every frame whatever the
    encoder, and an encoder that was pretrained on video alone has never learned what to do with pictures. The three
    shallower levels of 2.1, which its pretraining joins, are left out: a predictor is as wide as one level.
    """
    video_B3THW = images_B3HW.unsqueeze(2).expand(-1, -1, encoder.config.tubelet_size, -1, -1)
    if isinstance(encoder, EncoderV21):
        return cast("Tensor", encoder(video_B3THW, is_clip=True))
    return cast("Tensor", encoder(video_B3THW))
