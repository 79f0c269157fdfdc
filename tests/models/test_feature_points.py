from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from vjepa2_ac.errors import ConfigError
from vjepa2_ac.models.build import build
from vjepa2_ac.models.feature_points import FeaturePoints, FeaturePointsConfig

SMALL: dict[str, Any] = {"grid": (5, 7), "dim": 6, "channels": 8, "layers": 2, "points": 3, "kept": 4}


def points(seed: int = 0, **changes: Any) -> FeaturePoints:
    return build(FeaturePoints, FeaturePointsConfig(**SMALL | changes), seed=seed).eval()


def frame(row: int, column: int) -> torch.Tensor:
    """One bright token on a dark ground."""
    tokens_HWD = torch.zeros(5, 7, 6)
    tokens_HWD[row, column] = torch.arange(6.0) + 1
    return tokens_HWD.flatten(0, 1)[None]


@torch.no_grad()
def sure(model: FeaturePoints) -> FeaturePoints:
    """The same, its maps so steep that each point lies on one token."""
    model.maps.weight *= 1000
    return model


def test_a_point_lies_where_its_map_is_highest() -> None:
    model = sure(points(layers=0))
    with torch.no_grad():
        model.maps.weight.copy_(model.maps.weight.abs())
        model.embed.weight.copy_(model.embed.weight.abs())
    points_PF = model(frame(1, 6))[0]
    for row, column in points_PF[:, :2]:
        assert (row.item(), column.item()) == pytest.approx((-0.5, 1.0))
    seen_F = model.keep(model.embed(frame(1, 6)[0, 1 * 7 + 6]))
    torch.testing.assert_close(points_PF[:, 2:], seen_F.expand(3, -1))


def test_what_is_moved_moves_its_points_and_is_the_same_thing() -> None:
    model = points(layers=0)
    here_PF, there_PF = model(frame(2, 2))[0], model(frame(2, 4))[0]
    torch.testing.assert_close(there_PF[:, 0], here_PF[:, 0])
    torch.testing.assert_close(there_PF[:, 2:], here_PF[:, 2:])
    assert ((there_PF[:, 1] - here_PF[:, 1]).abs() > 1e-4).all()


def test_each_layer_adds_what_a_token_and_its_eight_neighbours_say() -> None:
    model, tokens = points(), torch.randn(2, 35, 6, generator=torch.Generator().manual_seed(0))
    x_BCHW = model.embed(tokens).mT.reshape(2, 8, 5, 7)
    for norm, convolution in zip(model.norms, model.convolutions, strict=True):
        nine_BKN = F.unfold(norm(x_BCHW), 3, padding=1)
        said_BCN = convolution.weight.flatten(1) @ nine_BKN + convolution.bias[:, None]
        x_BCHW = x_BCHW + F.silu(said_BCN).view_as(x_BCHW)
    x_BNC = x_BCHW.flatten(2).mT
    kept_BPK = model.maps(x_BNC).softmax(dim=1).mT @ model.keep(x_BNC)
    torch.testing.assert_close(model(tokens)[..., 2:], kept_BPK)


def test_places_are_as_fine_in_bf16() -> None:
    model, tokens = points(), torch.randn(2, 35, 6, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        points_BPF = model(tokens)
    assert points_BPF.dtype == torch.float32
    assert not torch.equal(points_BPF[..., :2], points_BPF[..., :2].bfloat16().float())
    with torch.autocast("cpu", torch.bfloat16):  # as FSDP2 lends weights to an update
        points_by_bf16_BPF = model.bfloat16()(tokens)
    assert points_by_bf16_BPF.dtype == torch.float32
    torch.testing.assert_close(points_by_bf16_BPF, points_BPF, atol=0.02, rtol=0)


def test_first_weights_are_those_of_the_seed() -> None:
    tokens = frame(3, 3)
    assert torch.equal(points()(tokens), points()(tokens))
    assert not torch.equal(points()(tokens), points(seed=1)(tokens))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [({"grid": (0, 7)}, "positive"), ({"points": 0}, "positive"), ({"layers": -1}, "positive"),
     ({"channels": 12}, "multiple of 8, got 12")],
    ids=str,
)  # fmt: skip
def test_shapes_that_are_none_are_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        FeaturePointsConfig(**SMALL | changes)
