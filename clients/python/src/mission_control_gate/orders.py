"""What is in force now: the rules, and what happens without a connection."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Literal

from .rules import GatedWorkflow, Rules

WhenDisconnected = Literal["go on", "hold"]
"""What a gate does when its connection is gone for longer than the last known set is good for."""

Mode = Literal["connected", "stale", "open", "closed"]
"""
"connected": the current set is in force. "stale": the last known one is. Then "open": nothing is held, or "closed": every step
is.
"""


class Orders:
    """Answers from memory alone. Everything is asked and changed under `lock`, so that a step starts before a change or after it."""

    def __init__(
        self,
        when_disconnected: WhenDisconnected,
        stale_limit: float,
        hold_limit: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lock = threading.RLock()
        self.rules = Rules()
        self._when_disconnected = when_disconnected
        self._stale_limit = stale_limit
        self._hold_limit = hold_limit
        self._clock = clock
        self._changed = threading.Condition(self.lock)
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        # No set is known yet, so there is none that could go on to hold.
        self._mode: Mode = "closed" if when_disconnected == "hold" else "open"
        self._since = clock()
        self._wall = time.time()

    def mode(self) -> Mode:
        """The mode now."""
        with self.lock:
            self._expire()
            return self._mode

    def since(self) -> float:
        """Since when the mode is what it is, in s since the epoch."""
        with self.lock:
            self._expire()
            return self._wall

    def reason_to_hold(self, workflow: GatedWorkflow) -> str | None:
        """Why the workflow takes no step now; None: it may. Under the lock."""
        if self._mode != "connected":
            self._expire()
        if self._mode == "closed":
            return "no connection to Mission Control"
        if self._mode == "open":
            return None
        brake_id = self.rules.brake_on(workflow)
        return None if brake_id is None else f"brake {brake_id}"

    def apply(self, rules: Rules) -> None:
        """A set has come."""
        with self.lock:
            self.rules = rules
            self._enter("connected", self._clock())
            self.wake()

    def disconnected(self) -> None:
        """The connection is gone, or has ended without ever being one."""
        with self.lock:
            if self._mode == "connected":
                self._enter("stale", self._clock())
            self.wake()

    def wake(self) -> None:
        """Has everybody who waits ask again."""
        with self.lock:
            self._changed.notify_all()
            waiting, self._waiting = self._waiting, set()
        for loop, event in waiting:
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:
                # Its loop is closed: nobody waits any more.
                pass

    def wait(self, timeout: float | None) -> None:
        """Returns when an answer may be another one, at the latest after `timeout` s. Under the lock, which it gives away meanwhile."""
        self._changed.wait(self._soonest(timeout))

    def subscribe(self) -> asyncio.Event:
        """An event of the running loop that is set at the next change. Under the lock."""
        event = asyncio.Event()
        self._waiting.add((asyncio.get_running_loop(), event))
        return event

    async def wait_for(self, event: asyncio.Event, timeout: float | None) -> None:
        """Waits for the event, or for `timeout` s, or for a limit of the mode."""
        with self.lock:
            longest = self._soonest(timeout)
        try:
            await asyncio.wait_for(event.wait(), longest)
        except asyncio.TimeoutError:
            pass
        finally:
            with self.lock:
                self._waiting.discard((asyncio.get_running_loop(), event))

    def _soonest(self, timeout: float | None) -> float | None:
        end = self._end()
        # What a lock can wait for is bounded.
        left = None if end is None else min(max(0.0, end - self._clock()), threading.TIMEOUT_MAX)
        if timeout is None or left is None:
            return left if timeout is None else timeout
        return min(timeout, left)

    def _end(self) -> float | None:
        """When the mode ends by itself."""
        limit = {"stale": self._stale_limit, "closed": self._hold_limit}.get(self._mode)
        return None if limit is None else self._since + limit

    def _expire(self) -> None:
        while (end := self._end()) is not None and self._clock() >= end:
            self._enter("closed" if self._mode == "stale" and self._when_disconnected == "hold" else "open", end)

    def _enter(self, mode: Mode, since: float) -> None:
        if mode != self._mode:
            self._wall = time.time() - (self._clock() - since)
        self._mode = mode
        self._since = since
