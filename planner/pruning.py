"""Candidates that cannot be among the best are not imagined (branch and bound).

A cost is a difference of latents, which is never below 0, and perhaps the way that a candidate leaves to the hand in
the goal, which is known without a model. So the way alone is a lower bound. Candidates are imagined a few at a time,
those of the lowest bounds first; once the next bound is above all costs that matter, the rest may stay unknown: the
search goes on as if they had all been imagined.

Shapes: S candidates, K elites that compete again.
"""

from __future__ import annotations

import torch
from torch import Tensor

AT_ONCE = 8  # candidates on a CPU, where each of a few takes as long as each of many; on a GPU few take as long as many


class Frontier:
    """The candidates of one request that were imagined, and the next ones."""

    def __init__(self, bounds_S: Tensor, known_K: Tensor, matter: int, at_once: int) -> None:
        """`matter`: how many of the lowest costs must be known exactly, those already `known_K` among them."""
        self.order_S = bounds_S.argsort(stable=True)
        self.costs_S = bounds_S.clone()  # of what is not imagined: the least that it can cost
        self.known = known_K
        self.matter, self.at_once = matter, at_once
        self.imagined = 0

    @property
    def next(self) -> Tensor:
        """Which to imagine next; none once no other can matter."""
        left_S = self.order_S[self.imagined :]
        if len(left_S) and len(self.known) >= self.matter:
            highest = self.known.nan_to_num(nan=torch.inf).kthvalue(self.matter).values
            if self.costs_S[left_S[0]] > highest:
                return left_S[:0]
        return left_S[: self.at_once]

    def learn(self, costs: Tensor) -> None:
        """What `next` costs."""
        chosen = self.order_S[self.imagined : self.imagined + len(costs)]
        self.costs_S[chosen] = costs
        self.known = torch.cat((self.known, costs))
        self.imagined += len(costs)
