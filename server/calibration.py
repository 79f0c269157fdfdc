"""Calibration for a session: exploratory moves are checked, and the camera's turn is estimated from them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from planner import calibration, checks
from planner.calibration import CalibrationConfig
from planner.camera import CameraTurn
from planner.protocols import World
from server import messages as m
from server.settings import Settings
from server.traces import stage
from vjepa2_ac.errors import FieldError
from vjepa2_ac.pictures import Picture
from vjepa2_ac.poses import Array

Decode = Callable[[bytes, str], Awaitable[Picture]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explored:
    """An exploratory move that has been checked: pictures and poses before and after it."""

    before: Picture
    after: Picture
    pose_before: Array
    pose_after: Array


async def check(asked: m.CalibrationRequest, settings: Settings, decode: Decode) -> list[Explored]:
    """The moves of a request, checked, with their pictures decoded. Raises FieldError for what cannot be used."""
    _refuse_too_many(len(asked.moves), settings)
    return list(
        await asyncio.gather(*(_check(move, f"moves[{i}]", settings, decode) for i, move in enumerate(asked.moves)))
    )


def estimate(world: World, moves: Sequence[Explored], config: CalibrationConfig) -> CameraTurn:
    """The turn that explains the moves best; in the worker's thread only. Raises InputError for too little motion."""
    latents: dict[str, Tensor] = {}
    with stage("encode"):
        for picture in (each for move in moves for each in (move.before, move.after)):
            if picture.sha256 not in latents:  # what was seen after one move is often seen before the next
                latents[picture.sha256] = world.encode(picture.frame_HW3)[0]
    explored = [
        calibration.Exploration(
            before_ND=latents[move.before.sha256],
            after_ND=latents[move.after.sha256],
            pose_before=move.pose_before,
            pose_after=move.pose_after,
        )
        for move in moves
    ]
    with stage("search"):
        return calibration.calibrate(world, explored, config)


def answer(session_id: str, turn: CameraTurn, moves: int) -> m.Calibration:
    """The message that describes a camera's turn to callers."""
    return m.Calibration(
        session_id=session_id,
        camera_turn=[turn.roll, turn.pitch, turn.yaw],
        about=list(turn.about),
        residual=turn.residual,
        moves=moves,
        warnings=[turn.warning] if turn.warning else [],
    )


async def _check(move: m.Exploration, field: str, settings: Settings, decode: Decode) -> Explored:
    limits, margin = settings.limits, settings.workspace_margin
    pose_before = checks.check_pose(move.pose_before, f"{field}.pose_before", limits, margin)
    pose_after = checks.check_pose(move.pose_after, f"{field}.pose_after", limits, margin)
    longest = CalibrationConfig().search.step_limit
    length = float(np.linalg.norm(pose_after[:3] - pose_before[:3]))
    if length > longest:
        raise FieldError(field, f"a move of {length:.3f} m", f"at most {longest:g} m, as the model knows single steps")
    before = await decode(move.before, f"{field}.before")
    after = await decode(move.after, f"{field}.after")
    return Explored(before=before, after=after, pose_before=pose_before, pose_after=pose_after)


def _refuse_too_many(moves: int, settings: Settings) -> None:
    most = settings.max_candidate_steps // calibration.evaluations(1)
    if moves > most:
        raise FieldError("moves", f"{moves} moves", f"at most {most}: each may be searched for")
