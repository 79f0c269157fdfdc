"""How long the networks take: `./dev bench models [--sizes tiny vits …] [--precisions fp32 bf16]`.

Three things are timed in one run, so that ratios mean something whatever else the machine is doing: encoding a frame,
next to the `transformers` encoder with the same weights; one step of one candidate; and a whole rollout with cached
keys and values, next to one that computes the past again. Weights are random: only time is measured.

Frames are 256 px. Candidates are scored in batches as large as the world model chooses, up to --candidates.
"""

from __future__ import annotations

import argparse
import gc
import resource
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks._result import Row, count, publish, run, timed
from vjepa2_ac.models.encoder import Encoder
from vjepa2_ac.world_model import SIZES, Rollout, WorldModel, energy

HORIZONS = (1, 2, 4, 8)


def main() -> None:
    options = parse()
    started = time.perf_counter()
    encoding: list[Row] = []
    stepping: list[Row] = []
    remembering: list[Row] = []
    notes: dict[str, object] = {"candidates": options.candidates}
    for size in options.sizes:
        for precision in options.precisions:
            began = time.perf_counter()
            model = WorldModel.random(size, precision=precision, device=options.device)
            built = time.perf_counter() - began
            encoding.append({"size": size, "precision": precision, "build (s)": built, **time_encoding(model)})
            stepping.append({"size": size, "precision": precision, **time_step(model, options.candidates)})
            if not options.without_rollouts:
                remembering += [
                    {"size": size, "precision": precision, **time_rollout(model, horizon)} for horizon in HORIZONS
                ]
            del model
            gc.collect()
    notes["seconds"] = round(time.perf_counter() - started, 1)
    notes["peak_memory_gib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    tables = {"encode one frame": encoding, "one candidate-step": stepping, "rollout of one candidate": remembering}
    publish("models", {title: rows for title, rows in tables.items() if rows}, notes)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench models", description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["tiny", "vits"], help="default: tiny vits")
    parser.add_argument("--precisions", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--candidates", type=count, default=16, help="scored together for the time of one (default 16)")
    parser.add_argument("--device", default=None)
    parser.add_argument("--without-rollouts", action="store_true", help="leave out cached against uncached")
    return parser.parse_args()


@torch.inference_mode()
def time_encoding(model: WorldModel) -> Row:
    """Time to encode the clip of one frame with our encoder, and with that of `transformers` in the same precision."""
    height, width = model.encoder.config.img_size
    video_BCTHW = torch.randn(1, 3, 2, height, width, device=model.device, dtype=model.dtype)
    theirs = transformers_encoder(model.encoder)
    video_BTCHW = video_BCTHW.transpose(1, 2).contiguous()
    gap = float((model.encoder(video_BCTHW) - theirs(video_BTCHW)).abs().max())
    ours_s, theirs_s = side_by_side(lambda: model.encoder(video_BCTHW), lambda: theirs(video_BTCHW))
    return {
        "ours (ms)": 1e3 * ours_s,
        "transformers (ms)": 1e3 * theirs_s,
        "ours / transformers": ours_s / theirs_s,
        "largest difference": gap,
    }


def time_step(model: WorldModel, candidates: int) -> Row:
    """Time of one step of one candidate, where `candidates` are scored together."""
    latents_BND, pose_B7, actions_BSHA = request(model, candidates, horizon=1)
    goal_BND = torch.randn_like(latents_BND)

    def cost(rollout: Rollout) -> Tensor:
        return energy(rollout, goal_BND)

    seconds = timed(lambda: model.score(latents_BND, pose_B7, actions_BSHA, cost))
    flops = step_flops(model)
    return {
        "one candidate-step (ms)": 1e3 * seconds / candidates,
        "candidates at once": min(candidates, model.pieces.size(*model._bytes_to_roll_out(1, 0))),
        "GFLOP": flops / 1e9,
        "TFLOP/s": candidates * flops / seconds / 1e12,
    }


def time_rollout(model: WorldModel, horizon: int) -> Row:
    """Time of one candidate's rollout with and without cached keys and values, and how far the two differ."""
    arguments = request(model, 1, horizon)
    with torch.inference_mode():
        gap = (model.rollout(*arguments).latents_BSHND - model.rollout_uncached(*arguments).latents_BSHND).abs().max()
        cached, uncached = side_by_side(lambda: model.rollout(*arguments), lambda: model.rollout_uncached(*arguments))
    return {
        "horizon": horizon,
        "cached (ms)": 1e3 * cached,
        "uncached (ms)": 1e3 * uncached,
        "cached / uncached": cached / uncached,
        "largest difference": float(gap),
    }


def side_by_side(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """The shortest times [s] of two kinds of work that take turns, so that a busy machine slows both alike."""
    times = [(timed(ours, repeats=2, seconds=1), timed(theirs, repeats=2, seconds=1)) for _ in range(3)]
    return min(time for time, _ in times), min(time for _, time in times)


def request(model: WorldModel, candidates: int, horizon: int) -> tuple[Tensor, Tensor, Tensor]:
    config = model.predictor.config
    latents_BND = torch.randn(1, config.tokens_per_frame, config.embed_dim, device=model.device)
    pose_B7 = torch.zeros(1, 7, device=model.device)
    return latents_BND, pose_B7, 0.05 * torch.randn(1, candidates, horizon, 7, device=model.device)


def step_flops(model: WorldModel, past: int = 0) -> float:
    """Multiplications and additions of one candidate's step after `past` others, whose keys and values are cached."""
    config = model.predictor.config
    tokens, width = config.conditioning_tokens + config.tokens_per_frame, config.predictor_embed_dim
    block = 2 * tokens * width * width * (4 + 2 * config.mlp_ratio) + 4 * tokens * (past + 1) * tokens * width
    mixing = 18 * config.tokens_per_frame * width * width if config.local_mixing else 0
    return config.depth * (block + mixing) + 4 * config.tokens_per_frame * config.embed_dim * width


def transformers_encoder(encoder: Encoder) -> Callable[[Tensor], Tensor]:
    """The V-JEPA 2 of `transformers` with this encoder's weights: clips [B, T, C, H, W] to tokens [B, N, D]."""
    from transformers import VJEPA2Config, VJEPA2Model

    config = encoder.config
    settings = VJEPA2Config(
        patch_size=config.patch_size,
        crop_size=config.img_size[0],
        frames_per_clip=config.num_frames,
        tubelet_size=config.tubelet_size,
        hidden_size=config.embed_dim,
        num_attention_heads=config.num_heads,
        num_hidden_layers=config.depth,
        mlp_ratio=config.mlp_ratio,
        pred_num_hidden_layers=1,
    )
    with torch.device("meta"):  # no weights of its own
        theirs = VJEPA2Model._from_config(settings, attn_implementation="sdpa").eval()  # type: ignore[no-untyped-call]
    state = {
        name: tensor for ours, tensor in encoder.state_dict().items() for name, tensor in their_names(ours, tensor)
    }
    theirs.encoder.load_state_dict(state, strict=True, assign=True)
    return lambda video_BTCHW: theirs(pixel_values_videos=video_BTCHW, skip_predictor=True).last_hidden_state


def their_names(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """One of our encoder's tensors as `transformers` names it, with queries, keys and values apart."""
    for ours, theirs in (
        ("patch_embed.", "embeddings.patch_embeddings."),
        ("blocks.", "layer."),
        (".attn.", ".attention."),
        ("norm.", "layernorm."),
    ):
        name = name.replace(ours, theirs) if ours != "norm." or name.startswith("norm.") else name
    if ".qkv." in name:
        yield from zip((name.replace("qkv", part) for part in ("query", "key", "value")), tensor.chunk(3), strict=True)
    else:
        yield name, tensor


if __name__ == "__main__":
    run(main)
