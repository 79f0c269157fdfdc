from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.fitcheck.worlds import PERFECT, encoded, walk
from vjepa2_ac.fitcheck import ridge
from vjepa2_ac.fitcheck.attentive import AttentiveReadOut
from vjepa2_ac.fitcheck.encoded_tracks import EncodedTracks, segments
from vjepa2_ac.fitcheck.estimates import Estimate, NotMeasured
from vjepa2_ac.fitcheck.examples import Split, TrainingExamples, examples, split_frames
from vjepa2_ac.fitcheck.learning import LearningConfig, ReadOutNetwork, learn, read
from vjepa2_ac.fitcheck.points import PointsReadOut
from vjepa2_ac.fitcheck.readout import Reader, ReadOut, read_out
from vjepa2_ac.fitcheck.whereabouts import whereabouts

SCENES = [walk(number, objects_R3=np.random.default_rng(number).normal(0, 0.1, (14, 3))) for number in range(12)]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def both_sides(seen: EncodedTracks, split: Split | NotMeasured, steps: int) -> tuple[ReadOut, Reader]:
    assert isinstance(split, Split)
    train, test = TrainingExamples(examples(seen, split.train), split.validation), examples(seen, split.test)
    grid = (train.examples.latents_MND.shape[1], 1)
    return read_out(train, test, grid=grid, steps=steps, linear_frames=1000, seed=0, device=torch.device("cpu"))


def seen_with_objects() -> EncodedTracks:
    """Latents of two tokens: the pose, and where the object is."""
    latents = []
    for track in SCENES:
        assert track.objects_R3 is not None
        padded = np.concatenate((track.objects_R3, np.zeros((len(track), 4))), axis=1)
        latents.append(torch.from_numpy(np.stack((track.poses_R7, padded), axis=1)).float())
    return EncodedTracks(SCENES, latents)


def test_scenes_are_learned_from_or_judged_on_never_both() -> None:
    split = split_frames(SCENES, 1000, 1000, rng())
    assert isinstance(split, Split)
    train, test = ({SCENES[which].group for which, _ in frames} for frames in (split.train, split.test))
    assert train
    assert test
    assert not train & test
    assert split.validation < train


@pytest.mark.parametrize(("frames", "can"), [(1000, True), (12, True), (1, False)])
def test_a_penalty_can_be_chosen_where_frames_are_of_scenes_of_both_kinds(frames: int, can: bool) -> None:
    split = split_frames(SCENES, 1000, 1000, rng())
    assert isinstance(split, Split)
    assert TrainingExamples(examples(seen_with_objects(), split.train), split.validation).can_choose(frames) == can


def test_where_read_outs_learn_elsewhere_every_scene_judges() -> None:
    split = split_frames(SCENES, 1000, 1000, rng(), learn_elsewhere=True)
    assert isinstance(split, Split)
    assert split.train == []
    assert {SCENES[which].group for which, _ in split.test} == {track.group for track in SCENES}


def test_an_object_that_fell_off_the_table_is_not_asked_about() -> None:
    objects_R3 = np.zeros((14, 3))
    objects_R3[9:, 2] = -73.0  # [m], as once collected
    fallen = walk(0, objects_R3=objects_R3)
    split = split_frames([fallen, *SCENES[1:]], 1000, 1000, rng(), learn_elsewhere=True)
    assert isinstance(split, Split)
    assert [row for which, row in split.test if which == 0] == list(range(9))


def test_few_scenes_are_too_few() -> None:
    assert isinstance(split_frames(SCENES[:3], 10, 10, rng()), NotMeasured)


