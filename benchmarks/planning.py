"""What a plan costs and what it finds: `./dev bench planning [--model default] [--quick] [--only 1 3]`.

Six questions are answered in one run, or some of them by their numbers. What is compared takes turns, times are
medians, and ratios are medians over pairs that were measured side by side, so that they mean something whatever else
the machine is doing.

1. How long does a whole plan take, with each preset and in each precision, what is saved by not imagining candidates
   that cannot be among the best, and where does the time go?
2. What does the default search find next to the published one, with the same weights, and at what price?
3. What does caching keys and values save, as the horizon grows?
4. Does bf16 rank candidates as fp32 does?
5. How much memory do more samples take?
6. What does the predictor of the released size take: few samples on a CPU; on a GPU the published searches, and the
   share of the chip's bf16 peak that they reach?

Scenes are of the simulation's training split. Models other than --model have random weights: only their time counts.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks._peaks import bf16_peak
from benchmarks._result import Row, publish, ratio, run, taking_turns
from benchmarks.models import request, step_flops
from planner.cem import CEMConfig
from planner.costs import CostConfig, GoalCost
from planner.mpc import ControlConfig
from planner.planning import Planner, PlannerConfig, Request
from planner.presets import PRESETS, preset
from planner.search_config import SearchConfig
from planner.seeing import see, shown
from sim.env import FrankaEnv
from sim.splits import Split
from vjepa2_ac.devices import default_device
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.models.ac_predictor import ACPredictor
from vjepa2_ac.models.build import build
from vjepa2_ac.models.encoder import Encoder
from vjepa2_ac.precision import is_fast_at_bf16
from vjepa2_ac.world_model import SIZES, WorldModel

PRECISIONS = ("fp32", "bf16")
TOP = 10  # candidates that both precisions should agree on: as many as the published search has elites


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much is measured."""

    scenes: int = 2
    repeats: int = 5  # of a whole plan
    horizons: tuple[int, ...] = (1, 2, 4, 8)
    published: tuple[tuple[int, int], ...] = ((800, 10), (800, 10), (300, 15), (300, 15))  # samples, iterations
    remembered: tuple[int, ...] = tuple(range(1, 9))  # horizons with and without cached keys and values
    candidates: int = 256  # that are ranked
    samples: tuple[int, ...] = (64, 256, 1024)  # whose memory is measured
    large: bool = True  # models larger than the default one too


