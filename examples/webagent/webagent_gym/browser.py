"""One headless Chromium and the thread that talks to it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from webagent_gym.settings import SettingsError
from webagent_gym.text import Action, Element

__all__ = ["Browser", "BrowserError", "BrowserMissingError", "Page", "programs"]

_KEEPER = Path(__file__).with_name("keeper.py")
_MISSING = "Chromium and its driver are missing, run 'bash scripts/setup_webagent.sh'"
_CALL_S = 30
"""No page of MiniWoB++ works for so long: the browser hangs."""
_FOREVER_MS = 2**31 - 1
"""For MiniWoB++'s clock of 10 s an episode: how fast a model is served is no part of the task."""
_RELOAD = 100
"""Episodes until a page is loaded anew: MiniWoB++ starts the next one on it in half the time."""


class BrowserMissingError(RuntimeError):
    """There is no Chromium, or no driver; the message is one line."""


class BrowserError(RuntimeError):
    """The browser ended or hangs and has to be replaced; the message is one line."""


@dataclass(frozen=True)
class Page:
    """What a page shows.

    Attributes:
        utterance: what it asks for.
        elements: visible ones that hold text, or can be clicked or typed into, in document order.
        done: whether its episode is over; then nothing is shown.
        reward: MiniWoB++'s without its clock, -1 to 1; 0 until done.
    """

    utterance: str = ""
    elements: tuple[Element, ...] = ()
    done: bool = False
    reward: float = 0.0


def programs() -> tuple[str, str]:
    """Chromium and its driver: MINIWOB_CHROME_BINARY and MINIWOB_CHROMEDRIVER, else from PATH.

    Raises:
        BrowserMissingError: one of them is not there.
    """
    chosen = (
        os.environ.get("MINIWOB_CHROME_BINARY") or shutil.which("chromium"),
        os.environ.get("MINIWOB_CHROMEDRIVER") or shutil.which("chromedriver"),
    )
    if not all(program and os.access(program, os.X_OK) for program in chosen):
        raise BrowserMissingError(_MISSING)
    return str(chosen[0]), str(chosen[1])


