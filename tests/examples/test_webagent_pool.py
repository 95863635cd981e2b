"""Episodes of the web agent and the browsers they share; the browsers are fakes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import pytest
from webagent_gym.browser import BrowserError, Page
from webagent_gym.episode import Episode
from webagent_gym.pool import Pool
from webagent_gym.settings import Settings
from webagent_gym.text import UNREADABLE, Action, Element

T = TypeVar("T")


class FakeBrowser:
    """A page with the buttons 1 to 3; clicking 3 ends it with reward 1, 2 with -1."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ended = False
        self.clicks: list[int] = []

    def open(self, task: str, seed: int) -> Future[Page]:
        self.clicks = []
        return self._call(lambda: self._page())

    def act(self, action: Action) -> Future[Page]:
        self.clicks.append(action.ref)
        return self._call(lambda: self._page(action.ref))

    def end(self) -> None:
        self.ended = True

    def _page(self, ref: int = 0) -> Page:
        if ref in (2, 3):
            return Page(done=True, reward=1.0 if ref == 3 else -1.0)
        elements = (Element(1, "button"), Element(2, "button"), Element(3, "button"))
        return Page(f"{self.world.title} {len(self.clicks)}", elements)

    def _call(self, page: Any) -> Future[Page]:
        world = self.world
        future: Future[Page] = Future()
        if world.calls_to_fail:
            world.calls_to_fail -= 1
            future.set_exception(BrowserError("it is gone"))
        elif world.hold is None:
            future.set_result(page())
        else:
            hold = world.hold
            future.set_running_or_notify_cancel()
            threading.Thread(target=lambda: hold.wait(30) and future.set_result(page())).start()
        return future


class World:
    """What the browsers of a test share."""

    def __init__(self) -> None:
        self.title = "Click"
        self.calls_to_fail = 0
        self.hold: threading.Event | None = None
        self.made: list[FakeBrowser] = []
        self.pool = Pool(self._make)  # pyright: ignore[reportArgumentType]

    def episode(self, **more: Any) -> Episode:
        row = {"task": "click-test", "seed": 1, "browsers": 1, **more}
        return Episode(Settings.of_row(row), self.pool)

    def _make(self) -> FakeBrowser:
        self.made.append(FakeBrowser(self))
        return self.made[-1]


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(coroutine, 60))


@pytest.mark.parametrize(
    ("answers", "turns"),
    [
        (["click 3"], [("", 1.0, True)]),
        (["click 2"], [("", 0.0, True)]),
        (["1", "3"], [("Click 1", 0.0, False), ("", 1.0, True)]),
        (["hm", "click 3"], [(UNREADABLE, 0.0, False), ("", 1.0, True)]),
        (["click 9", "click 3"], [("There is no element 9.", 0.0, False), ("", 1.0, True)]),
        (["hm", "hm", "hm"], [(UNREADABLE, 0.0, False), (UNREADABLE, 0.0, False), ("", 0.0, True)]),
    ],
)
def test_an_answer_is_a_step(answers: list[str], turns: list[tuple[str, float, bool]]) -> None:
    async def play() -> list[tuple[str, float, bool]]:
        episode = World().episode(max_steps=3)
        assert (await episode.begin()).startswith("Click 0\n[1] button")
        results = [await episode.answer(answer) for answer in answers]
        return [(each.observation.partition("\n")[0], each.reward, each.done) for each in results]

    assert run(play()) == turns


def test_the_end_tells_whether_it_was_a_success() -> None:
    async def play(answer: str) -> dict[str, Any]:
        episode = World().episode()
        await episode.begin()
        return (await episode.answer(answer)).info

    won, lost = run(play("3")), run(play("2"))
    assert (won["success"], won["raw_reward"], won["steps"]) == (True, 1.0, 1)
    assert (lost["success"], lost["raw_reward"]) == (False, -1.0)


def test_another_browser_repeats_the_actions_of_one_that_ended() -> None:
    async def play() -> None:
        world = World()
        episode = world.episode()
        await episode.begin()
        await episode.answer("click 1")
        world.calls_to_fail = 1
        turn = await episode.answer("click 1")
        assert turn.observation.startswith("Click 2\n")
        assert turn.info["replaced"] == 1
        first, second = world.made
        assert first.ended
        assert second.clicks == [1, 1]

    run(play())


def test_an_episode_fails_where_browsers_end_one_after_the_other() -> None:
    async def play() -> None:
        world = World()
        world.calls_to_fail = 3
        with pytest.raises(BrowserError, match="it is gone"):
            await world.episode().begin()
        assert [browser.ended for browser in world.made] == [True] * 3
        # The pool has not lost its place for a browser.
        assert await world.episode().begin()

    run(play())


def test_an_episode_fails_where_another_browser_shows_another_page() -> None:
    async def play() -> None:
        world = World()
        episode = world.episode()
        await episode.begin()
        await episode.answer("click 1")
        world.calls_to_fail, world.title = 1, "Drag"
        with pytest.raises(BrowserError, match="shows something else"):
            await episode.answer("click 1")

    run(play())


def test_episodes_wait_for_a_browser_in_order() -> None:
    async def play() -> None:
        world = World()
        order: list[int] = []

        async def one(number: int) -> None:
            episode = world.episode(browsers=2)
            await episode.begin()
            order.append(number)
            await asyncio.sleep(0)
            episode.end()

        await asyncio.gather(*(one(number) for number in range(10)))
        assert order == list(range(10))
        assert len(world.made) == 2

    run(play())


def test_the_event_loop_goes_on_while_a_browser_works() -> None:
    async def play() -> None:
        world = World()
        world.hold = threading.Event()
        begun = asyncio.ensure_future(world.episode().begin())
        await asyncio.sleep(0)
        # Never reached if begin() blocked.
        world.hold.set()
        assert await begun

    run(play())


def test_a_browser_that_still_works_for_a_cancelled_episode_is_not_lent_again() -> None:
    async def play() -> None:
        world = World()
        episode = world.episode()
        await episode.begin()
        world.hold = threading.Event()
        answer = asyncio.ensure_future(episode.answer("click 1"))
        await asyncio.sleep(0)
        answer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answer
        episode.end()
        world.hold.set()
        assert await world.episode().begin()
        assert [browser.ended for browser in world.made] == [True, False]

    run(play())


def test_a_cancelled_wait_takes_no_browser() -> None:
    async def play() -> None:
        world = World()
        holder = world.episode()
        await holder.begin()
        waiting = [asyncio.ensure_future(world.episode().begin()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()  # while it waits
        holder.end()  # lends the browser to the second
        waiting[1].cancel()  # before it knows
        await asyncio.wait(waiting)
        assert [each.cancelled() for each in waiting] == [True, True, False]
        assert len(world.made) == 1

    run(play())


def test_a_closed_pool_has_ended_its_browsers_and_can_be_used_again() -> None:
    async def play() -> None:
        world = World()
        one, two = world.episode(browsers=2), world.episode(browsers=2)
        await one.begin()
        await two.begin()
        one.end()
        world.pool.close()
        assert [browser.ended for browser in world.made] == [True, True]
        two.end()
        assert await world.episode().begin()
        assert len(world.made) == 3

    run(play())
