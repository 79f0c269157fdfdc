"""The one model of a service: opened and warmed up once, then asked from one thread."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from planner.budget import SIZES, CostModel, measure
from planner.planning import Planner, PlannerConfig, Request
from planner.protocols import World
from server.errors import NotReadyError
from server.settings import Settings
from server.worker import Job
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.images import Frames
from vjepa2_ac.world_model import Cost, History, Rollout, WorldModel

log = logging.getLogger(__name__)
State = Literal["loading", "ready", "failed"]
WARM_UP_SAMPLES = 8
REPEATS = 4  # of each timed size, the untimed one included
MOST_MEASURING_S = 5.0  # a machine for which timing would take longer gets a rough estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A world to plan in, and what callers may know of it."""

    world: World
    name: str
    version: str  # the same version, inputs and seed give the same plan
    details: dict[str, str] = field(default_factory=dict)


def open_model(settings: Settings) -> Served:
    """The model that the settings name. Raises CheckpointError where there is none."""
    model = WorldModel.open(settings.model, precision=settings.precision, device=settings.device)
    parameters = sum(p.numel() for part in (model.encoder, model.predictor) for p in part.parameters())
    details = {
        "img_size": "x".join(map(str, model.encoder.config.img_size)),
        "preprocessing": model.preprocessing.name,
        "precision": str(model.dtype).removeprefix("torch."),
        "device": str(model.device),
        "parameters": str(parameters),
    }
    return Served(world=model, name=settings.model, version=version_of(model), details=details)


def version_of(model: WorldModel) -> str:
    """A hash of everything in a world model that its answers depend on."""
    digest = hashlib.sha256(repr((model.preprocessing, model.normalize_latents, model.dtype)).encode())
    for part in (model.encoder, model.predictor):
        digest.update(repr(part.config).encode())
        for name, weights in sorted(part.state_dict().items()):
            digest.update(name.encode())
            digest.update(weights.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


class InterruptibleWorld:
    """A world that stops imagining as soon as the caller of the present job is gone."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.job: Job | None = None

    @property
    def device(self) -> torch.device:
        """Where latents, poses and costs live."""
        return self.world.device

    def encode(self, frames: Frames) -> Tensor:
        """As the world does."""
        return self._asked().encode(frames)

    def rollout(
        self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, history: History | None = None
    ) -> Rollout:
        """As the world does."""
        return self._asked().rollout(latents_BND, pose_B7, actions_BSHA, history)

    def score(
        self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, cost: Cost, history: History | None = None
    ) -> Tensor:
        """As the world does."""
        return self._asked().score(latents_BND, pose_B7, actions_BSHA, cost, history)

    def _asked(self) -> World:
        if self.job:
            self.job.refuse_if_gone()
        return self.world


class ModelHost:
    """Brings a model up and says how far it is."""

    def __init__(self, name: str, opener: Callable[[], Served]) -> None:
        self.name, self._open = name, opener
        self.state: State = "loading"
        self.reason: str | None = None
        self.cost_model: CostModel | None = None
        self._served: Served | None = None
        self._world: InterruptibleWorld | None = None

    @property
    def served(self) -> Served:
        """The model, or a NotReadyError that says why there is none."""
        if self._served is None or self.state != "ready":
            raise NotReadyError(f"the model {self.name} is {self.state}" + (f": {self.reason}" if self.reason else ""))
        return self._served

    @property
    def world(self) -> InterruptibleWorld:
        """What plans are searched in; in the worker's thread only."""
        assert self._world is not None
        return self._world

    def load(self, config: PlannerConfig) -> None:
        """Open the model and plan once with a picture of noise, so that the first caller does not pay for it."""
        started = time.monotonic()
        try:
            served = self._open()
            world = InterruptibleWorld(served.world)
            self.cost_model = _warm_up(world, config)
        except Exception as error:
            self.state, self.reason = "failed", str(error) or type(error).__name__
            log.exception("the model %s could not be loaded", self.name)
            return
        self._served, self._world, self.state = served, world, "ready"
        took_s = round(time.monotonic() - started, 2)
        log.info("the model is ready", extra={"model": served.name, "version": served.version, "took_s": took_s})


def _warm_up(world: World, config: PlannerConfig) -> CostModel:
    """Plan twice, with few candidates; the first time also pays for memory and kernels, the second tells the speed."""
    few = replace(config.search, samples=WARM_UP_SAMPLES, iterations=1, horizon=1, elites=2, kept_elites=0)
    once = replace(config, method="search", search=few)
    latents_ND = world.encode(_noise())[0]
    pose = [*np.mean([config.limits.lowest, config.limits.highest], axis=0), 0.0, 0.0, 0.0, 0.0]
    planner = Planner(world, once)
    for _ in range(2):
        plan = planner.plan(Request(latents_ND=latents_ND, pose=pose, goal_ND=latents_ND))
    rough = CostModel(call=0.0, step=0.0, each=plan.timings["search"] / 1e3 / plan.evaluations)
    expected_s = REPEATS * sum(rough.seconds(samples, horizon) for samples, horizon in SIZES)
    return _measured(world, latents_ND, rough) if expected_s < MOST_MEASURING_S else rough


def _measured(world: World, latents_ND: Tensor, rough: CostModel) -> CostModel:
    """A better cost model; this also warms up large batches."""
    try:
        return measure(world, latents_ND, sizes=SIZES, repeats=REPEATS - 1)
    except ConfigError:  # a world so quick that its time does not grow with the samples
        return rough


def _noise() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