class Browser:
    """A Chromium that starts with its first page.

    Selenium blocks, so each browser has a thread of its own; calls are carried out one after the
    other. The thread is a daemon: a page that hangs does not keep the process from ending.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Future[Page], Callable[[], Page]] | None] = SimpleQueue()
        self._driver: Any = None
        self._pages: dict[str, Any] = {}
        self._page: Any = None
        self._loaded = ""
        self._episodes = 0
        self._keeper: subprocess.Popen[bytes] | None = None
        self._ended = False
        self._lock = threading.Lock()
        threading.Thread(target=self._work, name="webagent-browser", daemon=True).start()

    def open(self, task: str, seed: int) -> Future[Page]:
        """Show a new page.

        The future raises ``SettingsError`` (no such task), ``BrowserMissingError`` or
        ``BrowserError``.
        """
        return self._call(lambda: self._open(task, seed))

    def act(self, action: Action) -> Future[Page]:
        """Carry out an action on an element of the page; the future raises ``BrowserError``."""
        return self._call(lambda: self._act(action))

    def end(self) -> None:
        """Kill the browser and everything that it started; a call that waits for it fails."""
        with self._lock:
            self._ended = True
            keeper = self._keeper
        self._calls.put(None)
        if keeper is None:
            return
        keeper.terminate()
        try:
            keeper.wait(15)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.wait()
        # Only if the keeper was killed is anything left in its group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(keeper.pid, signal.SIGKILL)
        if keeper.stdin:
            keeper.stdin.close()

    def _call(self, function: Callable[[], Page]) -> Future[Page]:
        future: Future[Page] = Future()
        self._calls.put((future, function))
        return future

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            future, function = call
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

    def _open(self, task: str, seed: int) -> Page:
        chromium, driver = programs()
        if not _exists(task):
            raise SettingsError(f"env_config.task is {task}, MiniWoB++ has no such task")
        with _selenium_errors():
            if self._driver is None:
                self._driver = self._start(chromium, driver)
            if task not in self._pages:
                self._pages[task] = _new_page(task, self._driver)
            self._page = self._pages[task]
            if self._loaded != task or self._episodes % _RELOAD == 0:
                self._driver.get(self._page.url)
                self._loaded = task
            self._episodes += 1
            self._driver.execute_script(
                f"core.EPISODE_MAX_TIME = {_FOREVER_MS}; core.endEpisode(0);"
            )
            self._page.begin_task(seed=seed)
            return self._look()

    def _act(self, action: Action) -> Page:
        from selenium.common.exceptions import WebDriverException

        with _selenium_errors():
            # What cannot be done leaves the page as it is; a browser that ended fails below, too.
            with contextlib.suppress(WebDriverException):
                _perform(action, self._driver)
            return self._look()

    def _look(self) -> Page:
        metadata = self._page.get_metadata()
        if metadata["done"]:
            return Page(done=True, reward=float(metadata["raw_reward"] or 0))
        observation, more = self._page.get_observation()
        return Page(str(observation["utterance"]), tuple(_elements(more["root_dom"])))

    def _start(self, chromium: str, driver: str) -> Any:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        class Kept(Service):
            """The driver, started by the keeper."""

            def command_line_args(self) -> list[str]:
                return [str(_KEEPER), str(os.getpid()), driver, *super().command_line_args()]

        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for argument in (
            "headless",
            "no-sandbox",  # not available to root, nor in most containers
            "disable-gpu",
            "disable-dev-shm-usage",  # of 64 MB in a container
            "disable-background-networking",
            "remote-debugging-pipe",  # breaks, and ends Chromium, with the driver
        ):
            options.add_argument(argument)
        # A dialog of the page is closed, not an error.
        options.unhandled_prompt_behavior = "accept"
        # A group of its own: Ctrl-C in the terminal is for the owner.
        service = Kept(executable_path=sys.executable, popen_kw={"start_new_session": True})
        started: Any = webdriver.Chrome(options=options, service=service)
        process: Any = service.process
        with self._lock:
            self._keeper, ended = process, self._ended
        started.command_executor.client_config.timeout = _CALL_S
        started.set_page_load_timeout(_CALL_S)
        started.set_script_timeout(_CALL_S)
        if ended:
            self.end()
        return started


def _exists(task: str) -> bool:
    from miniwob.selenium_instance import HTML_DIR

    # As in SeleniumInstance.
    if task.startswith("flight."):
        return (HTML_DIR / task.replace(".", "/") / "wrapper.html").is_file()
    return (HTML_DIR / "miniwob" / f"{task}.html").is_file()


def _new_page(task: str, driver: Any) -> Any:
    from miniwob.reward import get_raw_reward
    from miniwob.selenium_instance import SeleniumInstance

    # It is a thread, too, that is never started, and would start a browser of its own.
    page = SeleniumInstance(index=0, subdomain=task, headless=True, reward_processor=get_raw_reward)
    page.driver = driver
    page.record_screenshots = False
    return page


def _perform(action: Action, driver: Any) -> None:
    from miniwob import selenium_actions

    if action.name == "press":
        arrow = "Arrow" if action.text in ("up", "down", "left", "right") else ""
        selenium_actions.execute_press_key(f"<{arrow}{action.text.capitalize()}>", driver)
        return
    selenium_actions.execute_click_element(action.ref, driver)
    if action.name == "type":
        # What was there is replaced.
        selenium_actions.execute_press_key("C-a", driver)
        selenium_actions.execute_type_text(action.text, driver)


@contextlib.contextmanager
def _selenium_errors() -> Generator[None]:
    from selenium.common.exceptions import WebDriverException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except WebDriverException as error:
        raise BrowserError((error.msg or type(error).__name__).splitlines()[0]) from error
    except (HTTPError, OSError) as error:
        raise BrowserError(f"it is gone, or hangs ({type(error).__name__})") from error


def _elements(node: Any, inside_actionable: bool = False) -> Iterator[Element]:
    element = _element(node)
    if element.actionable or (not node.children and not inside_actionable):
        yield element
    for child in node.children:
        yield from _elements(child, inside_actionable or element.actionable)


def _element(node: Any) -> Element:
    value = node.value
    classes = " ".join(f".{name}" for name in str(node.classes or "").split()[-1:])
    return Element(
        ref=node.ref,
        tag=node.tag,
        text=_text(node),
        value="checked" if value is True else str(value or ""),
        hint=f"#{node.id}" if node.id else classes,
    )


def _text(node: Any) -> str:
    if not node.children:
        return " ".join((node.text or "").split())
    return " ".join(text for child in node.children if (text := _text(child)))
