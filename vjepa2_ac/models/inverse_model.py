"""A goal-conditioned inverse model, which locates the hand, and says how closed it is, in a picture of a goal.

The predictor tells what a move leads to; the inverse model is asked the other way round. It is given two frames of one
scene, now and the goal, and the hand's pose in the first, and predicts the move between them. Comparing two pictures of
a scene is easier than imagining one of them: a move along the camera's line of sight changes a picture by less than the
predictor's mistakes do.

The move is read from where feature points lie in each frame, so what a hand looks like is learned once for all places.
Optionally, it is also read from *change points*, which are found in how the two frames differ: what is to be moved lies
where they differ, whatever else looks like it.

Legend: B batch, N tokens of a frame, D latent width, C channels, X numbers kept of a frame, F hidden width (in
`_change_points`: numbers of a point), P change points.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vjepa2_ac.config import require
from vjepa2_ac.errors import InputError
from vjepa2_ac.models.build import draw, draw_weights
from vjepa2_ac.models.feature_points import FeaturePoints, FeaturePointsConfig
from vjepa2_ac.poses import SIZE

NUMBERS = (0, 1, 2, 6)  # of a pose or an action: position and closedness
UNITS = (0.05, 0.05, 0.05, 0.5)  # [m], [stroke]; the move for which the network puts out 1
POSE_UNITS = (0.1, 0.1, 0.1, 1.0)  # [m], [stroke]; what a pose is divided by before it goes in


@dataclass(frozen=True, slots=True, kw_only=True)
class InverseModelConfig:
    """Shape of an inverse model."""

    grid: tuple[int, int] = (8, 8)  # rows and columns of a frame's tokens
    embed_dim: int = 192  # of the encoder
    channels: int = 96
    layers: int = 4  # of convolutions
    points: int = 32
    kept: int = 16  # features kept of a point beside its place
    change_points: int = 0  # found in how the frames differ, by one more convolution
    hidden_dim: int = 512
    dropout: float = 0.1  # of the points' numbers, in training

    def __post_init__(self) -> None:
        require(self.hidden_dim > 0, f"hidden_dim must be positive, got {self.hidden_dim}")
        require(0 <= self.dropout < 1, f"dropout lies within 0…1, got {self.dropout}")
        require(self.change_points >= 0, f"change_points is at least 0, got {self.change_points}")
        _ = self.points_config

    @property
    def points_config(self) -> FeaturePointsConfig:
        """The shape of the network that finds a frame's points."""
        return FeaturePointsConfig(
            grid=self.grid, dim=self.embed_dim, channels=self.channels, layers=self.layers, points=self.points,
            kept=self.kept,
        )  # fmt: skip

    @property
    def change_points_config(self) -> FeaturePointsConfig | None:
        """The shape of the one that finds change points, in the first frame's features and their change; or None."""
        if not self.change_points:
            return None
        return replace(self.points_config, dim=2 * self.channels, layers=1, points=self.change_points)

    @property
    def tokens_per_frame(self) -> int:
        """N, the tokens of a frame."""
        return self.grid[0] * self.grid[1]


class InverseModel(nn.Module):
    """Predicts the hand's move between two frames from their latents and the first one's pose.

    `encode_frames` takes in a frame once, however many pairs it belongs to; `features` compares two such frames, and
    `moves` reads the move from that.
    """

    def __init__(self, config: InverseModelConfig) -> None:
        super().__init__()
        self.config = config
        hidden, per_point = config.hidden_dim, config.points_config.numbers_per_point
        self.points_width = config.points * per_point  # of X, the numbers of a frame's points
        self.points = FeaturePoints(config.points_config)
        self.changes = FeaturePoints(config.change_points_config) if config.change_points_config else None
        self.hidden1 = nn.Linear(2 * self.points_width + config.change_points * per_point + len(NUMBERS), hidden)
        self.hidden2 = nn.Linear(hidden, hidden)
        self.move = nn.Linear(hidden, len(NUMBERS))
        self.initialise()

    def forward(self, latents_BND: Tensor, goal_BND: Tensor, pose_B7: Tensor) -> Tensor:
        """The move [B, 4] from `pose_B7` to the hand in the goal: x y z [m] in the robot's base frame, closedness.

        Raises `InputError` where shapes contradict each other.
        """
        self._check(latents_BND, goal_BND, pose_B7)
        return self.moves(self.features(self.encode_frames(latents_BND), self.encode_frames(goal_BND), pose_B7))

    def encode_frames(self, latents_BND: Tensor) -> Tensor:
        """What is kept of each frame [B, X]: its points and, where there are change points, its tokens' features."""
        features_BNC = self.points.features(latents_BND)
        points_BX = self.points.find_points(features_BNC).flatten(1)
        return points_BX if self.changes is None else torch.cat((points_BX, features_BNC.flatten(1).float()), dim=1)

    def features(self, seen_BX: Tensor, goal_BX: Tensor, pose_B7: Tensor) -> Tensor:
        """The hidden features [B, F] that the move is read from; they are close for pairs that look alike to the model.

        They come from the first frame's points, how far the goal's differ from those, the change points, and the pose.
        """
        (seen_points, seen_features), (goal_points, goal_features) = (
            kept_BX.tensor_split([self.points_width], dim=1) for kept_BX in (seen_BX, goal_BX)
        )
        points = [seen_points, goal_points - seen_points]
        if self.changes is not None:
            points.append(self._change_points(self.changes, seen_features, goal_features))
        points_BX = F.dropout(torch.cat(points, dim=1), self.config.dropout, self.training)
        at_B4 = pose_B7[:, NUMBERS] / pose_B7.new_tensor(POSE_UNITS)
        x = F.silu(self.hidden1(torch.cat((points_BX, at_B4.to(points_BX.dtype)), dim=1)))
        return F.silu(self.hidden2(x))

    def moves(self, features_BF: Tensor) -> Tensor:
        """The moves [B, 4] read from features, as `forward` returns them."""
        move_B4: Tensor = self.move(features_BF)
        return move_B4 * move_B4.new_tensor(UNITS)

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Draw initial weights that keep the scale of activations."""
        draw_weights(self, generator)
        for part in (self.points, self.changes):
            if part is not None:
                part.initialise(generator)
        for layer in (self.hidden1, self.hidden2, self.move):
            draw(layer.weight, generator, std=layer.in_features**-0.5)

    def _change_points(self, changes: FeaturePoints, seen_BX: Tensor, goal_BX: Tensor) -> Tensor:
        """The change points [B, P · F] between two frames, found in their tokens' features."""
        seen_BNC, goal_BNC = (torch.unflatten(x, 1, (self.config.tokens_per_frame, -1)) for x in (seen_BX, goal_BX))
        points_BPF: Tensor = changes(torch.cat((seen_BNC, goal_BNC - seen_BNC), dim=2))
        return points_BPF.flatten(1)

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
