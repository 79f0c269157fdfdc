from __future__ import annotations

import pytest
import torch

from tests.models.small import draw, lively
from vjepa2_ac.errors import InputError
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
