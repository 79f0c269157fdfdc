from __future__ import annotations

import pytest
import torch

from vjepa2_ac.errors import ConfigError
from vjepa2_ac.models.anticipation import AnticipationClassifier, AnticipationClassifierConfig
from vjepa2_ac.models.pooler import AttentivePooler

SMALL = {"embed_dim": 24, "num_heads": 2, "depth": 2, "num_actions": 7}
TOKENS_BND = torch.randn(2, 9, 24, generator=torch.Generator().manual_seed(0))


def test_each_query_has_its_own_head() -> None:
    config = AnticipationClassifierConfig(num_verbs=5, num_nouns=6, **SMALL)
    probe = AnticipationClassifier(config)
    pooler = AttentivePooler(config.pooler)
    pooler.load_state_dict(probe.pooler.state_dict())
    answers_BQD = pooler(TOKENS_BND)
    found = probe(TOKENS_BND)
    assert probe.verb_classifier is not None
    assert probe.noun_classifier is not None
    torch.testing.assert_close(found.verb, probe.verb_classifier(answers_BQD[:, 0]))
    torch.testing.assert_close(found.noun, probe.noun_classifier(answers_BQD[:, 1]))
    torch.testing.assert_close(found.action, probe.action_classifier(answers_BQD[:, 2]))


def test_a_probe_of_actions_alone_has_one_query() -> None:
    probe = AnticipationClassifier(AnticipationClassifierConfig(num_verbs=0, num_nouns=0, **SMALL))
    assert probe.pooler.query_tokens.shape == (1, 1, 24)
    found = probe(TOKENS_BND)
    assert found.verb is None
    assert found.noun is None
    assert found.action.shape == (2, 7)


def test_verbs_without_nouns_are_refused() -> None:
    with pytest.raises(ConfigError, match="verbs and nouns or neither"):
        AnticipationClassifierConfig(num_verbs=5, num_nouns=0, **SMALL)
