"""Hanabi on OpenSpiel's rules: what a row may ask for, what answers do, what they earn."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

pytest.importorskip("pyspiel")

from hanabi_gym import partner, text
from hanabi_gym.episode import MAX_ILLEGAL, Episode, Options, OptionsError, Turn
from hanabi_gym.rewards import LEGAL_MOVE
from hanabi_gym.settings import LARGEST_SEED, Settings, SettingsError
from hanabi_gym.table import Table
from hanabi_gym.view import read_view

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "hanabi"

SEED_7 = ["Y5", "R1", "G3", "R1", "G2"]
"""The partner's hand in the real game of two players with seed 7."""

seeds = st.integers(0, LARGEST_SEED)


@st.composite
def games(draw: st.DrawFn) -> Settings:
    """Every game that exists."""
    row = {
        "players": draw(st.integers(2, 5)),
        "hand_size": draw(st.integers(1, 5)),
        "colors": draw(st.integers(1, 5)),
        "ranks": draw(st.integers(1, 5)),
        "max_information_tokens": draw(st.integers(0, 8)),
        "max_life_tokens": draw(st.integers(1, 3)),
        "seed": draw(seeds),
    }
    try:
        return Settings.of_row(row)
    except SettingsError:
        assume(False)
        raise


options = st.builds(
    Options, reward=st.sampled_from(["score", "shaped"]), observation=st.sampled_from(text.KINDS)
)
small = {"players": 2, "hand_size": 2, "colors": 2, "ranks": 2}


def play(episode: Episode, choose: st.DataObject) -> list[Turn]:
    """The whole episode, with any legal moves."""
    turns: list[Turn] = []
    while not (turns and turns[-1].done):
        move = choose.draw(st.sampled_from(sorted(episode.table.moves())))
        turns.append(episode.answer(str(move)))
    return turns


@given(settings=games(), options=options, choose=st.data())
def test_the_rewards_of_a_game_add_up_to_its_score(
    settings: Settings, options: Options, choose: st.DataObject
) -> None:
    episode = Episode(settings, options)
    episode.begin()
    turns = play(episode, choose)
    total = sum(turn.reward for turn in turns)
    if options.reward == "shaped":
        total -= LEGAL_MOVE * len(turns)
    assert total == pytest.approx(turns[-1].score / episode.table.max_score)
    assert episode.table.max_score == settings.colors * settings.ranks
    assert 0 <= turns[-1].score <= episode.table.max_score
    assert turns[-1].score == 0 or episode.table.over
    assert all(turn.legal for turn in turns)


@given(settings=games(), options=options, choose=st.data())
def test_the_same_seed_and_answers_play_the_same_game(
    settings: Settings, options: Options, choose: st.DataObject
) -> None:
    first, second = Episode(settings, options), Episode(settings, options)
    assert first.begin() == second.begin()
    done = False
    while not done:
        move = choose.draw(st.sampled_from(sorted(first.table.moves())))
        turn = first.answer(str(move))
        assert second.answer(str(move)) == turn
        done = turn.done


def test_seeds_deal_differently() -> None:
    dealt = {Table(Settings.of_row({"seed": seed})).observation() for seed in range(32)}
    assert len(dealt) == 32


