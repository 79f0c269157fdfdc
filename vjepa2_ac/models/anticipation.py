"""The action anticipation probe (EPIC-KITCHENS-100): predicts the next action as a verb, a noun, and both together.

Legend: B batch, N tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vjepa2_ac.config import require
from vjepa2_ac.models.build import draw_weights
from vjepa2_ac.models.pooler import AttentivePooler, AttentivePoolerConfig


class Anticipation(NamedTuple):
    """Unnormalised scores [B, classes]; verbs and nouns are None where a probe names actions only."""

    verb: Tensor | None
    noun: Tensor | None
    action: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class AnticipationClassifierConfig:
    """Shape of a released anticipation probe: four deep, 16 heads, one query each for verb, noun and action."""

    embed_dim: int = 1024
    num_heads: int = 16
    mlp_ratio: float = 4.0
    depth: int = 4
    num_verbs: int = 97
    num_nouns: int = 300
    num_actions: int = 3568
    norm_eps: float = 1e-5
    use_activation_checkpointing: bool = False

    def __post_init__(self) -> None:
        require(self.num_actions > 0, f"num_actions must be positive, got {self.num_actions}")
        require(
            (self.num_verbs > 0) == (self.num_nouns > 0) and self.num_verbs >= 0,
            f"a probe names verbs and nouns or neither, got {self.num_verbs} and {self.num_nouns}",
        )
        _ = self.pooler  # which checks the rest

    @property
    def pooler(self) -> AttentivePoolerConfig:
        """The configuration of the pooler inside."""
        return AttentivePoolerConfig(
            embed_dim=self.embed_dim,
            num_heads=self.num_heads,
            mlp_ratio=self.mlp_ratio,
            depth=self.depth,
            num_queries=3 if self.num_verbs else 1,
            norm_eps=self.norm_eps,
            use_activation_checkpointing=self.use_activation_checkpointing,
        )


class AnticipationClassifier(nn.Module):
    """Scores the next action from tokens. Parameters are named as in the released probes."""

    def __init__(self, config: AnticipationClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.pooler = AttentivePooler(config.pooler)
        self.verb_classifier = nn.Linear(config.embed_dim, config.num_verbs) if config.num_verbs else None
        self.noun_classifier = nn.Linear(config.embed_dim, config.num_nouns) if config.num_nouns else None
        self.action_classifier = nn.Linear(config.embed_dim, config.num_actions)
        self.initialise()

    def forward(self, x_BND: Tensor) -> Anticipation:
        """The scores from tokens [B, N, D]: those seen, followed by those predicted."""
        answers_BQD = self.pooler(x_BND)
        if self.verb_classifier is None or self.noun_classifier is None:
            return Anticipation(None, None, self.action_classifier(answers_BQD[:, 0]))
        verb_BD, noun_BD, action_BD = answers_BQD.unbind(dim=1)
        return Anticipation(
            self.verb_classifier(verb_BD), self.noun_classifier(noun_BD), self.action_classifier(action_BD)
        )

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Draw initial weights."""
        self.pooler.initialise(generator)
        for head in (self.verb_classifier, self.noun_classifier, self.action_classifier):
            if head is not None:
                draw_weights(head, generator)
