"""The gate of a process."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, overload
from urllib.parse import urlsplit

from missioncontrol.gate.v1 import gate_pb2

from .link import Link, LinkLimits, LinkOptions
from .orders import Mode, Orders, WhenDisconnected
from .reports import Reports
from .rules import Rules
from .runs import Run, Runs, Step, Workflow, wrapped

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class GateState:
    """How a gate is doing."""

    connected: bool
    mode: Mode
    """What holds now: see Mode."""
    since: datetime
    """Since when the mode is what it is."""
    revision: int
    """The set of rules that came last; 0: none yet."""
    brakes: int
    """Brakes in it."""
    workflows: int
    """Workflows that it names."""
    unacknowledged_reports: int
    """Events that Mission Control has not acknowledged; they are sent again when the connection was lost."""
    lost_reports: int
    """Events that were dropped because there were more of those than `max_reports`."""


class Gate:
    """
    Has the steps of this process wait for Mission Control's brakes: while a brake holds a workflow, none of its steps starts here.
    Connects by itself, as often as it takes, in a thread of its own; a step is answered from memory and never waits for the network.

    url: Mission Control's, e.g. "https://mission-control.internal:8030".
    token: a gate token of the engine; as a function, asked at each attempt to connect, so that it can be renewed.
    engine: the name of an engine of kind gate in Mission Control's configuration.
    name: for people and receipts; default "<script>@<host>/<process id>".
    types: the types that are gated here; default: any.
    when_disconnected: without a connection, the last known brakes go on to hold for `stale_limit` s. After that, "go on" holds
        nothing; "hold" holds every step, also where no brakes were ever known, for `hold_limit` s, and then nothing.
    max_reports: how many reported events wait in memory for Mission Control to acknowledge them (100,000 are about 100 MB). Beyond,
        the oldest steps are dropped, which `state().lost_reports` and the log tell.
    log: gets a line when the connection is made or lost.

    Raises ValueError where these cannot be used. A process that forks makes its gates after the fork.
    """

    def __init__(
        self,
        url: str,
        token: str | Callable[[], str],
        *,
        engine: str,
        name: str | None = None,
        types: Sequence[str] = (),
        when_disconnected: WhenDisconnected = "go on",
        stale_limit: float = 600.0,
        hold_limit: float = 600.0,
        max_reports: int = 100_000,
        log: Callable[[str], None] = lambda line: None,
        limits: LinkLimits = LinkLimits(),
    ) -> None:
        _check(url, token, engine, name, when_disconnected, stale_limit, hold_limit, max_reports)
        self._orders = Orders(when_disconnected, stale_limit, hold_limit)
        self._reports = Reports(max_reports)
        self._max_reports = max_reports
        self._log = log
        self._told = ""
        self._told_lost = False
        self._was_lost = False
        self._ready = threading.Event()
        self._current: ContextVar[Run | None] = ContextVar("mission_control_workflow", default=None)
        self._runs = Runs(self._orders, self._report)
        program = Path(sys.argv[0] if sys.argv else "").stem[:32] or "python"
        self._link = Link(
            LinkOptions(
                url=url,
                token=token if callable(token) else lambda: token,
                gate=name or f"{program}@{socket.gethostname()[:64]}/{os.getpid()}",
                engine=engine,
                types=tuple(types),
                reports=self._reports,
                limits=limits,
                apply=self._apply,
                lost=self._lost,
            )
        )

    def workflow(
        self,
        type: str,
        *,
        id: str | None = None,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        parent_id: str | None = None,
        inputs: Any = None,
    ) -> Workflow:
        """
        A workflow that Mission Control knows: its beginning, its steps and its end are reported. `with gate.workflow("Refunds"):`,
        `async with`, or `@gate.workflow("Refunds")` for each call of a function, plain or async.

        type: what sort of workflow it is: brakes select by it.
        id: unique in the engine, also over restarts: a process that takes a workflow over gives the same one; default a new UUID.
        name: for people; default the type. labels: brakes select by them; at most 32.
        parent_id: the id of the workflow that started it.
        inputs: what it was given; kept, without secrets, where the engine's entry in Mission Control's configuration says so.
        """
        about = (type, id, name, dict(labels or {}), parent_id, inputs)
        return Workflow(lambda: Run(self._runs, *about), self._current)

    def start(self, type: str, **about: Any) -> Run:
        """The same for what does not end with a block: whoever starts it has to end it. The arguments are those of `workflow`."""
        return self.workflow(type, **about).start()

    def step(
        self, name: str, *, agent: str = "", risk_level: str = "", timeout: float | None = None, inputs: Any = None
    ) -> Step:
        """
        A step of the workflow around it: `with gate.step("pay"):` in a thread, `async with gate.step("pay"):` in a coroutine. Entering
        waits until no brake holds the workflow, for `timeout` s at the most: then it raises StepGivenUp, as when the workflow has ended.
        Raises RuntimeError where there is no workflow around it: threads of a pool do not know theirs, and use `run.step`.
        inputs: what it was given, as of a workflow.
        """
        return Step(lambda: self._around(name), name, agent, risk_level, timeout, inputs)

    @overload
    def gated(self, function: F, /) -> F: ...
    @overload
    def gated(
        self,
        /,
        *,
        name: str | None = None,
        agent: str = "",
        risk_level: str = "",
        inputs: Callable[..., Any] | None = None,
    ) -> Callable[[F], F]: ...
    def gated(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        agent: str = "",
        risk_level: str = "",
        inputs: Callable[..., Any] | None = None,
    ) -> Any:
        """
        The function as a step, plain or async: `@gate.gated`, or `@gate.gated(risk_level="HIGH")`. Its name is the step's by default.
        inputs: picks what is told of its arguments; default nothing.
        """

        def decorate(one: F) -> F:
            step = getattr(one, "__name__", "step") if name is None else name

            def around(*args: Any, **kwargs: Any) -> Step:
                given = None if inputs is None else inputs(*args, **kwargs)
                return self.step(step, agent=agent, risk_level=risk_level, inputs=given)

            # What is said of it is checked now, and not at its first call.
            self.step(step, agent=agent, risk_level=risk_level)
            return wrapped(one, around)

        return decorate if function is None else decorate(function)

    def state(self) -> GateState:
        """How it is doing."""
        with self._orders.lock:
            mode = self._orders.mode()
            return GateState(
                connected=mode == "connected",
                mode=mode,
                since=datetime.fromtimestamp(self._orders.since(), timezone.utc),
                revision=self._orders.rules.revision,
                brakes=self._orders.rules.brakes,
                workflows=self._orders.rules.workflows,
                unacknowledged_reports=self._reports.size,
                lost_reports=self._reports.lost,
            )

    def wait_until_ready(self, timeout: float | None = None) -> bool:
        """
        Waits until the first set is applied, for `timeout` s at the most; False where none was. What runs earlier does not know of any
        brake.
        """
        return self._ready.wait(timeout)

    async def ready(self) -> None:
        """The same for a coroutine, without a limit."""
        while not self._ready.is_set():
            with self._orders.lock:
                event = self._orders.subscribe()
            if not self._ready.is_set():
                await self._orders.wait_for(event, None)

    def close(self) -> None:
        """Reports what is left, for at most 5 s, and detaches. From then on the process is one without a connection."""
        self._link.close()
        self._orders.disconnected()

    async def aclose(self) -> None:
        """The same for a coroutine."""
        await asyncio.get_running_loop().run_in_executor(None, self.close)

    def __enter__(self) -> Gate:
        return self

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Gate:
        return self

    async def __aexit__(
        self, type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _around(self, step: str) -> Run:
        run = self._current.get()
        if run is None:
            raise RuntimeError(f"gate: step {step} is in no workflow: put `with gate.workflow(…)` around it, or use run.step")
        return run

    def _report(self, event: gate_pb2.Event) -> None:
        self._reports.add(event)
        if self._reports.lost and not self._told_lost:
            self._told_lost = True
            self._log(f"gate: more than {self._max_reports} reports wait: the oldest steps are dropped")
        self._link.report()

    def _apply(self, rules: Rules) -> int:
        with self._orders.lock:
            self._orders.apply(rules)
            self._ready.set()
            if self._was_lost:
                self._runs.announce()
            self._was_lost = False
            in_flight = self._runs.in_flight_but_held()
        self._tell("gate: connected to Mission Control")
        return in_flight

    def _lost(self, failure: str) -> None:
        self._was_lost = True
        self._orders.disconnected()
        self._tell(f"gate: no connection to Mission Control: {failure}")

    def _tell(self, line: str) -> None:
        # What stays the same is told once.
        if line != self._told:
            self._log(line)
        self._told = line


def _check(
    url: str,
    token: str | Callable[[], str],
    engine: str,
    name: str | None,
    when_disconnected: str,
    stale_limit: float,
    hold_limit: float,
    max_reports: int,
) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("Gate: url has to be an http:// or https:// URL")
    if not callable(token) and not token:
        raise ValueError("Gate: there is no token")
    if not 1 <= len(engine) <= 64:
        raise ValueError("Gate: engine has to have 1 to 64 characters")
    if name is not None and not 1 <= len(name) <= 128:
        raise ValueError("Gate: name has to have 1 to 128 characters")
    if when_disconnected not in ("go on", "hold"):
        raise ValueError('Gate: when_disconnected has to be "go on" or "hold"')
    if not stale_limit >= 0 or not hold_limit >= 0:
        raise ValueError("Gate: stale_limit and hold_limit have to be 0 or more")
    if max_reports < 1:
        raise ValueError("Gate: max_reports has to be 1 or more")
