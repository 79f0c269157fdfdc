"""Services that tests may share, because what they ask of them leaves no trace."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from server.logs import LOGGERS
from server.run import Listening
from tests.server.running import running, tiny_model
from vjepa2_ac.client import PlannerClient

WIRES = ("rest", "grpc")


@pytest.fixture(scope="session")
def point() -> Iterator[Listening]:
    """A service over the point world."""
    with running() as (_, where):
        yield where


@pytest.fixture(scope="session")
def tiny() -> Iterator[Listening]:
    """A service over a real model with random weights."""
    with running(tiny_model) as (_, where):
        yield where


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """A test that serves in this process sends the log to a stderr that ends with it; the next one has its own."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    yield
    for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.fixture(params=WIRES)
def client(request: pytest.FixtureRequest, point: Listening) -> Iterator[PlannerClient]:
    """A client of the point world's service, on each wire in turn."""
    with PlannerClient(url_of(point, request.param), retries=0) as client:
        yield client


def url_of(where: Listening, wire: str) -> str:
    return where.url if wire == "rest" else f"grpc://{where.grpc}"
