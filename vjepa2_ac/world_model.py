"""The world model: it encodes frames and imagines the latents that candidate actions would lead to.

A `WorldModel` is a frozen encoder and an action-conditioned predictor with one way to encode, step and roll out
(V-JEPA 2, section 3). A planner needs nothing else. Outside training, latents are normalised here alone (a copy gate
normalises its own prediction).

Latents, poses and actions are float32, whatever precision the networks compute in; poses and actions follow the
conventions of `vjepa2_ac.poses`.

Shapes: B requests, S candidates of each, H steps of a candidate's horizon, T steps of history, N tokens of a frame,
D width of a latent, 7 numbers of a pose, A of an action (7 too), M = B · S.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from vjepa2_ac.checkpoints.places import RANDOM
from vjepa2_ac.devices import choose_device, default_device
from vjepa2_ac.errors import ConfigError, InputError
from vjepa2_ac.geometry import integrate
from vjepa2_ac.images import Frames, Preprocessing, as_frames
from vjepa2_ac.memory import Pieces
from vjepa2_ac.models.ac_predictor import ACPredictor, ACPredictorConfig, KVCache
from vjepa2_ac.models.build import build
from vjepa2_ac.models.encoder import Encoder, EncoderConfig
from vjepa2_ac.models.hand_location import Located, Observations, at_first_sight, cycle_error, locate
from vjepa2_ac.models.inverse_model import InverseModel
from vjepa2_ac.models.sizes import ENCODERS
from vjepa2_ac.models.stills import AnyEncoder, encode_stills
from vjepa2_ac.poses import SIZE
from vjepa2_ac.precision import choose_dtype

Cost = Callable[["Rollout"], Tensor]
"""A function that computes the costs [B, S] of a rollout; a planner looks for the candidates with the lowest."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """The latents and poses that candidates are imagined to lead to; entry h of the horizon comes after action h."""

    latents_BSHND: Tensor
    poses_BSH7: Tensor
    actions_BSHA: Tensor

    @property
    def last(self) -> Tensor:
        """The latents [B, S, N, D] in which each candidate ends."""
        return self.latents_BSHND[:, :, -1]


@dataclass(frozen=True, slots=True)
class History:
    """The steps before the present one, oldest first: the latents seen, the pose, and the action taken there."""

    latents_BTND: Tensor
    poses_BT7: Tensor
    actions_BTA: Tensor

    def __len__(self) -> int:
        return self.latents_BTND.shape[1]


def energy(rollout: Rollout, goal_BND: Tensor) -> Tensor:
    """How far each candidate ends from the goal: mean |latent - goal| over tokens and channels, [B, S].

    The energy that V-JEPA 2-AC minimises (V-JEPA 2, section 3.2), as a mean.
    """
    return (rollout.last - goal_BND.unsqueeze(1)).abs().mean(dim=(-1, -2))


def _with_predictor(encoder: str, width: int, depth: int, heads: int) -> tuple[EncoderConfig, ACPredictorConfig]:
    config = ENCODERS[encoder]
    predictor = ACPredictorConfig(
        embed_dim=config.embed_dim, predictor_embed_dim=width, depth=depth, num_heads=heads, img_size=config.img_size
    )
    return config, predictor


SIZES: dict[str, tuple[EncoderConfig, ACPredictorConfig]] = {
    "tiny": _with_predictor("vit-tiny", 192, 6, 3),
    "vits": _with_predictor("vit-small", 384, 12, 6),
    "vitb": _with_predictor("vit-base", 768, 12, 12),
    # From here on, the predictor is the released one.
    "vitl": _with_predictor("vit-large", 1024, 24, 16),
    "vith": _with_predictor("vit-huge", 1024, 24, 16),
    "vitg": _with_predictor("vit-giant-xformers", 1024, 24, 16),  # V-JEPA 2-AC as released
}
"""The configurations of encoder and predictor for each SIZE of `random:SIZE`; all take pictures of 256 x 256 pixels.

