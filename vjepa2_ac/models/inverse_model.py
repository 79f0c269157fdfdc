"""A goal-conditioned inverse model: where the hand is, and how closed, in a picture of a goal.

The predictor tells what a move leads to; this is asked the other way round. It sees two frames of one scene, now and
the goal, and the hand's pose in the first, and answers with the move between them. Comparing two pictures of a scene
is easier than imagining one of them: a move along the camera's line of sight changes a picture by less than the
predictor's mistakes do.

Legend: B batch, N tokens of a frame, D latent width, C channels kept of a token, F hidden width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vjepa2_ac.config import require
from vjepa2_ac.errors import InputError
from vjepa2_ac.models.build import draw, draw_weights
from vjepa2_ac.poses import SIZE

NUMBERS = (0, 1, 2, 6)  # of a pose or an action: position and closedness
UNITS = (0.05, 0.05, 0.05, 0.5)  # [m], [stroke] of a move that the network says 1 for
POSE_UNITS = (0.1, 0.1, 0.1, 1.0)  # [m], [stroke] of a pose, as it goes in


@dataclass(frozen=True, slots=True, kw_only=True)
class InverseModelConfig:
    """Shape of an inverse model."""

    tokens_per_frame: int = 64
    embed_dim: int = 192  # of the encoder
    token_dim: int = 32  # channels kept of a token, of each frame and of the two together
    hidden_dim: int = 512
    dropout: float = 0.1  # of what is kept of the tokens, in training

    def __post_init__(self) -> None:
        sizes = (self.tokens_per_frame, self.embed_dim, self.token_dim, self.hidden_dim)
        require(min(sizes) > 0, f"an inverse model's sizes are positive, got {sizes}")
        require(0 <= self.dropout < 1, f"dropout lies within 0…1, got {self.dropout}")


class Inverse(nn.Module):
    """Latents of two frames and the first one's pose to the hand's move between them.

    Each frame is seen once, however many questions are asked of it; `features` compares two that were seen.
    """

    config: Any  # of its shape; says `tokens_per_frame`, `embed_dim` and `dropout`
    hidden1: nn.Linear
    hidden2: nn.Linear
    move: nn.Linear

    def forward(self, latents_BND: Tensor, goal_BND: Tensor, pose_B7: Tensor) -> Tensor:
        """The move [B, 4] from `pose_B7` to the hand in the goal: x y z [m] in the robot's base frame, closedness.

        Raises `InputError` where shapes contradict each other.
        """
        self._check(latents_BND, goal_BND, pose_B7)
        return self.moves(self.features(self.see(latents_BND), self.see(goal_BND), pose_B7))

    def see(self, latents_BND: Tensor) -> Tensor:
        """What `compare` needs of each frame [B, …]; the latents themselves unless a model looks at each alone."""
        return latents_BND

    def compare(self, seen_B: Tensor, goal_B: Tensor) -> Tensor:
        """What two frames that were seen tell together [B, X]."""
        raise NotImplementedError

    def features(self, seen_B: Tensor, goal_B: Tensor, pose_B7: Tensor) -> Tensor:
        """What the move is read from [B, hidden]: near to each other where two questions look alike to the model."""
        told_BX = F.dropout(self.compare(seen_B, goal_B), self.config.dropout, self.training)
        at_B4 = pose_B7[:, NUMBERS] / pose_B7.new_tensor(POSE_UNITS)
        x = F.silu(self.hidden1(torch.cat((told_BX, at_B4.to(told_BX.dtype)), dim=1)))
        return F.silu(self.hidden2(x))

    def moves(self, features_BF: Tensor) -> Tensor:
        """The moves [B, 4] that features say."""
        move_B4: Tensor = self.move(features_BF)
        return move_B4 * move_B4.new_tensor(UNITS)

    def _check(self, latents_BND: Tensor, goal_BND: Tensor, pose_B7: Tensor) -> None:
        config, B = self.config, len(latents_BND)
        frame = (B, config.tokens_per_frame, config.embed_dim)
        for name, given, shape in (
            ("latents", latents_BND, frame),
            ("goals", goal_BND, frame),
            ("poses", pose_B7, (B, SIZE)),
        ):
            if given.shape != shape:
                raise InputError(f"expected {name} {list(shape)}, got {list(given.shape)}")


class InverseModel(Inverse):
    """Every token is looked at in its place, by itself and beside the goal's."""

    def __init__(self, config: InverseModelConfig) -> None:
        super().__init__()
        self.config = config
        dim, kept, hidden = config.embed_dim, config.token_dim, config.hidden_dim
        self.seen_embed = nn.Linear(dim, kept)
        self.goal_embed = nn.Linear(dim, kept)
        self.both_embed = nn.Linear(2 * dim, kept)
        self.places = nn.Parameter(torch.zeros(config.tokens_per_frame, 3 * kept))  # what a token stands for, by place
        self.hidden1 = nn.Linear(config.tokens_per_frame * 3 * kept + len(POSE_UNITS), hidden)
        self.hidden2 = nn.Linear(hidden, hidden)
        self.move = nn.Linear(hidden, len(NUMBERS))
        self.initialise()

    def compare(self, seen_B: Tensor, goal_B: Tensor) -> Tensor:
        """The tokens [B, N, D] of both frames, each alone and side by side, in their places."""
        both_BNC = F.silu(self.both_embed(torch.cat((seen_B, goal_B), dim=-1)))
        tokens_BNC = torch.cat((self.seen_embed(seen_B), self.goal_embed(goal_B), both_BNC), dim=-1)
        return (tokens_BNC + self.places).flatten(1)

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Draw first weights that keep the size of what goes through."""
        draw_weights(self, generator)
        for layer in self.children():
            if isinstance(layer, nn.Linear):
                draw(layer.weight, generator, std=layer.in_features**-0.5)
        with torch.no_grad():
            self.places.zero_()
