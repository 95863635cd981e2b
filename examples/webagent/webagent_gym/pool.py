"""The browsers of a process: lent to one episode at a time, replaced when they end."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from webagent_gym.browser import Browser

__all__ = ["Pool"]


class Pool:
    """Browsers for episodes in any number of event loops.

    Args:
        make: a browser; it starts with its first page.
    """

    def __init__(self, make: Callable[[], Browser] = Browser) -> None:
        self._make = make
        self._lock = threading.RLock()
        self._idle: list[Browser] = []
        self._lent: set[Browser] = set()
        self._waiting: deque[Future[Browser]] = deque()
        self._limit = 0

    async def borrow(self, limit: int) -> Browser:
        """A browser, once one is free; first come, first served.

        Args:
            limit: browsers of the pool at most; one that was allowed once stays allowed.
        """
        future: Future[Browser] = Future()
        with self._lock:
            if not self._limit:
                atexit.register(self.close)
            self._limit = max(self._limit, limit)
            self._waiting.append(future)
            self._serve()
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if not future.cancel():
                with self._lock:  # held until a future that runs has its result
                    browser = future.result()
                self.give_back(browser)
            raise

    def give_back(self, browser: Browser) -> None:
        """Let the next episode have it."""
        with self._lock:
            if browser in self._lent:
                self._lent.remove(browser)
                self._idle.append(browser)
                self._serve()

    def discard(self, browser: Browser) -> None:
        """End a browser in whose place another may start."""
        with self._lock:
            if browser not in self._lent:
                return
        browser.end()
        with self._lock:
            self._lent.discard(browser)
            self._serve()

    def close(self) -> None:
        """End all browsers; episodes that hold one fail."""
        with self._lock:
            browsers = [*self._idle, *self._lent]
            self._idle.clear()
            self._lent.clear()
        threads = [threading.Thread(target=browser.end, daemon=True) for browser in browsers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _serve(self) -> None:
        while self._waiting and (self._idle or len(self._lent) < self._limit):
            future = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                browser = self._idle.pop() if self._idle else self._make()
                self._lent.add(browser)
                future.set_result(browser)
