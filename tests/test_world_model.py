from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vjepa2_ac import poses
from vjepa2_ac.checkpoints import save
from vjepa2_ac.errors import ConfigError, InputError
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.models.ac_predictor import ACPredictor, ACPredictorConfig, KVCache
from vjepa2_ac.models.build import build
from vjepa2_ac.models.encoder import Encoder, EncoderConfig
from vjepa2_ac.models.hand_location import Observations, locate
from vjepa2_ac.models.inverse_model import NUMBERS, InverseModel, InverseModelConfig
from vjepa2_ac.world_model import History, Rollout, WorldModel, energy

SIZE = (32, 48)  # height, width [px]: 2 x 3 patches
N, D = 6, 24


def make_model(
    precision: str = "fp32",
    *,
    inverse: InverseModel | None = None,
    keyframes: InverseModel | None = None,
    device: str = "cpu",
    **predictor: Any,
) -> WorldModel:
    return WorldModel(
        build(Encoder, EncoderConfig(img_size=SIZE, embed_dim=D, depth=2, num_heads=2)),
        make_predictor(**predictor),
        Preprocessing(img_size=SIZE),
        precision=precision,
        device=device,
        inverse=inverse,
        keyframes=keyframes,
    )


def make_predictor(**values: Any) -> ACPredictor:
    defaults: dict[str, Any] = {"predictor_embed_dim": 32, "depth": 2, "num_heads": 2}
    predictor = build(ACPredictor, ACPredictorConfig(img_size=SIZE, embed_dim=D, **(defaults | values)))
    with torch.no_grad():  # large enough that every move matters
        predictor.action_encoder.weight.mul_(100)
        predictor.state_encoder.weight.mul_(20)
    return predictor