Below `vitl`, predictors are smaller than the released one, to match their encoders.
"""


class WorldModel:
    """An encoder (V-JEPA 2 or 2.1) and a predictor that turn frames, poses and actions into latents.

    The two networks are taken over: put into evaluation mode, moved to `device` (by default CUDA, where there is any)
    and converted to the number format that `precision` names. `normalize_latents` is False only for predictors that
    were trained on raw encoder outputs. `inverse`, if given, locates the hand in a goal; `keyframes`, a network of the
    same kind, locates it where the gripper changes next on the way there. Both are small and stay in float32. Raises
    ConfigError for networks that do not belong together.
    """

    def __init__(
        self,
        encoder: AnyEncoder,
        predictor: ACPredictor,
        preprocessing: Preprocessing,
        *,
        precision: str = "auto",
        device: torch.device | str | None = None,
        normalize_latents: bool = True,
        inverse: InverseModel | None = None,
        keyframes: InverseModel | None = None,
    ) -> None:
        _check_fit(encoder, predictor, preprocessing, inverse=inverse, keyframes=keyframes)
        if predictor.config.copy_gate and not normalize_latents:
            raise ConfigError("a predictor with a copy gate takes normalised latents, and normalize_latents is false")
        self.device = torch.device(device or default_device())
        self.dtype = choose_dtype(precision, self.device)
        self.encoder = encoder.eval().to(self.device, self.dtype)
        self.predictor = predictor.eval().to(self.device, self.dtype)
        self.inverse = None if inverse is None else inverse.eval().to(self.device, torch.float32)
        self.keyframes = None if keyframes is None else keyframes.eval().to(self.device, torch.float32)
        self.preprocessing = preprocessing
        self.normalize_latents = normalize_latents
        self.pieces = Pieces(self.device)

    @classmethod
    def open(
        cls, source: str | Path, *, precision: str = "auto", device: torch.device | str | None = None, seed: int = 0
    ) -> WorldModel:
        """The world model that `source` names: "default", a path, a downloaded release, or `random:SIZE`.

        `seed` is for the weights of a random model alone. Raises CheckpointError for a source that does not hold both
        an encoder and an action-conditioned predictor, ConfigError for a device that this machine does not have.
        """
        device = choose_device(device)
        if str(source).startswith(RANDOM):
            size = str(source).removeprefix(RANDOM)
            return cls.random(size, precision=precision, device=device, seed=seed)
        from vjepa2_ac.checkpoints import load

        networks = ("encoder", "predictor")
        found = load(source, device=device, precision=precision, parts=networks, optional=("inverse", "keyframes"))
        assert found.encoder is not None
        assert found.predictor is not None
        return cls(
            found.encoder,
            found.predictor,
            found.preprocessing,
            precision=precision,
            device=device,
            normalize_latents=found.normalize_latents,
            inverse=found.inverse,
            keyframes=found.keyframes,
        )

    @classmethod
    def random(
        cls, size: str, *, precision: str = "auto", device: torch.device | str | None = None, seed: int = 0
    ) -> WorldModel:
        """An untrained model of a released size or a smaller one, for timing and for trying things without weights.

        The same seed draws the same weights.
        """
        if size not in SIZES:
            raise ConfigError(f"no random model of size {size!r}; there are {', '.join(SIZES)}")
        device = choose_device(device)
        dtype = choose_dtype(precision, device)
        encoder_config, predictor_config = SIZES[size]
        return cls(
            build(Encoder, encoder_config, seed=seed, device=device, dtype=dtype),
            build(ACPredictor, predictor_config, seed=seed + 1, device=device, dtype=dtype),
            Preprocessing(name="notebook", img_size=encoder_config.img_size),
            precision=precision,
            device=device,
        )

    @torch.no_grad()
    def encode(self, frames: Frames) -> Tensor:
        """The latents [B, N, D] of frames [B, H, W, 3], or of one frame [H, W, 3], uint8 RGB.

        They are made as in the predictor's training: each frame is prepared by the release's preprocessing and encoded
        alone by `encode_stills`, whatever the encoder, and the latents are normalised (if `normalize_latents`).
        """
        frames_BHW3 = as_frames(frames)

        def encode_piece(piece: slice) -> Tensor:
            images_B3HW = self.preprocessing(frames_BHW3[piece].to(self.device)).to(self.dtype)
            return self._normalize(encode_stills(self.encoder, images_B3HW))

        return self.pieces.evaluate(encode_piece, len(frames_BHW3), *self._bytes_to_encode())

    @property
    def fps(self) -> float:
        """The frames a second on which the predictor was trained, one per step."""
        return self.predictor.config.fps

    @property
    def locates(self) -> bool:
        """Whether it has an inverse, which locates the hand in a goal."""
        return self.inverse is not None

    @property
    def finds_keyframes(self) -> bool:
        """Whether it has a keyframes network, which locates where the gripper changes next on the way to a goal."""
        return self.keyframes is not None

    @torch.no_grad()
    def locate(
        self,
        latents_BND: Tensor,
        pose_B7: Tensor,
        goal_BND: Tensor,
        earlier: Sequence[Observations | None] | None = None,
        *,
        keyframe: bool = False,
    ) -> Located | None:
        """The hand in each goal, located from the present latents and pose, and how certain that place is.

        With `keyframe`, it is the hand at the next moment on the way to the goal at which the gripper has changed, or
        in the goal itself where the gripper need not change before. `earlier` observations of each request's scene
        show by how much the network that is asked errs there (`models.hand_location`), which corrects its answer and
        tells its uncertainty. The cycle error is always the inverse's, to the goal itself, because a keyframe has
        no way back. Without `keyframe`, a model without an inverse returns None; with it, a model without a keyframes
        network raises ConfigError.
        """
        asked = self._asked(keyframe=keyframe)
        if asked is None:
            return None
        B, frame = len(latents_BND), (self.tokens_per_frame, self.predictor.config.embed_dim)
        latents_BND = self._receive(latents_BND, "latents", B, *frame)
        goal_BND = self._receive(goal_BND, "goals", B, *frame)
        pose_B7 = self._receive(pose_B7, "pose", B, SIZE)
        hand_B4, uncertainty_B = at_first_sight(asked, latents_BND, pose_B7, goal_BND)
        for b, observations in enumerate(earlier or ()):
            if observations:
                scene = self._receive_observations(observations).then(latents_BND[b], pose_B7[b])
                hand_B4[b], uncertainty_B[b] = locate(asked, scene, goal_BND[b])
        hand_B4[:, 3].clamp_(0, 1)
        inverse = self.inverse
        error_B = None if inverse is None else cycle_error(inverse, latents_BND, pose_B7, goal_BND)
        return Located(hand_B4, uncertainty_B, error_B)

    def _asked(self, *, keyframe: bool) -> InverseModel | None:
        """The network to ask: the inverse for the hand in a goal, the keyframes network for the next keyframe."""
        if not keyframe:
            return self.inverse
        if self.keyframes is None:
            raise ConfigError(
                "this model finds no keyframes: give it a picture of every step of the task, or teach it with "
                "`vjepa2-ac invert --recipe default-keyframes`"
            )
        return self.keyframes

    def step(
        self, latents_BND: Tensor, action_BA: Tensor, pose_B7: Tensor, history: History | None = None
    ) -> tuple[Tensor, Tensor]:
        """The latents [B, N, D] and poses [B, 7] after one action each."""
        rollout = self.rollout(latents_BND, pose_B7, action_BA[:, None, None], history)
        return rollout.latents_BSHND[:, 0, 0], rollout.poses_BSH7[:, 0, 0]

    def rollout(
        self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, history: History | None = None
    ) -> Rollout:
        """The imagined latents and poses of S candidates of each of B requests, all computed at once.

        A request's history is read once and shared by its candidates. Actions that require gradients take the way of
        `rollout_uncached`, and gradients flow back to them (take them with `torch.autograd.grad`, which leaves the
        weights alone). Memory grows with B x S; `score` keeps it bounded.
        """
        arguments = self._received(latents_BND, pose_B7, actions_BSHA, history)
        if actions_BSHA.requires_grad and torch.is_grad_enabled():
            return self._roll_out_plainly(*arguments)
        with torch.no_grad():
            return self._roll_out(*arguments)

    def rollout_uncached(
        self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, history: History | None = None
    ) -> Rollout:
        """The same as `rollout`, but without a cache: every step reads the whole past again."""
        with torch.set_grad_enabled(actions_BSHA.requires_grad and torch.is_grad_enabled()):
            return self._roll_out_plainly(*self._received(latents_BND, pose_B7, actions_BSHA, history))

    @torch.no_grad()
    def score(
        self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, cost: Cost, history: History | None = None
    ) -> Tensor:
        """The cost [B, S] of every candidate, in float32, in bounded memory however many there are.

        Candidates are rolled out in pieces whose size is found from the memory that is free. Every piece holds all
        requests: `cost` sees rollouts of B requests and some of their S candidates. Costs depend on the pieces by
        rounding alone: 1e-6 in fp32, about 1e-3 of the cost in bf16.
        """
        latents_BND, pose_B7, actions_BSHA, history = self._received(latents_BND, pose_B7, actions_BSHA, history)
        requests, candidates, horizon, _ = actions_BSHA.shape

        def score_piece(piece: slice) -> Tensor:
            return cost(self._roll_out(latents_BND, pose_B7, actions_BSHA[:, piece], history)).float()

        bytes_each, working_bytes_each = self._bytes_to_roll_out(horizon, len(history) if history else 0)
        return self.pieces.evaluate(
            score_piece, candidates, requests * bytes_each, requests * working_bytes_each, dim=1
        )

    # --- two ways to roll out ----------------------------------------------------------------------------------------

    def _roll_out(self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, history: History | None) -> Rollout:
        requests, candidates, horizon, _ = actions_BSHA.shape
        past = len(history) if history else 0
        if past + horizon == 1 or not self.predictor.config.is_frame_causal:  # nothing to cache, or not cacheable
            return self._roll_out_plainly(latents_BND, pose_B7, actions_BSHA, history)
        cache = self.predictor.empty_cache(requests, past + horizon - 1, self.device, self.dtype)
        for t in range(past):
            assert history is not None
            self._predict(history.latents_BTND[:, t], history.actions_BTA[:, t], history.poses_BT7[:, t], cache)
        cache = cache.expand(candidates)
        latents_MND, pose_M7 = (start.repeat_interleave(candidates, dim=0) for start in (latents_BND, pose_B7))
        actions_MHA = actions_BSHA.flatten(0, 1)
        latents, poses = [], []
        for h, action_MA in enumerate(actions_MHA.unbind(1)):
            latents_MND = self._predict(latents_MND, action_MA, pose_M7, cache, is_last=h == horizon - 1)
            pose_M7 = integrate(pose_M7, action_MA)
            latents.append(latents_MND)
            poses.append(pose_M7)
        return _rollout(torch.stack(latents, dim=1), torch.stack(poses, dim=1), actions_BSHA)

    def _roll_out_plainly(
        self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, history: History | None
    ) -> Rollout:
        candidates, horizon = actions_BSHA.shape[1:3]
        latents_BTND, poses_BT7 = latents_BND.unsqueeze(1), pose_B7.unsqueeze(1)
        if history:
            latents_BTND = torch.cat((history.latents_BTND, latents_BTND), dim=1)
            poses_BT7 = torch.cat((history.poses_BT7, poses_BT7), dim=1)
        latents_MTND, poses_MT7 = (start.repeat_interleave(candidates, dim=0) for start in (latents_BTND, poses_BT7))
        actions_MTA = actions_BSHA.flatten(0, 1)
        if history:
            actions_MTA = torch.cat((history.actions_BTA.repeat_interleave(candidates, dim=0), actions_MTA), dim=1)
        start = poses_MT7.shape[1]
        for t in range(start, start + horizon):
            latents_MND = self._predict(latents_MTND.flatten(1, 2), actions_MTA[:, :t], poses_MT7)
            pose_M7 = integrate(poses_MT7[:, -1], actions_MTA[:, t - 1])
            latents_MTND = torch.cat((latents_MTND, latents_MND.unsqueeze(1)), dim=1)
            poses_MT7 = torch.cat((poses_MT7, pose_M7.unsqueeze(1)), dim=1)
        return _rollout(latents_MTND[:, start:], poses_MT7[:, start:], actions_BSHA)

    def _predict(
        self, latents: Tensor, actions: Tensor, poses: Tensor, cache: KVCache | None = None, *, is_last: bool = False
    ) -> Tensor:
        """The normalised latents of the next frame, from the newest step and a cache, or from all steps without one."""
        latents, actions, poses = (part.to(self.dtype) for part in (latents, actions, poses))
        if cache is not None:
            return self._normalize(self.predictor.step(latents, actions, poses, cache, is_last=is_last))
        return self._normalize(self.predictor(latents, actions, poses)[:, -self.tokens_per_frame :])

    def _normalize(self, latents: Tensor) -> Tensor:
        """Latents in float32, each token with mean 0 and variance 1; eps is torch's 1e-5, as in the reference."""
        latents = latents.float()
        return F.layer_norm(latents, latents.shape[-1:]) if self.normalize_latents else latents

    # --- checks of what comes in, and the memory that it needs -------------------------------------------------------

    def _received(
        self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, history: History | None
    ) -> tuple[Tensor, Tensor, Tensor, History | None]:
        """The arguments in float32 on the model's device. Raises InputError where their shapes do not fit together."""
        config, B = self.predictor.config, len(latents_BND)
        frame, A, receive = (self.tokens_per_frame, config.embed_dim), config.action_embed_dim, self._receive
        latents_BND = receive(latents_BND, "latents", B, *frame)
        pose_B7 = receive(pose_B7, "pose", B, SIZE)
        actions_BSHA = receive(actions_BSHA, "actions", B, None, None, A)
        if history:
            T = len(history)
            history = History(
                receive(history.latents_BTND, "the history's latents", B, T, *frame),
                receive(history.poses_BT7, "the history's poses", B, T, SIZE),
                receive(history.actions_BTA, "the history's actions", B, T, A),
            )
        return latents_BND, pose_B7, actions_BSHA, history or None

    def _receive_observations(self, earlier: Observations) -> Observations:
        T, frame = len(earlier), (self.tokens_per_frame, self.predictor.config.embed_dim)
        return Observations(
            self._receive(earlier.latents_TND, "the earlier observations' latents", T, *frame),
            self._receive(earlier.poses_T7, "the earlier observations' poses", T, SIZE),
        )

    def _receive(self, values: Tensor, what: str, *shape: int | None) -> Tensor:
        check_shape(values, what, shape)
        return values.to(self.device, torch.float32)

    @property
    def grid(self) -> tuple[int, int]:
        """The rows and columns of one frame's latents, which are ordered row by row."""
        return self.encoder.config.grid

    @property
    def tokens_per_frame(self) -> int:
        """N, the number of latents of one frame."""
        return self.predictor.config.tokens_per_frame

    def _bytes_to_encode(self) -> tuple[int, int]:
        """The bytes that a frame needs while it is encoded: in all, and in one layer."""
        config = self.encoder.config
        layer = _bytes_of_a_layer(self.tokens_per_frame, config.embed_dim, config.mlp_ratio, self.dtype)
        video = 3 * config.tubelet_size * config.img_size[0] * config.img_size[1] * torch.float32.itemsize
        return video + layer, layer

    def _bytes_to_roll_out(self, horizon: int, past: int) -> tuple[int, int]:
        """The bytes that a candidate needs: in all (with its rollout and cached keys and values), and in one layer."""
        config = self.predictor.config
        tokens, width = config.conditioning_tokens + config.tokens_per_frame, config.predictor_embed_dim
        layer = _bytes_of_a_layer(tokens, width, config.mlp_ratio, self.dtype)
        kept = max(1, past + horizon - 1)  # steps; the last one's keys and values live only while a layer is computed
        cache = 2 * config.depth * kept * tokens * width * self.dtype.itemsize
        rollout = 2 * (horizon + 1) * config.tokens_per_frame * config.embed_dim * torch.float32.itemsize
        return cache + rollout + layer, layer


