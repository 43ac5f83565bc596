"""Workflows of this process, and their steps: each is asked about before it starts."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
import time
import uuid
from collections.abc import Callable
from contextvars import ContextVar, Token
from functools import wraps
from types import TracebackType
from typing import Any, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp
from missioncontrol.gate.v1 import gate_pb2

from .orders import Orders
from .rules import GatedWorkflow

F = TypeVar("F", bound=Callable[..., Any])

_MAX_LABELS = 32
# Of inputs that are told, bytes of JSON.
_MAX_INPUTS = 32 * 1024


class StepGivenUp(Exception):
    """A step that was held has not begun: its time was over, or its workflow has ended."""


class Runs:
    """The workflows that are open here."""

    def __init__(self, orders: Orders, report: Callable[[gate_pb2.Event], None]) -> None:
        self.orders = orders
        self.report = report
        self._open: set[Run] = set()

    def began(self, run: Run) -> None:
        """It is to be counted."""
        with self.orders.lock:
            self._open.add(run)

    def ended(self, run: Run) -> None:
        """It is not to be counted any more."""
        with self.orders.lock:
            self._open.discard(run)

    def announce(self) -> None:
        """Tells anew what is open, to a server that may have lost sight of it."""
        with self.orders.lock:
            for run in self._open:
                run.announce()

    def in_flight_but_held(self) -> int:
        """How many steps run on of workflows that are to take none."""
        with self.orders.lock:
            held = (run for run in self._open if run.in_flight and self.orders.reason_to_hold(run.workflow))
            return sum(run.in_flight for run in held)


class Run:
    """A workflow of this process, from its beginning to its end. Safe to use from several threads and tasks."""

    def __init__(
        self,
        runs: Runs,
        type: str,
        id: str | None,
        name: str | None,
        labels: dict[str, str],
        parent_id: str | None,
        inputs: Any = None,
    ) -> None:
        id = str(uuid.uuid4()) if id is None else id
        _check("a workflow's type", type, 1, 256)
        _check("a workflow's id", id, 1, 256)
        _check("a workflow's name", name or "", 0, 256)
        _check("a workflow's parent_id", parent_id or "", 0, 256)
        if len(labels) > _MAX_LABELS:
            raise ValueError(f"gate: a workflow has at most {_MAX_LABELS} labels")
        for key, value in labels.items():
            _check("a label's key", key, 1, 64)
            _check(f"label {key}", value, 0, 256)
        self.workflow = GatedWorkflow(id, type, name or type, labels)
        self.in_flight = 0
        self._runs = runs
        self._over = False
        # Names of its steps that are held now, by their ids.
        self.held: dict[str, str] = {}
        self._started = gate_pb2.WorkflowStarted(
            type=type, name=name or type, labels=labels, parent_workflow_id=parent_id or "", inputs=_json_of(inputs)
        )
        self.announce()
        runs.began(self)

    @property
    def id(self) -> str:
        """The workflow's own id."""
        return self.workflow.id

    @property
    def over(self) -> bool:
        """True when it has ended."""
        return self._over

    @property
    def orders(self) -> Orders:
        """What it holds by."""
        return self._runs.orders

    def step(
        self, name: str, *, agent: str = "", risk_level: str = "", timeout: float | None = None, inputs: Any = None
    ) -> Step:
        """
        A step of it: `with run.step("pay"):` or `async with run.step("pay"):`. Entering waits until no brake holds the workflow, for
        `timeout` s at the most. inputs: what it was given.
        """
        return Step(lambda: self, name, agent, risk_level, timeout, inputs)

    def end(self, error: BaseException | None = None) -> None:
        """It takes no further step: it has completed, or failed with an error. Steps that are held are given up."""
        outcomes = gate_pb2.WorkflowEnded.Outcome
        if error is None:
            self._finish(outcomes.COMPLETED, "")
        elif _is_cancellation(error):
            self._finish(outcomes.CANCELED, "")
        else:
            self._finish(outcomes.FAILED, _message_of(error))

    def cancel(self) -> None:
        """It was given up."""
        self._finish(gate_pb2.WorkflowEnded.Outcome.CANCELED, "")

    def _finish(self, outcome: gate_pb2.WorkflowEnded.Outcome, error_message: str) -> None:
        with self.orders.lock:
            if self._over:
                return
            self._over = True
            self._runs.ended(self)
            self.tell(workflow_ended=gate_pb2.WorkflowEnded(outcome=outcome, error_message=error_message))
            self.orders.wake()

    def announce(self) -> None:
        """Tells what it is, and which of its steps are held."""
        self.tell(workflow_started=self._started)
        for step_id, name in self.held.items():
            self.tell(step_held=gate_pb2.StepHeld(step_id=step_id, name=name))

    def tell(self, **event: Any) -> None:
        """Reports one thing that it did."""
        now = Timestamp()
        now.FromNanoseconds(time.time_ns())
        self._runs.report(gate_pb2.Event(workflow_id=self.workflow.id, time=now, **event))


