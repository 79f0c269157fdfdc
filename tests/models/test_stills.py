"""A single frame is a clip that stands still, for every encoder that a predictor can stand on."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.models import small
from tests.models.small import draw, lively
from vjepa2_ac.models.encoder_v21 import EncoderV21, EncoderV21Config
from vjepa2_ac.models.stills import encode_stills

pytestmark = pytest.mark.usefixtures("without_gradients")


@pytest.fixture
def without_gradients() -> Any:
    with torch.no_grad():
        yield


def dense(**changes: Any) -> EncoderV21:
    shape: dict[str, Any] = {"img_size": (32, 32), "patch_size": 8, "embed_dim": 24, "depth": 12, "num_heads": 2}
    return lively(EncoderV21(EncoderV21Config(**(shape | changes))))


@pytest.mark.parametrize("encoder", [small.encoder(), dense()], ids=["v2", "v2.1"])
def test_a_frame_is_repeated_and_read_at_the_deepest_level(encoder: Any) -> None:
    images = draw(3, 3, 32, 32)
    clips = torch.stack((images, images), dim=2)
    assert torch.equal(encode_stills(encoder, images), encoder(clips))
    assert torch.equal(encode_stills(encoder, images), encoder(clips, out_layers=[encoder.config.depth - 1])[0])


@pytest.mark.parametrize("tubelet_size", [1, 2])
def test_what_is_learned_from_pictures_and_at_shallower_levels_plays_no_part(tubelet_size: int) -> None:
    encoder, images = dense(tubelet_size=tubelet_size), draw(1, 3, 32, 32)
    before = encode_stills(encoder, images)
    assert before.shape == (1, 16, 24)
    for idle in (*encoder.patch_embed_img.parameters(), encoder.img_mod_embed, *encoder.norms_block[:-1].parameters()):
        idle.add_(1.0)
    assert torch.equal(encode_stills(encoder, images), before)
    encoder.video_mod_embed[..., 0] += 1.0
    assert not torch.allclose(encode_stills(encoder, images), before, atol=0.01)


def test_a_clip_of_one_frame_is_a_picture_unless_it_is_said_to_be_a_clip() -> None:
    encoder, video = dense(tubelet_size=1), draw(1, 3, 1, 32, 32)
    assert not torch.allclose(encoder(video), encoder(video, is_clip=True), atol=0.1)
    assert torch.equal(encode_stills(encoder, video[:, :, 0]), encoder(video, is_clip=True))
