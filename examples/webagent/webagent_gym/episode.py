"""One conversation about one page, on a browser that may have to be replaced."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from webagent_gym.browser import Browser, BrowserError, Page
from webagent_gym.pool import Pool
from webagent_gym.settings import Settings
from webagent_gym.text import UNREADABLE, Action, parse, render

__all__ = ["Episode", "Turn"]

_ATTEMPTS = 3
"""Browsers that may end during one call before the episode counts as failed."""


@dataclass(frozen=True)
class Turn:
    """What an answer led to.

    Attributes:
        observation: what the model reads next; empty once the episode is over.
        reward: of this turn, 0 to 1.
        done: whether the episode is over.
        info: ``success``, ``raw_reward``, ``steps`` and ``readable`` of this answer, and
            ``replaced``, the number of browsers that ended.
    """

    observation: str
    reward: float = 0.0
    done: bool = False
    info: dict[str, Any] = field(default_factory=dict[str, Any])


class Episode:
    """A page of MiniWoB++ from its first observation to its reward.

    Where a browser ends, another one opens the same page and repeats the actions so far. The
    episode goes on if the page then shows what the model has seen.

    Args:
        settings: the page.
        pool: where browsers come from.
    """

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._settings = settings
        self._pool = pool
        self._browser: Browser | None = None
        self._actions: list[Action] = []
        self._page = Page()
        self._steps = 0
        self._replaced = 0

    async def begin(self) -> str:
        """Open the page; returns the first observation.

        Raises:
            SettingsError: there is no such task.
            BrowserMissingError: there is no Chromium.
            BrowserError: several browsers ended.
        """
        self._page = await self._persist(None)
        return self._render()

    async def answer(self, text: str) -> Turn:
        """Carry out the action in a model's answer.

        Raises:
            BrowserError: several browsers ended, or another one shows another page.
        """
        self._steps += 1
        action = parse(text)
        if action is None:
            return self._turn(UNREADABLE, readable=False)
        if action.ref and all(action.ref != element.ref for element in self._page.elements):
            return self._turn(f"There is no element {action.ref}.")
        self._page = await self._persist(action)
        self._actions.append(action)
        return self._turn("" if self._page.done else self._render())

    def end(self) -> None:
        """Give the browser back."""
        browser, self._browser = self._browser, None
        if browser:
            self._pool.give_back(browser)

    async def _persist(self, action: Action | None) -> Page:
        for _ in range(_ATTEMPTS - 1):
            with contextlib.suppress(BrowserError):
                return await self._attempt(action)
            self._replaced += 1
        return await self._attempt(action)

    async def _attempt(self, action: Action | None) -> Page:
        if self._browser is None:
            browser, page = await self._catch_up()
            if action is None:
                return page
        else:
            browser = self._browser
        assert action is not None
        return await self._wait(browser.act(action))

    async def _catch_up(self) -> tuple[Browser, Page]:
        browser = self._browser = await self._pool.borrow(self._settings.browsers)
        page = await self._wait(browser.open(self._settings.task, self._settings.seed))
        for action in self._actions:
            page = await self._wait(browser.act(action))
        if self._steps and page != self._page:
            self.end()
            raise BrowserError("the page shows something else after a new start of the browser")
        return browser, page

    async def _wait(self, call: Future[Page]) -> Page:
        try:
            return await asyncio.wrap_future(call)
        except (BrowserError, asyncio.CancelledError) as error:
            # Cancelled: what the browser still does would disturb the next episode.
            browser, self._browser = self._browser, None
            if browser:
                ended = asyncio.get_running_loop().run_in_executor(
                    None, self._pool.discard, browser
                )
                if isinstance(error, BrowserError):
                    await ended
            raise

    def _render(self) -> str:
        return render(
            self._page.utterance,
            self._page.elements,
            actionable=self._settings.elements == "actionable",
            limit=self._settings.max_elements,
        )

    def _turn(self, observation: str, readable: bool = True) -> Turn:
        done = self._page.done or self._steps >= self._settings.max_steps
        return Turn(
            "" if done else observation,
            max(0.0, self._page.reward),
            done,
            {
                "success": self._page.reward >= 1,
                "raw_reward": self._page.reward,
                "steps": self._steps,
                "readable": readable,
                "replaced": self._replaced,
            },
        )