def make_inverse(seed: int = 0, **changes: Any) -> InverseModel:
    shape: dict[str, Any] = {"grid": (2, 3), "embed_dim": D, "channels": 8, "points": 4, "hidden_dim": 16}
    return build(InverseModel, InverseModelConfig(**(shape | changes)), seed=seed)


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return make_model()


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def request(B: int = 2, S: int = 3, H: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    return random(B, N, D), 0.3 * random(B, 7, seed=1), 0.05 * random(B, S, H, 7, seed=2)


def history(B: int = 2, T: int = 2) -> History:
    return History(random(B, T, N, D, seed=3), 0.3 * random(B, T, 7, seed=4), 0.05 * random(B, T, 7, seed=5))


def frames(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)


def last_norm(rollout: Rollout) -> Tensor:
    return energy(rollout, torch.zeros(len(rollout.actions_BSHA), N, D))


def test_latents_of_every_token_have_mean_0_and_variance_1(model: WorldModel) -> None:
    latents_BND = model.encode(frames(3))
    assert latents_BND.shape == (3, N, D)
    torch.testing.assert_close(latents_BND.mean(-1), torch.zeros(3, N), atol=1e-5, rtol=0)
    torch.testing.assert_close(latents_BND.var(-1, correction=0), torch.ones(3, N), atol=1e-2, rtol=0)


def test_a_frame_has_the_same_latents_alone_and_among_others(model: WorldModel) -> None:
    pictures = frames(3)
    torch.testing.assert_close(model.encode(pictures[1]), model.encode(pictures)[1:2], atol=1e-5, rtol=0)


def test_many_frames_are_encoded_in_pieces(model: WorldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.pieces, "size", lambda *bytes_each: 2)
    pictures = frames(5)
    in_pieces = model.encode(pictures)
    torch.testing.assert_close(in_pieces, torch.cat([model.encode(picture) for picture in pictures]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("past", [None, history()], ids=["no history", "history"])
def test_remembering_keys_and_values_changes_nothing(model: WorldModel, past: History | None) -> None:
    cached, plain = model.rollout(*request(), past), model.rollout_uncached(*request(), past)
    assert cached.latents_BSHND.shape == (2, 3, 4, N, D)
    torch.testing.assert_close(cached.latents_BSHND, plain.latents_BSHND, atol=1e-5, rtol=0)
    torch.testing.assert_close(cached.poses_BSH7, plain.poses_BSH7, atol=0, rtol=0)


def test_requests_and_candidates_do_not_see_each_other(model: WorldModel) -> None:
    latents_BND, pose_B7, actions_BSHA = request()
    past = history()
    together = model.rollout(latents_BND, pose_B7, actions_BSHA, past).latents_BSHND
    for b in range(2):
        own = History(*(part[b : b + 1] for part in (past.latents_BTND, past.poses_BT7, past.actions_BTA)))
        for s in range(3):
            request_bs = latents_BND[b : b + 1], pose_B7[b : b + 1], actions_BSHA[b : b + 1, s : s + 1]
            alone = model.rollout(*request_bs, own).latents_BSHND[0, 0]
            torch.testing.assert_close(together[b, s], alone, atol=1e-5, rtol=0)


def test_a_rollout_is_steps_one_after_the_other(model: WorldModel) -> None:
    latents_BND, pose_B7, actions_BSHA = request(S=1, H=2)
    rollout = model.rollout(latents_BND, pose_B7, actions_BSHA)
    first, first_pose = model.step(latents_BND, actions_BSHA[:, 0, 0], pose_B7)
    past = History(latents_BND[:, None], pose_B7[:, None], actions_BSHA[:, 0, :1])
    second, second_pose = model.step(first, actions_BSHA[:, 0, 1], first_pose, past)
    torch.testing.assert_close(rollout.latents_BSHND[:, 0], torch.stack((first, second), 1), atol=1e-5, rtol=0)
    torch.testing.assert_close(rollout.poses_BSH7[:, 0], torch.stack((first_pose, second_pose), 1))


def test_poses_follow_the_actions(model: WorldModel) -> None:
    latents_BND, pose_B7, actions_BSHA = request(B=1, S=1)
    pose, found = pose_B7[0].numpy(), model.rollout(latents_BND, pose_B7, actions_BSHA).poses_BSH7[0, 0]
    for h, action in enumerate(actions_BSHA[0, 0].numpy()):
        pose = poses.integrate(pose, action)
        np.testing.assert_allclose(poses.transform(found[h]), poses.transform(pose), rtol=0, atol=1e-5)


@pytest.mark.parametrize("past", [None, history()], ids=["no history", "history"])
@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_scores_do_not_depend_on_how_candidates_are_divided(
    model: WorldModel, monkeypatch: pytest.MonkeyPatch, size: int, past: History | None
) -> None:
    arguments = request(S=7)
    whole = last_norm(model.rollout(*arguments, past))
    monkeypatch.setattr(model.pieces, "size", lambda *bytes_each: size)
    costs_BS = model.score(*arguments, last_norm, past)
    assert costs_BS.dtype == torch.float32
    torch.testing.assert_close(costs_BS, whole, atol=1e-6, rtol=0)


def test_room_is_asked_for_every_request_and_every_step_that_is_remembered(
    model: WorldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(model.pieces, "size", lambda *bytes_each: asked.append(bytes_each) or 100)
    for B, past in ((1, None), (2, None), (2, history(T=3))):
        model.score(*request(B=B), last_norm, past)
    (one, layer), (two, layers), (remembering, the_same) = asked
    assert (two, layers) == (2 * one, 2 * layer)
    keys_and_values = 2 * model.predictor.config.depth * 3 * (2 + N) * 32 * 4  # of three steps more, in float32
    assert (remembering, the_same) == (two + 2 * keys_and_values, layers)


@pytest.mark.parametrize(("past", "horizon", "kept"), [(0, 2, [1, 1]), (2, 1, [1, 2, 2]), (1, 3, [1, 2, 3, 3])])
def test_keys_and_values_that_nobody_will_read_are_not_kept(
    monkeypatch: pytest.MonkeyPatch, past: int, horizon: int, kept: list[int]
) -> None:
    world, lengths = make_model(), []
    step = world.predictor.step

    def watched(latents: Tensor, action: Tensor, pose: Tensor, cache: KVCache, *, is_last: bool = False) -> Tensor:
        predicted = step(latents, action, pose, cache, is_last=is_last)
        lengths.append(cache.layers[-1].keys.shape[2] // (2 + N))
        return predicted

    monkeypatch.setattr(world.predictor, "step", watched)
    world.rollout(*request(H=horizon), history(T=past) if past else None)
    assert lengths == kept


def test_running_out_of_memory_costs_time_and_no_candidate(model: WorldModel) -> None:
    arguments = request(S=8)
    sizes: list[int] = []

    def greedy(rollout: Rollout) -> Tensor:
        sizes.append(rollout.actions_BSHA.shape[1])
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("out of memory")
        return last_norm(rollout)

    whole = model.score(*arguments, last_norm)
    torch.testing.assert_close(model.score(*arguments, greedy), whole, atol=1e-6, rtol=0)
    assert sizes == [8, 4, 2, 2, 2, 2]
    model.pieces.share = 0.5


def test_the_goal_itself_has_no_energy(model: WorldModel) -> None:
    rollout = model.rollout(*request(B=1, S=2))
    energies_BS = energy(rollout, rollout.last[:, 1])
    assert energies_BS[0, 1] == 0 < energies_BS[0, 0]


def test_gradients_reach_the_actions_that_ask_for_them(model: WorldModel) -> None:
    latents_BND, pose_B7, actions_BSHA = request()
    assert not model.rollout(latents_BND, pose_B7, actions_BSHA).latents_BSHND.requires_grad
    actions_BSHA.requires_grad_()
    costs_BS = last_norm(model.rollout(latents_BND, pose_B7, actions_BSHA))
    (gradient_BSHA,) = torch.autograd.grad(costs_BS.sum(), actions_BSHA)
    assert (gradient_BSHA.abs().amax(-1) > 0).all()


def test_a_predictor_that_sees_the_future_is_rolled_out_the_plain_way() -> None:
    model = make_model(is_frame_causal=False)
    rollout = model.rollout(*request())
    torch.testing.assert_close(rollout.latents_BSHND, model.rollout_uncached(*request()).latents_BSHND)


def test_bf16_answers_in_float32_and_near_fp32() -> None:
    exact, rounded = make_model("fp32"), make_model("bf16")
    assert rounded.dtype == torch.bfloat16
    costs, rounded_costs = (world.score(*request(), last_norm) for world in (exact, rounded))
    assert rounded_costs.dtype == torch.float32
    torch.testing.assert_close(rounded_costs, costs, atol=0, rtol=2e-2)
    torch.testing.assert_close(rounded.encode(frames(1)), exact.encode(frames(1)), atol=0.1, rtol=0)
    cached, plain = rounded.rollout(*request()), rounded.rollout_uncached(*request())
    torch.testing.assert_close(cached.latents_BSHND, plain.latents_BSHND, atol=0.1, rtol=0)


def test_in_bf16_steps_are_remembered_in_bf16_too(monkeypatch: pytest.MonkeyPatch) -> None:
    world, kept = make_model("bf16"), []
    step = world.predictor.step

    def watched(latents: Tensor, action: Tensor, pose: Tensor, cache: KVCache, *, is_last: bool = False) -> Tensor:
        kept.append(cache)
        return step(latents, action, pose, cache, is_last=is_last)

    monkeypatch.setattr(world.predictor, "step", watched)
    world.rollout(*request())
    assert {part.dtype for cache in kept for past in cache.layers for part in (past.keys, past.values)} == {
        torch.bfloat16
    }


def test_networks_stop_learning_and_those_that_locate_stay_exact() -> None:
    world = make_model("bf16", inverse=make_inverse(), keyframes=make_inverse())
    assert world.inverse is not None
    assert world.keyframes is not None
    assert not any(part.training for part in (world.encoder, world.predictor, world.inverse, world.keyframes))
    for part, dtype in ((world.predictor, torch.bfloat16), (world.inverse, None), (world.keyframes, None)):
        assert {weight.dtype for weight in part.parameters()} == {dtype or torch.float32}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((random(2, N + 1, D), *request()[1:]), r"latents have shape \[2, 7, 24\]; expected \[2, 6, 24\]"),
        ((request()[0], random(1, 7), request()[2]), r"pose have shape \[1, 7\]; expected \[2, 7\]"),
        ((*request()[:2], random(2, 4, 7)), r"actions have shape \[2, 4, 7\]; expected \[2, any, any, 7\]"),
        ((*request()[:2], random(2, 0, 4, 7)), "actions have shape"),
        ((*request(), history(B=1)), "the history's latents have shape"),
        ((*request(), replace(history(), poses_BT7=random(2, 3, 7))), "the history's poses have shape"),
        ((*request(), replace(history(), actions_BTA=random(2, 1, 7))), "the history's actions have shape"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(
    model: WorldModel, arguments: tuple[Any, ...], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        model.rollout(*arguments)


def test_networks_that_do_not_belong_together_are_refused() -> None:
    encoder = build(Encoder, EncoderConfig(img_size=SIZE, embed_dim=48, depth=1, num_heads=2))
    with pytest.raises(ConfigError, match="width 48"):
        WorldModel(encoder, make_predictor(), Preprocessing(img_size=SIZE))
    encoder = build(Encoder, EncoderConfig(img_size=SIZE, embed_dim=D, depth=1, num_heads=2))
    with pytest.raises(ConfigError, match="preprocessing makes"):
        WorldModel(encoder, make_predictor(), Preprocessing(img_size=(32, 32)))
    upright = ACPredictorConfig(img_size=SIZE[::-1], embed_dim=D, predictor_embed_dim=32, depth=1, num_heads=2)
    with pytest.raises(ConfigError, match=r"makes \(2, 3\) patches .* built for \(3, 2\)"):
        WorldModel(encoder, build(ACPredictor, upright), Preprocessing(img_size=SIZE))
    with pytest.raises(ConfigError, match="takes poses of 10 numbers; here they have 7"):
        WorldModel(encoder, make_predictor(action_embed_dim=10), Preprocessing(img_size=SIZE))
    gated = make_predictor(copy_gate=True)
    with pytest.raises(ConfigError, match="a copy gate takes normalised latents, and normalize_latents is false"):
        WorldModel(encoder, gated, Preprocessing(img_size=SIZE), normalize_latents=False)
    with pytest.raises(ConfigError, match="extrinsics"):
        WorldModel(encoder, make_predictor(use_extrinsics=True), Preprocessing(img_size=SIZE))
    with pytest.raises(ConfigError, match="as a camera sees them"):
        WorldModel(encoder, make_predictor(camera_frame=True), Preprocessing(img_size=SIZE))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_hand_is_located_by_its_way_from_here_in_float32(precision: str) -> None:
    inverse = make_inverse()
    world = make_model(precision, inverse=inverse)
    seen_BND, pose_B7, goal_BND = random(2, N, D), 0.3 * random(2, 7, seed=1), random(2, N, D, seed=2)
    located = world.locate(seen_BND, pose_B7.double(), goal_BND.double())
    assert located is not None
    located_B4 = located.hand_B4
    assert (located_B4.dtype, located_B4.device, located_B4.requires_grad) == (torch.float32, world.device, False)
    there_B4 = pose_B7[:, NUMBERS] + inverse(seen_BND, goal_BND, pose_B7)
    assert torch.equal(located_B4[:, :3], there_B4[:, :3])
    assert torch.equal(located_B4[:, 3], there_B4[:, 3].clamp(0, 1))
    again = world.locate(seen_BND, pose_B7, goal_BND)
    assert again is not None
    assert all(map(torch.equal, located, again))  # nothing is left out by chance


@pytest.mark.parametrize(("closedness", "expected"), [(-5.0, 0.0), (0.5, 0.5), (5.0, 1.0)])
def test_a_located_hand_is_no_more_open_or_closed_than_a_hand_can_be(closedness: float, expected: float) -> None:
    inverse = make_inverse()
    with torch.no_grad():  # always 5 cm ahead, and closed by so much more
        inverse.move.weight.zero_()
        inverse.move.bias.copy_(torch.tensor([1.0, 0.0, 0.0, closedness / 0.5]))
    pose_17 = torch.tensor([[0.4, -0.9, 1.3, 0.0, 0.0, 0.0, 0.0]])
    located = make_model(inverse=inverse).locate(random(1, N, D), pose_17, random(1, N, D, seed=2))
    assert located is not None
    torch.testing.assert_close(located.hand_B4, torch.tensor([[0.45, -0.9, 1.3, expected]]))


def test_each_hand_is_located_by_the_earlier_observations_of_its_own_scene() -> None:
    inverse = make_inverse()
    world = make_model(inverse=inverse)
    seen_BND, pose_B7, goal_BND = random(2, N, D), 0.3 * random(2, 7, seed=1), random(2, N, D, seed=2)
    earlier = Observations(random(3, N, D, seed=3), 0.3 * random(3, 7, seed=4))
    plainly, told = (world.locate(seen_BND, pose_B7, goal_BND, given) for given in (None, [None, earlier]))
    assert plainly is not None
    assert told is not None
    assert all(torch.equal(one[0], other[0]) for one, other in zip(told, plainly, strict=True))
    expected_4, uncertainty = locate(inverse, earlier.then(seen_BND[1], pose_B7[1]), goal_BND[1])
    torch.testing.assert_close(told.hand_B4[1, :3], expected_4[:3])
    torch.testing.assert_close(told.uncertainty_B[1], uncertainty)
    assert (told.hand_B4[1] - plainly.hand_B4[1]).abs().max() > 1e-3


def test_keyframes_are_found_by_the_network_for_them_and_corrected_by_observations_alike() -> None:
    inverse, keyframes = make_inverse(), make_inverse(seed=7)
    world, only = make_model(inverse=inverse, keyframes=keyframes), make_model(inverse=keyframes)
    earlier = Observations(random(3, N, D, seed=3), 0.3 * random(3, 7, seed=4))
    asked = random(2, N, D), 0.3 * random(2, 7, seed=1), random(2, N, D, seed=2), [None, earlier]
    found, expected, goals = world.locate(*asked, keyframe=True), only.locate(*asked), world.locate(*asked)
    assert found is not None
    assert expected is not None
    assert goals is not None
    assert all(map(torch.equal, found[:2], expected[:2]))
    assert not torch.equal(found.hand_B4, goals.hand_B4)
    assert found.cycle_error_B is not None
    assert goals.cycle_error_B is not None
    assert torch.equal(found.cycle_error_B, goals.cycle_error_B)  # a keyframe has no way back
    alone = make_model(keyframes=keyframes).locate(*asked, keyframe=True)
    assert alone is not None
    assert torch.equal(alone.hand_B4, found.hand_B4)
    assert alone.cycle_error_B is None


def test_a_model_that_finds_no_keyframes_says_how_it_could() -> None:
    with pytest.raises(ConfigError, match=r"finds no keyframes: .* `vjepa2-ac invert --recipe default-keyframes`"):
        make_model(inverse=make_inverse()).locate(random(1, N, D), random(1, 7), random(1, N, D), keyframe=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_hand_is_located_where_the_model_is() -> None:
    asked = random(2, N, D), 0.3 * random(2, 7, seed=1), random(2, N, D, seed=2)
    here, there = (
        make_model("bf16", inverse=make_inverse(), device=device).locate(*asked) for device in ("cpu", "cuda")
    )
    assert there.hand_B4.device.type == "cuda"
    torch.testing.assert_close([part.cpu() for part in there], list(here), atol=1e-4, rtol=0)


def test_a_model_without_an_inverse_cannot_tell_where_the_hand_is(model: WorldModel) -> None:
    assert model.locate(random(2, N, D), random(2, 7), random(2, N, D)) is None


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((random(2, N + 1, D), random(2, 7), random(2, N, D)), r"latents have shape \[2, 7, 24\]"),
        ((random(2, N, D), random(2, 6), random(2, N, D)), r"pose have shape \[2, 6\]"),
        (
            (random(1, N, D), random(1, 7), random(1, N, D), [Observations(random(3, N, D), random(2, 7))]),
            r"the earlier observations' poses have shape \[2, 7\]; expected \[3, 7\]",
        ),
        ((random(2, N, D), random(2, 7), random(1, N, D)), r"goals have shape \[1, 6, 24\]; expected \[2, 6, 24\]"),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments: tuple[Any, ...], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        make_model(inverse=make_inverse()).locate(*arguments)


@pytest.mark.parametrize("changes", [{"grid": (2, 4)}, {"grid": (3, 2)}, {"embed_dim": 2 * D}], ids=str)
def test_an_inverse_of_other_tokens_is_refused(changes: dict[str, Any]) -> None:
    built = {"grid": (2, 3), "embed_dim": D} | changes
    complaint = f"the inverse model was built for {built['grid']} of width {built['embed_dim']}"
    with pytest.raises(ConfigError, match=re.escape(f"the encoder makes (2, 3) patches of width 24; {complaint}")):
        make_model(inverse=make_inverse(**changes))


def test_a_random_model_is_the_same_for_the_same_seed() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    latents = [
        WorldModel.open("random:tiny", precision="fp32", device="cpu", seed=s).encode(picture) for s in (3, 3, 4)
    ]
    torch.testing.assert_close(latents[0], latents[1], atol=0, rtol=0)
    assert not torch.equal(latents[0], latents[2])
    with pytest.raises(ConfigError, match="tiny, vits, vitb"):
        WorldModel.open("random:huge")


def test_a_saved_model_is_opened_as_it_was(model: WorldModel, tmp_path: Path) -> None:
    save(tmp_path / "ours", encoder=model.encoder, predictor=model.predictor, preprocessing=model.preprocessing)
    opened = WorldModel.open(tmp_path / "ours", precision="fp32", device="cpu")
    assert opened.preprocessing == model.preprocessing
    torch.testing.assert_close(opened.encode(frames(1)), model.encode(frames(1)), atol=0, rtol=0)


def test_a_model_of_raw_latents_is_opened_as_one(model: WorldModel, tmp_path: Path) -> None:
    networks = {"encoder": model.encoder, "predictor": model.predictor}
    save(tmp_path / "raw", **networks, preprocessing=model.preprocessing, normalize_latents=False)
    raw = WorldModel.open(tmp_path / "raw", precision="fp32", device="cpu")
    one_step = request(H=1)
    imagined, wanted = (world.rollout(*one_step).latents_BSHND for world in (raw, model))
    torch.testing.assert_close(F.layer_norm(imagined, (D,)), wanted, atol=1e-5, rtol=0)
    assert not torch.allclose(imagined, wanted, atol=1e-2)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_saved_inverse_is_opened_with_its_model_and_not_rounded(
    model: WorldModel, tmp_path: Path, precision: str
) -> None:
    networks = {"encoder": model.encoder, "predictor": model.predictor, "inverse": make_inverse()}
    networks |= {"keyframes": make_inverse(seed=1)}
    save(tmp_path / "ours", **networks, preprocessing=model.preprocessing)
    opened = WorldModel.open(tmp_path / "ours", precision=precision, device="cpu")
    asked = random(2, N, D), 0.3 * random(2, 7, seed=1), random(2, N, D, seed=2)
    made = make_model(inverse=make_inverse(), keyframes=make_inverse(seed=1))
    assert all(map(torch.equal, opened.locate(*asked), made.locate(*asked)))
    assert all(map(torch.equal, opened.locate(*asked, keyframe=True), made.locate(*asked, keyframe=True)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_scoring_never_waits_for_the_device() -> None:
    world = make_model()
    world = WorldModel(world.encoder, world.predictor, world.preprocessing, precision="bf16", device="cuda")
    latents_BND, pose_B7, actions_BSHA = (part.cuda() for part in request())
    goal_BND = random(2, N, D).cuda()
    world.score(latents_BND, pose_B7, actions_BSHA, lambda rollout: energy(rollout, goal_BND))  # tables are made once
    torch.cuda.set_sync_debug_mode("error")
    try:
        world.score(latents_BND, pose_B7, actions_BSHA, lambda rollout: energy(rollout, goal_BND))
    finally:
        torch.cuda.set_sync_debug_mode("default")