def check_shape(values: Tensor, what: str, shape: tuple[int | None, ...]) -> None:
    """Raise InputError unless `values` have this shape, where None is any size but zero."""
    fits = values.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, values.shape, strict=True))
    if not fits or 0 in values.shape:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise InputError(f"{what} have shape {list(values.shape)}; expected [{wanted}]")


def _check_fit(
    encoder: AnyEncoder, predictor: ACPredictor, preprocessing: Preprocessing, **locating: InverseModel | None
) -> None:
    seen, imagined = encoder.config, predictor.config
    if seen.embed_dim != imagined.embed_dim or seen.grid != imagined.grid:
        raise ConfigError(
            f"the encoder makes {seen.grid} patches of width {seen.embed_dim}; "
            f"the predictor was built for {imagined.grid} of width {imagined.embed_dim}"
        )
    if tuple(preprocessing.img_size) != tuple(seen.img_size):
        raise ConfigError(f"preprocessing makes {preprocessing.img_size} pixels; the encoder takes {seen.img_size}")
    for name, network in locating.items():
        if network and (network.config.grid, network.config.embed_dim) != (seen.grid, seen.embed_dim):
            raise ConfigError(
                f"the encoder makes {seen.grid} patches of width {seen.embed_dim}; "
                f"the {name} model was built for {network.config.grid} of width {network.config.embed_dim}"
            )
    if imagined.action_embed_dim != SIZE:
        raise ConfigError(f"the predictor takes poses of {imagined.action_embed_dim} numbers; here they have {SIZE}")
    if imagined.use_extrinsics:
        raise ConfigError("a predictor that wants camera extrinsics cannot be planned with: nobody would know them")
    if imagined.camera_frame:
        raise ConfigError("a predictor of moves as a camera sees them cannot be planned with: here they are the base's")


def _rollout(latents_MHND: Tensor, poses_MH7: Tensor, actions_BSHA: Tensor) -> Rollout:
    BS = actions_BSHA.shape[:2]
    return Rollout(
        latents_MHND.reshape(*BS, *latents_MHND.shape[1:]), poses_MH7.reshape(*BS, *poses_MH7.shape[1:]), actions_BSHA
    )


def _bytes_of_a_layer(tokens: int, width: int, mlp_ratio: float, dtype: torch.dtype) -> int:
    """The bytes that a transformer block holds at once: about twelve times its input, and its wide layer twice."""
    return int(tokens * width * (12 + 2 * mlp_ratio) * dtype.itemsize)
