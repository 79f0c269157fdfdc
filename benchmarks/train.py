"""`./dev bench train`: how fast training is from cached latents, beside encoding every time and a plain fp32 loop.

Three ways to run the same updates on the same episodes: from the latent cache; decoding and encoding every window; and
the plain loop that one writes first, which does the latter in fp32, one batch at a time. `supply` is how fast frames
become ready to train on, `train` how fast whole updates are. Frames are counted as often as they are used.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._result import count, positive, publish, run
from vjepa2_ac.data.writer import CameraTrack, Recording, write_episode
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.models.ac_predictor import ACPredictor, ACPredictorConfig
from vjepa2_ac.models.build import build
from vjepa2_ac.models.encoder import Encoder, EncoderConfig
from vjepa2_ac.models.sizes import ENCODERS
from vjepa2_ac.training import recipes
from vjepa2_ac.training.engine import EngineConfig, Trainer
from vjepa2_ac.training.latents import FrameEncoder
from vjepa2_ac.training.order import Layout
from vjepa2_ac.training.posttraining import PostTraining
from vjepa2_ac.training.processes import Processes, joined
from vjepa2_ac.training.recipes import PretrainRecipe, TrainRecipe
from vjepa2_ac.training.run_folder import Run
from vjepa2_ac.training.trajectories import (
    SamplingConfig,
    TrajectoryBatches,
    cached_trajectories,
    recorded_trajectories,
)

SIZES = ("default", "vit-small", "vit-large")
WAYS = ("cached", "encoding", "plain fp32")


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench train", description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=SIZES, choices=SIZES)
    parser.add_argument("--predictor", choices=("default", "released"), default="default")
    parser.add_argument("--batch", type=count, default=4)
    parser.add_argument("--seconds", type=positive, default=10.0, help="of each measurement, at least two updates")
    parser.add_argument(
        "--cpu-seconds",
        action="store_true",
        help="count the processor's seconds, on one thread, instead of the clock's: for a machine shared with others",
    )
    arguments = parser.parse_args()
    if arguments.cpu_seconds:
        torch.set_num_threads(1)
    clock = time.process_time if arguments.cpu_seconds else time.perf_counter
    rows = []
    with joined() as processes:
        for size in arguments.sizes:
            rows += rows_of(size, arguments.predictor, arguments.batch, arguments.seconds, processes, clock)
    publish(
        "train",
        {"training an action-conditioned predictor": rows},
        {"predictor": arguments.predictor, "clock": clock.__name__},
    )


def rows_of(
    size: str, predictor: str, batch: int, seconds: float, processes: Processes, clock: Callable[[], float]
) -> Iterator[dict[str, Any]]:
    recipe = recipes.read("default-train")
    assert isinstance(recipe, TrainRecipe)
    shape = encoder_config(size)
    preprocessing = Preprocessing(img_size=shape.img_size)
    rates: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        episodes = Path(scratch) / "episodes"
        write_episodes(episodes, shape.img_size[0])
        for way in WAYS:
            precision = "fp32" if way == "plain fp32" else "auto"
            encoder = FrameEncoder(build(Encoder, shape), preprocessing, processes.device, precision)
            plain = SamplingConfig()
            if way == "cached":
                found = cached_trajectories(episodes, recipe.window, plain, encoder, Path(scratch) / "c", processes)
            else:
                found = recorded_trajectories(episodes, recipe.window, plain, processes)
            batches = TrajectoryBatches(found, recipe.window, plain, Layout(batch), seed=0)
            engine = EngineConfig(steps=1000, batch=batch, precision=precision)
            given = recipe.predictor if predictor == "default" else {}
            config = ACPredictorConfig(
                **{**given, "img_size": shape.img_size, "patch_size": shape.patch_size, "embed_dim": shape.embed_dim}
            )
            learner = PostTraining(build(ACPredictor, config), recipe.loss, engine.steps, encoder)
            trainer = Trainer(learner, engine, recipe.optimizer, processes)
            frames = batch * recipe.window.frames_per_clip

            def supply(step: int, learner: PostTraining = learner, batches: TrajectoryBatches = batches) -> None:
                learner._latents(on(processes.device, batches[step]))

            def update(step: int, trainer: Trainer = trainer, batches: TrajectoryBatches = batches) -> None:
                trainer.update(500 + step, [on(processes.device, batches[step])], Run(Path(scratch)))

            rates[way] = frames * per_second(supply, seconds / 2, clock), frames * per_second(update, seconds, clock)
    for way in WAYS:
        yield {
            "encoder": size,
            "way": way,
            "supply [frames/s]": rates[way][0],
            "train [frames/s]": rates[way][1],
            "cached ÷ this, supply": rates["cached"][0] / rates[way][0],
            "cached ÷ this, train": rates["cached"][1] / rates[way][1],
        }


def encoder_config(size: str) -> EncoderConfig:
    if size != "default":
        return ENCODERS[size]
    recipe = recipes.read("default-pretrain")
    assert isinstance(recipe, PretrainRecipe)
    config = recipe.encoder_config()
    assert isinstance(config, EncoderConfig)
    return config


def per_second(work: Callable[[int], None], seconds: float, clock: Callable[[], float]) -> float:
    """Calls of `work` per second, from the fastest of several after one to warm up."""
    work(0)
    times: list[float] = []
    while len(times) < 2 or sum(times) < seconds:
        settle()
        started = clock()
        work(len(times) + 1)
        settle()
        times.append(clock() - started)
    return 1 / min(times)


def settle() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def on(device: torch.device, batch: dict[str, Any]) -> dict[str, Any]:
    return {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in batch.items()}


def write_episodes(root: Path, side: int, episodes: int = 2, rows: int = 10) -> None:
    """Write episodes of drifting noise, which is as hard to decode as a real film, more or less."""
    for number in range(episodes):
        dice = np.random.default_rng(number)
        texture = dice.integers(0, 255, (side // 8, side * 2 // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        frames = np.stack([texture[:, 3 * row : 3 * row + side] for row in range(rows)])
        poses_N7 = dice.normal(0, 0.1, (rows, 7))
        poses_N7[:, 6] = 0.5
        camera = CameraTrack(role="left", serial="10000001", frames_NHWC=frames, extrinsics_N6=np.zeros(6))
        started = datetime(2026, 1, 1) + timedelta(minutes=number)
        write_episode(
            Recording(
                fps=4.0,
                poses_N7=poses_N7,
                commands_N7=poses_N7,
                cameras=(camera,),
                task="drift",
                success=True,
                started=started,
            ),
            root,
        )


if __name__ == "__main__":
    run(main)