class Workflow:
    """
    What `gate.workflow(…)` answers: a workflow for a `with` or `async with` block, or as a decorator for each call of a function. It
    has completed when the block ends, and failed when that raises. Steps inside know that they are its.
    """

    def __init__(self, start: Callable[[], Run], current: ContextVar[Run | None]) -> None:
        self.start = start
        self._current = current
        self._run: Run | None = None
        self._token: Token[Run | None] | None = None

    def __enter__(self) -> Run:
        if self._run is not None:
            raise RuntimeError("gate: a workflow is entered once: ask gate.workflow(…) for another")
        self._run = self.start()
        self._token = self._current.set(self._run)
        return self._run

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._run is not None and self._token is not None
        self._current.reset(self._token)
        self._run.end(error)

    async def __aenter__(self) -> Run:
        return self.__enter__()

    async def __aexit__(
        self, type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(type, error, trace)

    def __call__(self, function: F) -> F:
        return wrapped(function, lambda *_args, **_kwargs: Workflow(self.start, self._current))


class Step:
    """A step for a `with` or `async with` block, or as a decorator for each call of a function. Entering it waits while it is held."""

    def __init__(
        self, run: Callable[[], Run], name: str, agent: str, risk_level: str, timeout: float | None, inputs: Any = None
    ) -> None:
        _check("a step's name", name, 1, 256)
        _check("a step's agent", agent, 0, 128)
        _check("a step's risk_level", risk_level, 0, 32)
        self._find = run
        self._about = (name, agent, risk_level, timeout, inputs)
        self._run: Run | None = None
        self._id = ""

    def __enter__(self) -> None:
        run, deadline = self._begin()
        with run.orders.lock:
            try:
                while not self._may_start(run, deadline):
                    run.orders.wait(_left(deadline))
            except BaseException:
                self._give_up(run)
                raise
            self._start(run)

    async def __aenter__(self) -> None:
        run, deadline = self._begin()
        try:
            while True:
                with run.orders.lock:
                    if self._may_start(run, deadline):
                        self._start(run)
                        return
                    event = run.orders.subscribe()
                await run.orders.wait_for(event, _left(deadline))
        except BaseException:
            with run.orders.lock:
                self._give_up(run)
            raise

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._run is not None
        outcomes = gate_pb2.StepEnded.Outcome
        if error is None:
            outcome, message = outcomes.SUCCEEDED, ""
        elif _is_cancellation(error):
            outcome, message = outcomes.CANCELED, ""
        else:
            outcome, message = outcomes.FAILED, _message_of(error)
        with self._run.orders.lock:
            self._run.in_flight -= 1
            ended = gate_pb2.StepEnded(step_id=self._id, outcome=outcome, error_message=message)
            self._run.tell(step_ended=ended)

    async def __aexit__(
        self, type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(type, error, trace)

    def __call__(self, function: F) -> F:
        return wrapped(function, lambda *_args, **_kwargs: Step(self._find, *self._about))

    def _begin(self) -> tuple[Run, float | None]:
        if self._run is not None:
            raise RuntimeError("gate: a step is entered once: ask for another")
        self._run = self._find()
        self._id = str(uuid.uuid4())
        timeout = self._about[3]
        return self._run, None if timeout is None else time.monotonic() + timeout

    def _may_start(self, run: Run, deadline: float | None) -> bool:
        """Under the lock."""
        name = self._about[0]
        if run.over:
            raise StepGivenUp(f"step {name} has not begun: workflow {run.id} has ended")
        reason = run.orders.reason_to_hold(run.workflow)
        if reason is None:
            return True
        if self._id not in run.held:
            run.held[self._id] = name
            run.tell(step_held=gate_pb2.StepHeld(step_id=self._id, name=name))
        if deadline is not None and time.monotonic() >= deadline:
            raise StepGivenUp(f"step {name} has not begun: held by {reason}")
        return False

    def _give_up(self, run: Run) -> None:
        """Under the lock: the workflow goes on without it, and stands no more. That is told by telling it anew."""
        if run.held.pop(self._id, None) is not None and not run.over:
            run.announce()

    def _start(self, run: Run) -> None:
        """Under the lock: no set can come between the answer and the note that the step is in flight."""
        name, agent, risk_level, _, inputs = self._about
        run.held.pop(self._id, None)
        run.in_flight += 1
        started = gate_pb2.StepStarted(step_id=self._id, name=name, agent=agent, risk_level=risk_level)
        started.inputs = _json_of(inputs)
        run.tell(step_started=started)


def wrapped(function: F, around: Callable[..., Workflow | Step]) -> F:
    """The function within what `around` makes of the arguments of each call."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError("gate: a generator runs piece by piece: put `with gate.step(…)` around the pieces")
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def asynchronous(*args: Any, **kwargs: Any) -> Any:
            async with around(*args, **kwargs):
                return await function(*args, **kwargs)

        return asynchronous  # type: ignore[return-value]

    @wraps(function)
    def synchronous(*args: Any, **kwargs: Any) -> Any:
        with around(*args, **kwargs):
            return function(*args, **kwargs)

    return synchronous  # type: ignore[return-value]


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX)


def _is_cancellation(error: BaseException) -> bool:
    return isinstance(error, (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt))


def _json_of(inputs: Any) -> str:
    """What cannot be told keeps no step from being taken."""
    if inputs is None:
        return ""
    try:
        text = json.dumps(inputs, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return '"(left out: it is no JSON)"'
    return text if len(text) <= _MAX_INPUTS else f'"(left out: {len(text)} bytes)"'


def _message_of(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}"[:1024]
    return text.encode("utf-8", "replace").decode("utf-8")


def _check(what: str, text: str, least: int, most: int) -> None:
    if not isinstance(text, str) or not least <= len(text) <= most:
        raise ValueError(f"gate: {what} has to be a text of {least} to {most} characters")
    text.encode("utf-8")