def test_ridge_finds_a_linear_map_with_fewer_frames_than_features() -> None:
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(300, 5, generator=generator)
    tokens = (base @ torch.randn(5, 40 * 20, generator=generator)).view(300, 40, 20)
    targets = base[:, :2] * 3 + 7
    groups = [str(k // 20) for k in range(200)]
    answers = ridge.predict(tokens[:200], targets[:200], tokens[200:], groups, {"0", "1"})
    torch.testing.assert_close(answers.float(), targets[200:], atol=0.01, rtol=0)


def test_ridge_answers_noise_with_the_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    tokens, targets = torch.randn(220, 4, 8, generator=generator), torch.randn(220, 1, generator=generator) + 5
    groups = [str(k // 20) for k in range(200)]
    answers = ridge.predict(tokens[:200], targets[:200], tokens[200:], groups, {"0", "1", "2"})
    assert (answers - targets[:200].mean()).abs().max() < 0.6


def bright_token(places_M: Tensor) -> Tensor:
    """Frames of 16 tokens, one of which is bright: where it is says what is asked."""
    noise = 0.1 * torch.randn(len(places_M), 16, 8, generator=torch.Generator().manual_seed(1))
    noise[torch.arange(len(places_M)), places_M, 0] += 3
    return noise


@pytest.mark.parametrize("which", ["attentive", "points"])
def test_a_readout_sees_where_a_token_is(which: str) -> None:
    def fresh() -> ReadOutNetwork:
        return AttentiveReadOut(16, 8, [1]) if which == "attentive" else PointsReadOut((4, 4), 8, 1)

    places_M = torch.randint(16, (600,), generator=torch.Generator().manual_seed(0))
    frames, targets = bright_token(places_M), (places_M.double()[:, None] - 7.5) / 4.6
    config = LearningConfig(steps=200, batch=64, rate=2e-3, noise=0.1)
    reader = learn(fresh(), frames[:500], targets[:500], config)
    assert (read(reader, frames[500:]) - targets[500:]).abs().mean() < 0.25  # guessing: 0.87
    again = learn(fresh(), frames[:500], targets[:500], config)
    assert torch.equal(read(reader, frames[:9]), read(again, frames[:9]))


class Remembering(ReadOutNetwork):
    """Keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.say = torch.nn.Linear(8, 1)
        self.shown: list[Tensor] = []

    def initialise(self, generator: torch.Generator) -> None:
        pass

    def forward(self, latents_BND: Tensor) -> Tensor:
        self.shown.append(latents_BND)
        said_B1: Tensor = self.say(latents_BND.mean(dim=1))
        return said_B1


@pytest.mark.parametrize("size", [1.0, 40.0])
def test_what_is_learned_from_is_noisy_by_a_share_of_its_deviation_and_what_is_asked_about_is_not(size: float) -> None:
    network, train_MND = Remembering(), size * torch.tensor([1.0, -1.0]).repeat(1, 16, 4)
    learn(network, train_MND, torch.zeros(1, 1), LearningConfig(steps=4, batch=64, rate=1e-3, noise=0.3))
    first, second, *_ = (shown - train_MND for shown in network.shown)
    assert first.std().item() == pytest.approx(0.3 * size, rel=0.03)
    assert not torch.equal(first, second)
    read(network, train_MND)
    assert torch.equal(network.shown[-1], train_MND)


def test_positions_in_the_latents_are_read_in_centimetres() -> None:
    seen = seen_with_objects()
    split = split_frames(SCENES, 1000, 1000, rng())
    found, _ = both_sides(seen, split, steps=20)
    hand, thing, guess = found.linear["hand"], found.linear["object"], found.mean["object"]
    assert isinstance(hand, Estimate)
    assert isinstance(thing, Estimate)
    assert isinstance(guess, Estimate)
    assert hand.value < 0.1
    assert thing.value < 0.1
    assert guess.value == pytest.approx(16, abs=3)  # [cm], the mean length of a vector with 10 cm in each axis


def test_who_reads_imagined_frames_is_the_read_out_by_points() -> None:
    seen = seen_with_objects()
    split = split_frames(SCENES, 1000, 1000, rng())
    found, reader = both_sides(seen, split, steps=2)
    assert isinstance(split, Split)
    test = examples(seen, split.test)
    missed_Q3 = reader(test.latents_MND)["hand"] - test.poses_M7[:, :3]
    by_points, attentive = found.points["hand"], found.attentive["hand"]
    assert isinstance(by_points, Estimate)
    assert isinstance(attentive, Estimate)
    assert by_points.value == pytest.approx(100 * np.linalg.norm(missed_Q3, axis=1).mean())  # [cm]
    assert by_points.value != attentive.value


def test_without_a_simulator_nobody_knows_the_object() -> None:
    tracks = [walk(number) for number in range(6)]
    split = split_frames(tracks, 100, 100, rng())
    found, _ = both_sides(encoded(tracks), split, steps=2)
    assert isinstance(found.linear["object"], NotMeasured)
    assert isinstance(found.attentive["object"], NotMeasured)
    assert isinstance(found.linear["hand"], Estimate)


def test_a_perfect_imagination_puts_the_hand_where_it_is_read_in_the_real_frame() -> None:
    tracks = [walk(number) for number in range(6)]
    seen, split = encoded(tracks), split_frames(tracks, 100, 100, rng())
    _, reader = both_sides(seen, split, steps=30)
    found = whereabouts(PERFECT, seen, segments(tracks, 4)[:11], 4, reader)
    imagined, real = ([each.value for each in side["hand"]] for side in (found.imagined, found.real))
    assert imagined == pytest.approx(real, abs=1e-3)
