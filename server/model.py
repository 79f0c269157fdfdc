"""The one model of a service: opened and warmed up once, then used from the worker's thread alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import torch
from torch import Tensor

from planner.budget import CostModel
from planner.failure_model import FailureModel
from planner.planning import PlannerConfig
from planner.protocols import World
from planner.warm_up import warm_up
from server.errors import NotReadyError
from server.options import failure_models
from server.worker import Job
from vjepa2_ac.devices import finish
from vjepa2_ac.images import Frames
from vjepa2_ac.model_version import confidence_file, version_of
from vjepa2_ac.models.encoder_v21 import EncoderV21
from vjepa2_ac.models.hand_location import Located, Observations
from vjepa2_ac.world_model import Cost, History, Rollout, WorldModel

log = logging.getLogger(__name__)
State = Literal["loading", "ready", "failed"]
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A world to plan in, with the name, version and details that callers are told."""

    world: World
    name: str
    version: str  # the same version, inputs and seed give the same plan
    details: dict[str, str] = field(default_factory=dict)
    failures: tuple[FailureModel, ...] = ()  # from `confidence.json`, where that is among its files


def open_model(name: str, precision: str = "auto", device: str | None = None) -> Served:
    """The model of that name. Raises CheckpointError where there is none."""
    model = WorldModel.open(name, precision=precision, device=device)
    networks = filter(None, (model.encoder, model.predictor, model.inverse, model.keyframes))
    parameters = sum(p.numel() for network in networks for p in network.parameters())
    details = {
        "encoder": "V-JEPA 2.1" if isinstance(model.encoder, EncoderV21) else "V-JEPA 2",
        "img_size": "x".join(map(str, model.encoder.config.img_size)),
        "preprocessing": model.preprocessing.name,
        "precision": str(model.dtype).removeprefix("torch."),
        "device": str(model.device),
        "parameters": str(parameters),
        "inverse": "no" if model.inverse is None else "yes",  # whether it locates the hand in a goal
        "keyframes": "no" if model.keyframes is None else "yes",  # whether it locates the hand at keyframes
    }
    failures = failure_models(confidence_file(name), name)
    return Served(world=model, name=name, version=version_of(model), details=details, failures=failures)


class InterruptibleWorld:
    """A world whose calls raise CancelledError once the caller of the current job is gone.

    A call returns only when the device has finished, so that the measured times of a request's stages are true.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.job: Job | None = None

    @property
    def device(self) -> torch.device:
        """Where latents, poses and costs live."""
        return self.world.device

    @property
    def fps(self) -> float:
        """Frames per second at which it was trained, one for each step that it imagines."""
        return self.world.fps

    @property
    def locates(self) -> bool:
        """Whether it can locate the hand in a goal."""
        return self.world.locates

    @property
    def finds_keyframes(self) -> bool:
        """Whether it can locate the hand at the next keyframe before a goal."""
        return self.world.finds_keyframes

    def encode(self, frames: Frames) -> Tensor:
        """As `World.encode`."""
        return self._there(self._asked().encode(frames))

    def rollout(
        self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, history: History | None = None
    ) -> Rollout:
        """As `World.rollout`."""
        return self._there(self._asked().rollout(latents_BND, pose_B7, actions_BSHA, history))

    def locate(
        self,
        latents_BND: Tensor,
        pose_B7: Tensor,
        goal_BND: Tensor,
        earlier: Sequence[Observations | None] | None = None,
        *,
        keyframe: bool = False,
    ) -> Located | None:
        """As `World.locate`."""
        return self._there(self._asked().locate(latents_BND, pose_B7, goal_BND, earlier, keyframe=keyframe))

    def score(
        self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, cost: Cost, history: History | None = None
    ) -> Tensor:
        """As `World.score`; many candidates are scored in pieces, and whether the caller is gone is checked at each."""

        def cost_while_wanted(rollout: Rollout) -> Tensor:
            self._asked()
            return cost(rollout)

        return self._there(self._asked().score(latents_BND, pose_B7, actions_BSHA, cost_while_wanted, history))

    def _asked(self) -> World:
        if self.job:
            self.job.refuse_if_gone()
        return self.world

    def _there(self, answer: Answer) -> Answer:
        finish(self.device)
        return answer


class ModelHost:
    """Loads the model, and knows whether it is loading, ready or failed."""

    def __init__(self, name: str, opener: Callable[[], Served]) -> None:
        self.name, self._open = name, opener
        self.state: State = "loading"
        self.reason: str | None = None
        self.cost_model: CostModel | None = None
        self._served: Served | None = None
        self._world: InterruptibleWorld | None = None

    @property
    def served(self) -> Served:
        """The model. Raises NotReadyError, which says why there is none."""
        if self._served is None or self.state != "ready":
            raise NotReadyError(self.condition)
        return self._served

    @property
    def condition(self) -> str:
        """The state of the model, and the reason if it has failed, as a sentence."""
        return f"the model {self.name} is {self.state}" + (f": {self.reason}" if self.reason else "")

    @property
    def world(self) -> InterruptibleWorld:
        """The world that plans are searched in; for the worker's thread only."""
        assert self._world is not None
        return self._world

    def load(self, config: PlannerConfig) -> None:
        """Open the model, and plan with a picture of noise, so that the first caller does not pay for it.

        This also measures the speed of the machine, from which `budget_ms` chooses a search.
        """
        started = time.monotonic()
        try:
            served = self._open()
            world = InterruptibleWorld(served.world)
            self.cost_model = warm_up(world, config)
        except Exception as error:
            self.state, self.reason = "failed", str(error) or type(error).__name__
            log.exception("the model %s could not be loaded", self.name)
            return
        self._served, self._world, self.state = served, world, "ready"
        took_s = round(time.monotonic() - started, 2)
        log.info("the model is ready", extra={"model": served.name, "version": served.version, "took_s": took_s})

    def lose(self, error: torch.AcceleratorError) -> None:
        """Mark the model as failed: whatever failed on its device, nothing works on it again in this process."""
        self.state, self.reason = "failed", f"its device was lost: {str(error).partition(chr(10))[0]}"
        log.error("the model %s is lost; only a new process can use its device again", self.name, exc_info=error)
