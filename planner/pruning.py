"""Candidates that cannot be among the best are not imagined (branch and bound).

A cost is a difference of latents, which is never below 0, and perhaps the way that a candidate leaves to the hand in
the goal, which is known without a model. So the way alone is a lower bound. As many candidates are imagined as matter,
those of the lowest bounds (and all that have none, -inf), then all whose bounds do not lie above what these cost. The
rest may stay unknown: the search goes on as if they had all been imagined.

Shapes: S candidates, K elites that compete again.
"""

from __future__ import annotations

import torch
from torch import Tensor

from planner.costs import losing


class Frontier:
    """Which candidates of one request were imagined, and which come next."""

    def __init__(self, bounds_S: Tensor, known_K: Tensor, matter: int) -> None:
        """`matter`: how many of the lowest costs must be known exactly, those already `known_K` among them."""
        self.order_S = bounds_S.argsort(stable=True)
        self.costs_S = bounds_S.clone()  # of what is not imagined: the least that it can cost
        self.known = known_K
        self.matter = matter
        self.imagined = 0

    @property
    def next(self) -> Tensor:
        """Which to imagine now; none once no other can matter."""
        left_S = self.order_S[self.imagined :]
        if not self.imagined:
            unbounded = int(self.costs_S.isneginf().sum())
            return left_S[: max(self.matter, unbounded)]
        highest = losing(self.known).kthvalue(self.matter).values
        return left_S[~(self.costs_S[left_S] > highest)]  # what is no number cannot be ruled out

    def learn(self, costs: Tensor) -> None:
        """What `next` costs."""
        chosen = self.order_S[self.imagined : self.imagined + len(costs)]
        self.costs_S[chosen] = costs
        self.known = torch.cat((self.known, costs))
        self.imagined += len(costs)
