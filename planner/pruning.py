"""Candidates that cannot be among the best are not imagined (branch and bound).

A cost is a difference of latents, which is never below 0, plus perhaps the way from where a candidate ends to the hand
in the goal, which is known without a model. So the way alone is a lower bound. First, as many candidates are imagined
as matter: those with the lowest bounds, and all without a bound (-inf). Then follow all whose bounds do not lie above
the highest cost that matters so far. The rest need not be imagined: the search goes on as if they had been.

Shapes: S candidates, K elites that compete again.
"""

from __future__ import annotations

import torch
from torch import Tensor

from planner.costs import inf_where_not_finite


class Frontier:
    """Which candidates of one request were imagined, and which come next."""

    def __init__(self, bounds_S: Tensor, known_K: Tensor, matter: int) -> None:
        """`matter`: how many of the lowest costs must be known exactly, those already `known_K` among them."""
        self.order_S = bounds_S.argsort(stable=True)
        self.costs_S = bounds_S.clone()  # exact where imagined, otherwise lower bounds
        self.known = known_K
        self.matter = matter
        self.imagined = 0

    @property
    def next(self) -> Tensor:
        """Indices of the candidates to imagine now; none once no other can matter."""
        left_S = self.order_S[self.imagined :]
        if not self.imagined:
            unbounded = int(self.costs_S.isneginf().sum())
            return left_S[: max(self.matter, unbounded)]
        highest = inf_where_not_finite(self.known).kthvalue(self.matter).values
        return left_S[~(self.costs_S[left_S] > highest)]  # a bound that is NaN rules nothing out

    def learn(self, costs: Tensor) -> None:
        """Take in the costs of the candidates that `next` named."""
        chosen = self.order_S[self.imagined : self.imagined + len(costs)]
        self.costs_S[chosen] = costs
        self.known = torch.cat((self.known, costs))
        self.imagined += len(costs)