def test_a_seed_deals_the_same_in_every_process() -> None:
    script = (
        "from hanabi_gym.episode import Episode, Options\n"
        "from hanabi_gym.settings import Settings\n"
        "print(Episode(Settings.of_row({'seed': 7}), Options()).begin()[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(EXAMPLE)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = Episode(Settings.of_row({"seed": 7}), Options()).begin()[0]
    assert done.stdout == said + "\n"
    # The deal of a seed must not change: what a model was trained on depends on it.
    assert [card.face for card in read_view(said.partition("Legal")[0]).hands[1]] == SEED_7


@given(settings=games(), options=options, said=st.lists(st.text(max_size=60), max_size=8))
def test_any_text_is_answered(settings: Settings, options: Options, said: list[str]) -> None:
    episode = Episode(settings, options)
    assert episode.begin()[0]
    for answer in said:
        turn = episode.answer(answer, len(answer))
        assert turn.observation
        assert turn.done == bool(turn.reason)
        if turn.done:
            break


ODD = [
    "", "Move:", "Move: 99999999999999999999999", "9" * 5000, "<think>", "<think>Move: 2",
    "Move: ٢", "reveal player +9 color Q", "play play play", "\ud800", "Move: -1",
    "discard 0" * 1000,
]  # fmt: skip


@pytest.mark.parametrize("answer", ODD)
def test_an_answer_without_a_legal_move_leaves_the_game_as_it_is(answer: str) -> None:
    episode = Episode(Settings.of_row({"seed": 3}), Options())
    before = episode.table.observation()
    turn = episode.answer(answer)
    assert not turn.legal
    assert turn.reward == 0
    assert not turn.done
    assert episode.table.observation() == before
    assert turn.observation.splitlines()[0].endswith(".")
    assert before in turn.observation + "\n"


def test_three_answers_in_a_row_without_a_legal_move_end_the_episode() -> None:
    episode = Episode(Settings.of_row({**small, "seed": 1}), Options())
    assert MAX_ILLEGAL == 3
    done = [episode.answer(answer).done for answer in ("?", "?", "Play 0", "?", "?", "?")]
    assert done == [False, False, False, False, False, True]


@given(settings=games(), choose=st.data())
def test_every_legal_move_is_read_back_in_every_form(
    settings: Settings, choose: st.DataObject
) -> None:
    table = Table(settings)
    for _ in range(choose.draw(st.integers(0, 6))):
        if not table.over:
            table.play(choose.draw(st.sampled_from(sorted(table.moves()))))
    moves = table.moves()
    for number, name in moves.items():
        for answer in (
            str(number), f" {number}\n", f"{number}, yes: {number}", name, f"({name})",
            name.upper(), f"Move: {number}", f"I have 3 lives.\n**Move:** {number}<|im_end|>",
            f"<think>Move: 99 or play 7?</think>\n\n{name}", f"Not discard 0: move {number}",
        ):  # fmt: skip
            assert text.read_move(answer, moves) == text.Reading(number), answer


def test_several_numbers_without_a_word_are_no_move() -> None:
    moves = {0: "Discard 0", 1: "Play 0"}
    assert text.read_move("0 or 1", moves) == text.Reading(None, "The answer names no move.")
    assert text.read_move("first play 0, no: discard 0", moves).move == 0


@given(seed=seeds, players=st.integers(2, 5))
def test_the_partner_always_has_a_legal_move_and_sees_no_own_card(seed: int, players: int) -> None:
    table = Table(Settings.of_row({"seed": seed, "players": players}))
    while not table.over:
        view = read_view(table.observation())
        assert {card.face for card in view.hands[0]} == {"XX"}
        assert len(view.hands) == players
        table.play(partner.choose(view, table.moves()))


@pytest.mark.costly
@pytest.mark.parametrize("players", [2, 3, 4, 5])
def test_games_of_the_partner_with_itself_are_worth_playing(players: int) -> None:
    scores: list[int] = []
    for seed in range(20):
        table = Table(Settings.of_row({"seed": seed, "players": players}))
        while not table.over:
            table.play(partner.choose(read_view(table.observation()), table.moves()))
        scores.append(table.score)
    assert sum(scores) / len(scores) > 10


def test_a_perfect_score_can_be_reached() -> None:
    """By one who may look into all hands; of these seeds it works in some."""
    assert max(clairvoyant(seed) for seed in range(12)) == 1.0


def clairvoyant(seed: int) -> float:
    """The reward of a game in which the model knows its cards from the partner's view."""
    settings = Settings.of_row({**small, "seed": seed})
    episode = Episode(settings, Options())
    total, done = 0.0, False
    while not done:
        table = episode.table
        faces = [card.face for card in read_view(table._state.observation_string(1)).hands[1]]
        fireworks = read_view(table.observation()).fireworks
        names = {name: number for number, name in table.moves().items()}
        good = [
            names[f"Play {at}"]
            for at, face in enumerate(faces)
            if fireworks[face[0]] == int(face[1]) - 1
        ]
        turn = episode.answer(str(good[0] if good else list(names.values())[-1]))
        total, done = total + turn.reward, turn.done
    return total


def test_a_lost_game_takes_its_points_back() -> None:
    """Playing card 0 blindly loses all lives of a big game: score 0, as in the library."""
    episode = Episode(Settings.of_row({"seed": 1, "max_life_tokens": 2}), Options())
    rewards: list[float] = []
    while not episode.table.over:
        rewards.append(episode.answer("Play 0").reward)
    assert max(rewards) > 0
    assert min(rewards) < 0
    assert sum(rewards) == pytest.approx(0)


def test_full_observations_say_what_others_did_and_all_legal_moves() -> None:
    episode = Episode(Settings.of_row({"players": 3, "seed": 1}), Options())
    first, system = episode.begin()
    assert "with 2 other players" in system
    assert "(R, Y, G, W, B)" in system
    assert first.startswith("Life tokens: 3\nInfo tokens: 8\n")
    second = episode.answer("Reveal player +1 color G").observation
    assert second.splitlines()[:2] == ["Player 1: Play 0", "Player 2: Reveal player +1 rank 1"]
    listed = second.partition("Legal moves:\n")[2].splitlines()
    assert listed == [f"{number}: {name}" for number, name in episode.table.moves().items()]


@given(settings=games())
def test_compact_observations_are_one_short_line(settings: Settings) -> None:
    episode = Episode(settings, Options(observation="compact"))
    observation, system = episode.begin()
    assert "\n" not in observation
    assert len(observation) <= 250
    assert system == "Hanabi"
    offered = observation.partition("| ")[2].split()
    assert offered == [str(number) for number in episode.table.moves()]


def test_a_long_conversation_has_no_next_turn() -> None:
    episode = Episode(Settings.of_row({"seed": 1}), Options(max_bytes=100))
    assert not episode.answer("Play 0", 100).done
    turn = episode.answer("Play 0", 101)
    assert turn.done
    assert turn.reason == "the conversation has more than 100 bytes"


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "env_config.seed is missing, set it: all generations of a prompt play one deal"),
    ({"seed": 1, "players": 1}, "env_config.players is 1, choose a number from 2 to 5"),
    ({"seed": 1, "players": "2"}, "env_config.players is '2', choose a number from 2 to 5"),
    ({"seed": True}, "env_config.seed is True, choose a number from 0 to 2147483647"),
    ({"seed": 1, "colors": 6}, "env_config.colors is 6, choose a number from 1 to 5"),
    ({"seed": 1, "ranks": 0}, "env_config.ranks is 0, choose a number from 1 to 5"),
    ({"seed": 1, "hand_size": 9}, "env_config.hand_size is 9, choose a number from 1 to 5"),
    ({"seed": 1, "max_life_tokens": 0},
     "env_config.max_life_tokens is 0, choose a number from 1 to 3"),
    ({"seed": 1, "handsize": 2},
     ("env_config.handsize is unknown, choose from players, seed, hand_size, colors, ranks, "
      "max_information_tokens, max_life_tokens")),
    ({"seed": 1, "players": 5, "colors": 1, "ranks": 5},
     ("env_config: 5 players with 4 cards need 20, 1 colors of 5 ranks have 10, "
      "set fewer players, a smaller hand_size, or more colors or ranks")),
]  # fmt: skip


