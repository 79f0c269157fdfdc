"""Real services on loopback ports, over small worlds, in a thread of their own."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from planner.protocols import World
from server.model import Served
from server.run import Listening, Running
from server.service import PlanningService
from server.settings import Settings
from tests.models.small import ac_predictor, encoder
from tests.planner.worlds import PointWorld
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.models.build import build
from vjepa2_ac.models.inverse_model import InverseModel, InverseModelConfig
from vjepa2_ac.world_model import WorldModel


def point_world() -> Served:
    return Served(world=PointWorld(), name="point", version="1")


def tiny_model() -> Served:
    """A real encoder and predictor with random weights."""
    model = WorldModel(
        encoder(),
        ac_predictor(img_size=(32, 32), embed_dim=48),
        Preprocessing(img_size=(32, 32)),
        precision="fp32",
        device="cpu",
    )
    return Served(world=model, name="tiny", version="1")


def locating_model() -> Served:
    """The same with an inverse, of random weights too, that locates the hand in goals."""
    opened = tiny_model()
    inverse = build(InverseModel, InverseModelConfig(grid=opened.world.grid, embed_dim=48))
    opened.world.inverse = inverse.eval()
    return opened


def keyframes_model() -> Served:
    """The same that finds keyframes too, as little as it knows of them."""
    opened = locating_model()
    opened.world.keyframes = opened.world.inverse
    return opened


class SlowWorld(PointWorld):
    """A point world that waits at a gate before it scores."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.scoring = threading.Event()

    def score(self, *arguments: Any, **more: Any) -> Tensor:
        self.scoring.set()
        self.gate.wait(20)
        return super().score(*arguments, **more)


def served(world: World) -> Callable[[], Served]:
    return lambda: Served(world=world, name="point", version="1")


@contextlib.contextmanager
def running(opener: Callable[[], Served] = point_world, **settings: Any) -> Iterator[tuple[Running, Listening]]:
    """A service that is ready, and where it listens; drained at the end."""
    torch.set_num_threads(1)
    service = PlanningService(Settings(**{"port": 0, "grpc_port": 0, **settings}), opener)
    program, places = Running(service), queue.Queue[Listening]()
    thread = threading.Thread(target=lambda: asyncio.run(program.run(places.put)), daemon=True)
    thread.start()
    where = places.get(timeout=20)
    while service.host.state == "loading":
        threading.Event().wait(0.01)
    try:
        yield program, where
    finally:
        program.stop()
        thread.join(20)
        assert not thread.is_alive(), "the service did not stop"