FULL = Extent()
QUICK = Extent(
    scenes=1,
    repeats=3,
    horizons=(1, 2),
    published=((100, 4), (100, 4)),
    remembered=(1, 2, 4),
    candidates=64,
    samples=(32, 128),
    large=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Something to plan for: what is seen, where the hand is, and what should be seen."""

    frame: NDArray[np.uint8]
    pose: NDArray[np.float64]
    goal: NDArray[np.uint8]


def main() -> None:
    options = parse()
    extent = QUICK if options.quick else FULL
    started = time.perf_counter()
    scenes = drawn_scenes(range(extent.scenes))
    worlds = {precision: WorldModel.open(options.model, precision=precision) for precision in PRECISIONS}
    usual = WorldModel.open(options.model)
    questions: list[tuple[int, str, Callable[[], Sequence[Row]]]] = [
        (1, "a whole plan", lambda: whole_plans(worlds, scenes, extent)),
        (1, "where a plan's time goes", lambda: operations(usual, scenes[0])),
        (
            2,
            "the default search beside the published one",
            lambda: both_searches(usual, worlds["fp32"], scenes, extent),
        ),
        (3, "remembering keys and values", lambda: remembering(worlds, extent)),
        (4, "bf16 beside fp32", lambda: ranking(worlds, scenes, extent)),
        (5, "memory", lambda: memory(options.model, extent)),
        (6, "the released size, random weights", lambda: released_size() if extent.large else []),
    ]
    tables: dict[str, Sequence[Row]] = {}
    for number, title, answer in questions:
        if number in options.only:
            print(f"{number}: {title} …", file=sys.stderr, flush=True)
            tables[title] = answer()
    publish(
        "planning",
        {title: rows for title, rows in tables.items() if rows},
        {"model": options.model, "seconds": round(time.perf_counter() - started, 1)},
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench planning", description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="default", help="as for vjepa2-ac: default, a path or random:SIZE")
    parser.add_argument("--quick", action="store_true", help="less of everything, and no large models")
    parser.add_argument(
        "--only",
        type=int,
        nargs="+",
        choices=range(1, 7),
        default=range(1, 7),
        help="questions by number; default: all",
    )
    options = parser.parse_args()
    if options.quick and set(options.only) == {6}:
        parser.error("question 6 is about a large model, which --quick leaves out")
    return options


def drawn_scenes(seeds: range, split: Split = "train") -> list[Scene]:
    """The beginnings of reaches, with a picture of where the hand should be."""
    env, scenes = FrankaEnv("reach", split=split), []
    for seed in seeds:
        observation, info = env.reset(seed=seed)
        scenes.append(Scene(frame=observation["frame"], pose=observation["pose"], goal=info["goal"][-1]))
    env.close()
    return scenes


# --- 1: a whole plan -------------------------------------------------------------------------------------------------


def whole_plans(worlds: dict[str, WorldModel], scenes: Sequence[Scene], extent: Extent) -> list[Row]:
    """Time from a picture to safe actions, as a robot in a loop waits: the rest is encoded before."""
    scene, rows, earlier = scenes[0], [], ControlConfig().earlier_observations
    poses = [scene.pose + 0.01 * step for step in range(earlier)]
    finds_keyframes = worlds["fp32"].finds_keyframes
    ours = {name: config for name, config in PRESETS.items() if config.method == "search"}
    presets = [name for name, config in ours.items() if finds_keyframes or not config.cost.keyframes]
    hues = {name: preset(name).cost.hues for name in presets}
    ways = [(name, precision) for name in presets for precision in PRECISIONS]
    goals = {(name, precision): see(worlds[precision], scene.goal, hues[name]) for name, precision in ways}
    evaluations: dict[str, int] = {}
    processor: dict[str, list[float]] = defaultdict(list)  # [s] of all threads; hardly depends on other work

    def plan(name: str, precision: str, *, pruned: bool = True) -> None:
        world, goal_VND, started = worlds[precision], goals[name, precision], time.process_time()
        latents_VND = see(world, scene.frame, hues[name])
        asked = Request(**shown(latents_VND, goal_VND, earlier * [goal_VND], poses), pose=scene.pose)
        config = preset(name)
        found = Planner(world, replace(config, search=replace(config.search, prune=pruned))).plan(asked)
        if pruned:
            evaluations[f"{name} {precision}"] = found.evaluations
            processor[f"{name} {precision}"].append(time.process_time() - started)

    works: dict[str, Callable[[], object]] = {f"{name} {of}": partial(plan, name, of) for name, of in ways}
    works |= {f"{name} {of}, all imagined": partial(plan, name, of, pruned=False) for name, of in ways}
    works |= {f"encode {name} {of}": partial(see, worlds[of], scene.frame, hues[name]) for name, of in ways}
    times = taking_turns(works, extent.repeats)
    for name, precision in ways:
        took = times[f"{name} {precision}"]
        rows.append(
            {
                "preset": name,
                "precision": precision,
                "evaluations": evaluations[f"{name} {precision}"],
                "encode (ms)": 1e3 * statistics.median(times[f"encode {name} {precision}"]),
                "whole plan (ms)": 1e3 * statistics.median(took),
                "slowest (ms)": 1e3 * max(took),
                "processor (ms)": 1e3 * statistics.median(processor[f"{name} {precision}"]),
                "all imagined / this": ratio(times[f"{name} {precision}, all imagined"], took),
                "fp32 / this": ratio(times[f"{name} fp32"], took),
            }
        )
    return rows


def operations(world: WorldModel, scene: Scene, most: int = 10) -> list[Row]:
    """Where the time of a default plan goes: the operations with the most time of their own, without what they call."""
    planner, asked = Planner(world, preset("balanced")), asked_of(world, scene, seed=0)
    planner.plan(asked)
    on_cuda = world.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if on_cuda else ProfilerActivity.CPU]) as record:
        planner.plan(asked)
    times = {
        event.key: (event.self_device_time_total if on_cuda else event.self_cpu_time_total, event.count)
        for event in record.key_averages()
    }
    total = sum(time for time, _ in times.values())
    first = sorted(times, key=lambda name: times[name], reverse=True)[:most]
    rows: list[Row] = [
        {"operation": name, "calls": times[name][1], "share (%)": 100 * times[name][0] / total} for name in first
    ]
    rest = [times[name] for name in times.keys() - set(first)]
    left = {"calls": sum(calls for _, calls in rest), "share (%)": 100 * sum(time for time, _ in rest) / total}
    return [*rows, {"operation": "everything else", **left}]


# --- 2: two searches -------------------------------------------------------------------------------------------------


def both_searches(world: WorldModel, judge: WorldModel, scenes: Sequence[Scene], extent: Extent) -> list[Row]:
    """Time, evaluations and the cost of what was found; the answers of both are judged in fp32, side by side."""
    rows = []
    requests = [asked_of(world, scene, seed) for seed, scene in enumerate(scenes)]
    for horizon, (samples, iterations) in zip(extent.horizons, extent.published, strict=True):
        planners = {
            "default": Planner(world, of_horizon(preset("balanced"), horizon)),
            "published": Planner(
                world,
                PlannerConfig(method="paper", paper=CEMConfig(horizon=horizon, samples=samples, iterations=iterations)),
            ),
        }
        planners["default"].plan(requests[0])  # to warm up; the published one is long enough not to mind
        seconds: dict[str, list[float]] = {name: [] for name in planners}
        evaluations: dict[str, list[int]] = {name: [] for name in planners}
        costs_S3 = []
        for scene, asked in zip(scenes, requests, strict=True):
            answers = [np.zeros((horizon, 7))]
            for name, planner in planners.items():
                started = time.perf_counter()
                plan = planner.plan(asked)
                seconds[name].append(time.perf_counter() - started)
                evaluations[name].append(plan.evaluations)
                answers.append(plan.wanted_H7)
            costs_S3.append(scorer(judge, scene)(torch.from_numpy(np.stack(answers)).float()))
        idle, ours, theirs = torch.stack(costs_S3).mean(dim=0).tolist()
        rows.append(
            {
                "horizon": horizon,
                "published search": f"{samples} x {iterations}",
                "evaluations": round(statistics.mean(evaluations["default"])),
                "published": round(statistics.mean(evaluations["published"])),
                "time (ms)": 1e3 * statistics.median(seconds["default"]),
                "published (ms)": 1e3 * statistics.median(seconds["published"]),
                "published / default, time": ratio(seconds["published"], seconds["default"]),
                "cost of nothing": idle,
                "cost": ours,
                "published cost": theirs,
                "default / published, cost": ours / theirs,
            }
        )
    return rows


def of_horizon(config: PlannerConfig, horizon: int) -> PlannerConfig:
    return replace(config, search=replace(config.search, horizon=horizon))


def asked_of(world: WorldModel, scene: Scene, seed: int) -> Request:
    latents_2ND = world.encode(np.stack([scene.frame, scene.goal]))
    return Request(latents_ND=latents_2ND[0], pose=scene.pose, goal_ND=latents_2ND[1], seed=seed)


def scorer(world: WorldModel, scene: Scene) -> Callable[[Tensor], Tensor]:
    """The published cost [S] of what actions [S, H, A] lead to in a scene, which is encoded once."""
    latents_2ND = world.encode(np.stack([scene.frame, scene.goal]))
    pose_17 = torch.from_numpy(scene.pose).float()[None]
    cost = GoalCost(CostConfig(), latents_2ND[1:])
    return lambda actions_SHA: world.score(latents_2ND[:1], pose_17, actions_SHA[None], cost)[0].cpu()


# --- 3: remembering --------------------------------------------------------------------------------------------------


def remembering(worlds: dict[str, WorldModel], extent: Extent) -> list[Row]:
    """Times of rollouts with cached keys and values, beside rollouts that compute the past again at every step."""
    rows = [
        row
        for precision, world in worlds.items()
        for row in remembering_of("the model", precision, world, extent.remembered, candidates=16, repeats=3)
    ]
    for size, horizons in (("vitb", (1, 2, 4, 8)), ("vitl", (1, 2, 4))) if extent.large else ():
        for precision in PRECISIONS if is_fast_at_bf16(default_device()) else ("fp32",):
            rows += remembering_of(size, precision, predictor_only(size, precision), horizons, candidates=1, repeats=2)
    return rows


@torch.inference_mode()
def remembering_of(
    name: str, precision: str, world: WorldModel, horizons: Sequence[int], *, candidates: int, repeats: int
) -> list[Row]:
    rows = []
    world.rollout_uncached(*request(world, candidates, 2))  # to warm up, once: the longer ones take a while
    for horizon in horizons:
        arguments = request(world, candidates, horizon)
        times = taking_turns(
            {"cached": partial(world.rollout, *arguments), "uncached": partial(world.rollout_uncached, *arguments)},
            repeats,
            warm_up=False,
        )
        rows.append(
            {
                "model": name,
                "precision": precision,
                "candidates": candidates,
                "horizon": horizon,
                "cached (ms)": 1e3 * statistics.median(times["cached"]),
                "uncached (ms)": 1e3 * statistics.median(times["uncached"]),
                "uncached / cached": ratio(times["uncached"], times["cached"]),
            }
        )
    return rows


# --- 4: precision ----------------------------------------------------------------------------------------------------


def ranking(worlds: dict[str, WorldModel], scenes: Sequence[Scene], extent: Extent) -> list[Row]:
    """How the bf16 costs of random candidates, drawn evenly from the box, compare with fp32; means over the scenes."""
    scorers = [{precision: scorer(world, scene) for precision, world in worlds.items()} for scene in scenes]
    rows, generator = [], torch.Generator().manual_seed(0)
    for horizon in extent.horizons:
        actions_SHA = torch.zeros(extent.candidates, horizon, 7)
        actions_SHA[..., :3] = torch.rand(extent.candidates, horizon, 3, generator=generator)
        actions_SHA[..., :3] = SearchConfig().step_limit * (2 * actions_SHA[..., :3] - 1)
        signs: list[Row] = []
        for by_precision in scorers:
            costs_S = {precision: score(actions_SHA) for precision, score in by_precision.items()}
            works = {precision: partial(score, actions_SHA) for precision, score in by_precision.items()}
            times = taking_turns(works, extent.repeats, warm_up=False)
            faster = {"fp32 / bf16, time": ratio(times["fp32"], times["bf16"])}
            signs.append({**agreement(costs_S["bf16"], costs_S["fp32"]), **faster})
        means = {name: statistics.mean(sign[name] for sign in signs) for name in signs[0]}
        rows.append({"horizon": horizon, "candidates": extent.candidates, **means})
    return rows


def agreement(costs_S: Tensor, true_S: Tensor) -> Row:
    """How far a ranking can be trusted.

    `regret` is the share that its first choice loses of the gain of the best candidate over the median one.
    """
    top, true_top = (set(costs.topk(TOP, largest=False).indices.tolist()) for costs in (costs_S, true_S))
    best, median = float(true_S.min()), float(true_S.median())
    return {
        "rank correlation (Spearman)": float(spearmanr(costs_S, true_S).statistic),
        f"shared of the top {TOP}": len(top & true_top) / TOP,
        "regret of the first choice": (float(true_S[costs_S.argmin()]) - best) / (median - best),
        "largest difference of cost": float((costs_S - true_S).abs().max()),
        "spread of costs": float(true_S.std()),
    }


# --- 5: memory -------------------------------------------------------------------------------------------------------


def memory(model: str, extent: Extent) -> list[Row]:
    """The memory to score so many candidates, beyond the loaded model; each is measured in a process of its own."""
    fresh = multiprocessing.get_context("spawn")
    rows = []
    for samples in extent.samples:
        row: dict[str, Any] = {"samples": samples, "horizon": 2}
        for way in ("scored in pieces", "rolled out at once"):
            with ProcessPoolExecutor(max_workers=1, mp_context=fresh) as process:
                row[f"{way} (MiB)"] = process.submit(memory_of, model, samples, way).result()
        rows.append(row)
    return rows


@torch.inference_mode()
def memory_of(model: str, samples: int, way: str) -> float:
    """The most memory [MiB] that scoring takes beyond a model that is loaded and warm."""
    world = WorldModel.open(model)
    latents_1ND, pose_17, actions_1SHA = request(world, samples, horizon=2)
    cost = GoalCost(CostConfig(), torch.randn_like(latents_1ND))

    def work(actions_1SHA: Tensor) -> None:
        if way == "scored in pieces":
            world.score(latents_1ND, pose_17, actions_1SHA, cost)
        else:
            cost(world.rollout(latents_1ND, pose_17, actions_1SHA))

    work(actions_1SHA[:, :1])
    if world.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work(actions_1SHA)
        return float(torch.cuda.max_memory_allocated() - before) / 2**20
    with Peak() as peak:
        work(actions_1SHA)
    return peak.grown / 2**20


class Peak:
    """The most memory this process holds [bytes] while the block runs, looked at every millisecond."""

    def __enter__(self) -> Peak:
        self._process, self._over = psutil.Process(), threading.Event()
        self._before = self._most = self._resident()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watcher.join()

    @property
    def grown(self) -> int:
        """By how much the memory grew [bytes]."""
        return self._most - self._before

    def _watch(self) -> None:
        while not self._over.wait(1e-3):
            self._most = max(self._most, self._resident())

    def _resident(self) -> int:
        return int(self._process.memory_info().rss)


# --- 6: the released size --------------------------------------------------------------------------------------------


def released_size() -> list[Row]:
    """Searches with the predictor of V-JEPA 2-AC as released, in the precision this machine is fast at."""
    world = predictor_only("vitg", "auto")
    config, peak, rows = world.predictor.config, bf16_peak(world.device), []
    latents_2ND = torch.randn(2, config.tokens_per_frame, config.embed_dim, generator=torch.Generator().manual_seed(0))
    asked = Request(latents_ND=latents_2ND[0], pose=np.array([0.5, 0, 0.3, 3.14, 0, 0, 0]), goal_ND=latents_2ND[1])
    for name, planned in searches_for(world.device).items():
        planner = Planner(world, planned)
        evaluations, horizon = planner.plan(asked).evaluations, planned.horizon
        seconds = statistics.median(taking_turns({name: partial(planner.plan, asked)}, 2, warm_up=False)[name])
        rate = evaluations * sum(step_flops(world, past) for past in range(horizon)) / seconds / 1e12
        rows.append(
            {
                "search": name,
                "precision": str(world.dtype).removeprefix("torch."),
                "horizon": horizon,
                "evaluations": evaluations,
                "time (s)": seconds,
                "a candidate's step (ms)": 1e3 * seconds / (evaluations * horizon),
                "TFLOP/s": rate,
                "share of the bf16 peak": "unknown" if peak is None else f"{100 * rate / peak:.0f} %",
            }
        )
    return rows


def searches_for(device: torch.device) -> dict[str, PlannerConfig]:
    """What a machine can do in a minute or so: everything on a GPU, very small searches on a CPU."""
    sizes = ((800, 10, 1), (300, 15, 8)) if device.type == "cuda" else ((8, 2, 1), (4, 2, 2))
    published = {
        f"published, {samples} x {iterations}": PlannerConfig(
            method="paper",
            paper=CEMConfig(samples=samples, iterations=iterations, horizon=horizon, elites=min(10, samples // 2)),
        )
        for samples, iterations, horizon in sizes
    }
    if device.type == "cuda":
        return {"default": preset("balanced"), **published}
    few = SearchConfig(samples=4, iterations=2, elites=2, kept_elites=1)
    return {
        f"default, {few.samples} x {few.iterations} for each gripper option": PlannerConfig(search=few),
        **published,
    }


def predictor_only(size: str, precision: str) -> WorldModel:
    """A model of that size with random weights; its encoder has a single layer, as planning from latents needs none."""
    encoder, predictor = SIZES[size]
    return WorldModel(
        build(Encoder, replace(encoder, depth=1), device=default_device()),
        build(ACPredictor, predictor, seed=1, device=default_device()),
        Preprocessing(name="notebook", img_size=encoder.img_size),
        precision=precision,
    )


if __name__ == "__main__":
    run(main)
