from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.models.small import draw, lively
from vjepa2_ac.errors import InputError
from vjepa2_ac.models.anticipation import AnticipationClassifierConfig
from vjepa2_ac.models.pooler import (
    AttentiveClassifier,
    AttentiveClassifierConfig,
    AttentivePooler,
    AttentivePoolerConfig,
)


@torch.inference_mode()
def test_a_pooler_does_not_care_in_which_order_tokens_come() -> None:
    pooler = lively(AttentivePooler(AttentivePoolerConfig(embed_dim=32, num_heads=4, depth=3, num_queries=2)))
    tokens = draw(2, 20, 32)
    answers = pooler(tokens)
    assert answers.shape == (2, 2, 32)
    torch.testing.assert_close(pooler(tokens.flip(1)), answers, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_a_classifier_names_each_sample_by_itself() -> None:
    config = AttentiveClassifierConfig(embed_dim=32, num_heads=4, num_classes=5)
    classifier, tokens = lively(AttentiveClassifier(config)), draw(3, 20, 32)
    scores = classifier(tokens)
    assert scores.shape == (3, 5)
    torch.testing.assert_close(classifier(tokens[1:2]), scores[1:2], atol=1e-5, rtol=0)


def test_tokens_of_another_width_are_refused() -> None:
    pooler = AttentivePooler(AttentivePoolerConfig(embed_dim=32, num_heads=4))
    with pytest.raises(InputError, match=r"expected tokens \[batch, tokens, 32\], got \[1, 4, 16\]"):
        pooler(torch.zeros(1, 4, 16))


@pytest.mark.parametrize("config", [AttentiveClassifierConfig, AnticipationClassifierConfig])
def test_a_probes_pooler_is_as_wide_inside_as_the_probe_says(config: Any) -> None:
    assert config(embed_dim=32, num_heads=4, mlp_ratio=2.5).pooler.mlp_ratio == 2.5


def test_a_classifier_may_leave_all_but_the_queries_attention_away() -> None:
    config = AttentiveClassifierConfig(embed_dim=32, num_heads=4, depth=1, complete_block=False)
    names = {name.split(".")[2] for name in AttentiveClassifier(config).state_dict() if "cross_attention" in name}
    assert names == {"q", "kv"}
