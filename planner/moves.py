"""Which numbers of an action are searched, how far each may go, and how actions are made of them.

Searching x, y, z and the gripper is the published choice. Rotations are searched too when they are given a limit, and
the gripper is not when it is chosen apart from the motion (see `gripper`). A hand that may go down less far than aside
in one step arrives over an object and not beside it, and pushes less of what stands in the way.

Shapes: V searched numbers, H steps, A numbers of an action (7), any number of leading axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vjepa2_ac.poses import SIZE

GRIPPER = 6  # where the gripper stands in an action


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveSpace:
    """The searched numbers and their limits, a box around standing still."""

    step_limit: float  # [m], along each axis
    descent_limit: float | None = None  # [m], downwards; None: as along any axis
    turn_limit: float | None = None  # [rad], about each axis; None: the hand keeps its orientation
    gripper_limit: float | None = None  # None: the gripper is not searched
    gripper_deadband: float = 0.0  # smaller changes of the gripper count as none

    @property
    def columns(self) -> list[int]:
        """Where the searched numbers stand in an action."""
        turns = [3, 4, 5] if self.turn_limit is not None else []
        return [0, 1, 2, *turns, *([GRIPPER] if self.gripper_limit is not None else [])]

    @property
    def limits(self) -> Tensor:
        """The largest value of each searched number, [V]."""
        limits = [self.step_limit] * 3
        limits += [self.turn_limit] * 3 if self.turn_limit is not None else []
        limits += [self.gripper_limit] if self.gripper_limit is not None else []
        return torch.tensor(limits)

    @property
    def reaches(self) -> Tensor:
        """How far each searched number may go in both directions, [V]: the width that a search begins with."""
        reach_V = self.limits
        if self.descent_limit is not None:
            reach_V[2] = self.descent_limit
        return reach_V

    def held(self, moves_HV: Tensor) -> Tensor:
        """Moves [..., H, V] brought within the limits."""
        return moves_HV.maximum(-self.reaches).minimum(self.limits)

    def actions(self, moves_HV: Tensor) -> Tensor:
        """Actions [..., H, A] of moves [..., H, V]; what is not searched is 0."""
        actions_HA = moves_HV.new_zeros(*moves_HV.shape[:-1], SIZE)
        actions_HA[..., self.columns] = moves_HV
        gripper_H = actions_HA[..., GRIPPER]
        gripper_H[gripper_H.abs() < self.gripper_deadband] = 0.0
        return actions_HA

    def moves(self, actions_HA: Tensor) -> Tensor:
        """The searched numbers [..., H, V] of actions [..., H, A], within their limits."""
        return self.held(actions_HA[..., self.columns])
