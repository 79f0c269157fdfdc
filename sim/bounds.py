"""Lower and upper bounds of success: nothing, random actions and the expert on every task, over many seeds.

Every later success rate lies between these. A seed counts against the expert when it fails in the episode, and also
when it had failed while the goal was made, so that another scene was drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any, Literal, get_args

import numpy as np

from sim.control import LIMIT
from sim.env import FrankaEnv
from sim.splits import Split
from sim.tasks import TaskName
from sim.variation import Kind
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.workers import pool

Policy = Literal["expert", "nothing", "random"]
POLICIES: tuple[Policy, ...] = get_args(Policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One policy in one kind of scene, and the seeds it plays."""

    task: TaskName
    kind: Kind
    policy: Policy
    split: Split
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one episode went; `steps` counts those until the task was first done, -1 if never."""

    seed: int
    any_time: bool
    at_end: bool
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Success of one policy over all its episodes, with 95 % Wilson intervals."""

    task: TaskName
    kind: Kind
    policy: Policy
    episodes: int
    any_time: int
    at_end: int
    any_time_interval: tuple[float, float]
    at_end_interval: tuple[float, float]
    median_steps: float | None
    failed_seeds: tuple[int, ...]


def measure(
    tasks: Iterable[TaskName],
    kinds: Iterable[Kind],
    policies: Iterable[Policy],
    *,
    split: Split = "test",
    episodes: int = 200,
    workers: int = 1,
    advance: Callable[[int], object] = lambda _: None,
) -> list[Bound]:
    """The bounds of all combinations, over seeds 0 … episodes - 1; they do not depend on `workers`."""
    combinations = [(task, kind, policy) for task in tasks for kind in kinds for policy in policies]
    pieces = [tuple(range(start, min(start + 25, episodes))) for start in range(0, episodes, 25)]
    trials = [
        Trial(task=task, kind=kind, policy=policy, split=split, seeds=seeds)
        for task, kind, policy in combinations
        for seeds in pieces
    ]
    outcomes: dict[tuple[TaskName, Kind, Policy], list[Outcome]] = {combination: [] for combination in combinations}
    for trial, played in zip(trials, _played(trials, workers), strict=True):
        outcomes[trial.task, trial.kind, trial.policy] += played
        advance(len(played))
    return [_bound(*combination, outcomes[combination]) for combination in combinations]


def play(trial: Trial) -> list[Outcome]:
    """The outcomes of a trial, one for each seed; nothing is rendered."""
    env = FrankaEnv(trial.task, split=trial.split, kind=trial.kind, views=(), goal_frames=False)
    try:
        return [_episode(env, trial.policy, seed) for seed in trial.seeds]
    finally:
        env.close()


def wilson(successes: float, trials: float, z: float = 1.96) -> tuple[float, float]:
    """The 95 % confidence interval of a success rate (Wilson 1927), which holds at rates of 0 and 1, too."""
    if trials == 0:
        return (0.0, 1.0)
    rate, weight = successes / trials, z * z / trials
    middle = (rate + weight / 2) / (1 + weight)
    half = z * sqrt(rate * (1 - rate) / trials + weight / trials / 4) / (1 + weight)
    return (max(0.0, middle - half), min(1.0, middle + half))


def markdown(bounds: list[Bound]) -> str:
    """The table for the documentation: success at the end (at any time) and the interval of the former."""
    lines = [
        "| task | object | policy | episodes | success at end | 95 % interval | at any time | median steps |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for bound in bounds:
        low, high = bound.at_end_interval
        at_end, any_time = bound.at_end / bound.episodes, bound.any_time / bound.episodes
        steps = "–" if bound.median_steps is None else f"{bound.median_steps:.0f}"
        lines.append(
            f"| {bound.task} | {bound.kind} | {bound.policy} | {bound.episodes} "
            f"| {at_end:.1%} | {low:.1%} – {high:.1%} | {any_time:.1%} | {steps} |"
        )
    return "\n".join(lines)


def as_dict(bounds: list[Bound]) -> list[dict[str, Any]]:
    """Plain values for a JSON file."""
    return [asdict(bound) for bound in bounds]


def policy_name(name: str) -> Policy:
    """`name` as a policy. Raises ConfigError if there is none of that name."""
    for known in POLICIES:
        if name == known:
            return known
    raise ConfigError(f"no policy {name!r}; there are {', '.join(POLICIES)}")


def _played(trials: list[Trial], workers: int) -> Iterable[list[Outcome]]:
    if workers == 1:
        yield from map(play, trials)
        return
    with pool(workers) as players:
        yield from players.map(play, trials)


def _episode(env: FrankaEnv, policy: Policy, seed: int) -> Outcome:
    _, info = env.reset(seed=seed)
    redrawn = info["redraws"] > 0 and policy == "expert"
    act = actor(env, policy, seed)
    over, steps = False, -1
    while not over:
        action = act()
        if action is None:
            break
        _, _, _, over, info = env.step(action)
        if info["success"] and steps < 0:
            steps = int(info["steps"])
    at_end = env.success_after_settling()
    return Outcome(
        seed=seed,
        any_time=(at_end or bool(info["success_any"])) and not redrawn,
        at_end=at_end and not redrawn,
        steps=steps,
    )


def actor(env: FrankaEnv, policy: Policy, seed: int) -> Callable[[], Any]:
    """A function that returns a policy's next action in a freshly reset episode, or None once the expert is done."""
    if policy == "expert":
        expert = env.expert()

        def act() -> Any:
            action = expert.act(env.truth())
            return None if expert.done else action

        return act
    if policy == "nothing":
        return lambda: np.zeros(7)
    rng = np.random.default_rng(seed)
    return lambda: rng.uniform(-LIMIT, LIMIT)


def _bound(task: TaskName, kind: Kind, policy: Policy, outcomes: list[Outcome]) -> Bound:
    any_time, at_end = sum(each.any_time for each in outcomes), sum(each.at_end for each in outcomes)
    steps = [each.steps for each in outcomes if each.steps >= 0]
    return Bound(
        task=task,
        kind=kind,
        policy=policy,
        episodes=len(outcomes),
        any_time=any_time,
        at_end=at_end,
        any_time_interval=wilson(any_time, len(outcomes)),
        at_end_interval=wilson(at_end, len(outcomes)),
        median_steps=float(np.median(steps)) if steps else None,
        failed_seeds=tuple(each.seed for each in outcomes if not each.at_end) if policy == "expert" else (),
    )