@pytest.mark.parametrize(("row", "message"), BAD)
def test_a_game_that_does_not_exist_is_named_in_one_line(row: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.of_row(row)
    assert str(caught.value) == message


def test_null_in_a_row_means_not_said() -> None:
    row = {"name": "hanabi_env", "seed": 4, "players": 4, "hand_size": None, "ranks": None}
    assert Settings.of_row(row) == Settings(players=4, seed=4, hand_size=4)


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, Options()),
        ({"HANABI_REWARD": "", "HANABI_MAX_BYTES": ""}, Options()),
        (
            {"HANABI_REWARD": "shaped", "HANABI_OBSERVATION": "compact", "HANABI_MAX_BYTES": "9"},
            Options("shaped", "compact", 9),
        ),
    ],
)
def test_options_come_from_the_environment(environ: dict[str, str], found: Options) -> None:
    assert Options.of_environ(environ) == found


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("HANABI_REWARD", "points", "HANABI_REWARD is 'points', choose from score, shaped"),
        ("HANABI_OBSERVATION", "short", "HANABI_OBSERVATION is 'short', choose from full, compact"),
        ("HANABI_MAX_BYTES", "0", "HANABI_MAX_BYTES is '0', set it to a number above 0"),
    ],
)
def test_an_impossible_option_is_named_in_one_line(name: str, value: str, message: str) -> None:
    with pytest.raises(OptionsError) as caught:
        Options.of_environ({name: value})
    assert str(caught.value) == message
