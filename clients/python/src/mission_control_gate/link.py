"""The connection to Mission Control."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import grpc

from missioncontrol.gate.v1 import gate_pb2, gate_pb2_grpc

from .reports import Reports
from .rules import Rules

_MAX_IDS = 1_000_000
_GATHER = 0.05


@dataclass(frozen=True)
class LinkLimits:
    """Times in s."""

    attach: float = 10.0
    """From the call to the first set."""
    silence: float = 45.0
    """Without a word from the server, a connection is given up: it sends a sign of life every 15 s."""
    first_delay: float = 0.1
    """Between two attempts to attach, at first."""
    longest_delay: float = 5.0
    """Between two attempts to attach, at the most."""
    close: float = 5.0
    """For what is left to report, and the goodbye."""


@dataclass(frozen=True)
class LinkOptions:
    """What a link is made of."""

    url: str
    token: Callable[[], str]
    gate: str
    engine: str
    types: tuple[str, ...]
    reports: Reports
    limits: LinkLimits
    apply: Callable[[Rules], int]
    """Has the set in force when it returns, and answers how many steps run on of workflows that it holds."""
    lost: Callable[[str], None]
    """The connection is gone, or could not be had."""


class Link:
    """Made again for as long as it takes, in a thread of its own, and never waited for by a step."""

    def __init__(self, options: LinkOptions) -> None:
        self._options = options
        self._instance = str(uuid.uuid4())
        self._closing = threading.Event()
        self._outbox: _Outbox | None = None
        self._call: grpc.Call | None = None
        self._thread = threading.Thread(target=self._stay, name="mission-control-gate", daemon=True)
        self._thread.start()

    def report(self) -> None:
        """There is something new to report."""
        outbox = self._outbox
        if outbox is not None:
            outbox.report()

    def close(self) -> None:
        """Reports what is left, says goodbye, and attaches no more."""
        self._closing.set()
        outbox = self._outbox
        if outbox is not None:
            outbox.close()
        self._thread.join(self._options.limits.close)
        call = self._call
        if self._thread.is_alive() and call is not None:
            call.cancel()
            self._thread.join(self._options.limits.close)

    def _stay(self) -> None:
        limits = self._options.limits
        failures = 0
        while not self._closing.is_set():
            failure, attached = self._attach()
            if self._closing.is_set():
                return
            failures = 0 if attached else failures
            # With jitter, so that all the gates of a server that was restarted do not come at once.
            delay = min(limits.longest_delay, limits.first_delay * 2 ** min(failures, 16)) * random.uniform(0.5, 1)
            failures += 1
            self._options.lost(failure)
            self._closing.wait(delay)

    def _attach(self) -> tuple[str, bool]:
        """One stay, from the call to its end: why it ended, and whether a set had come."""
        options = self._options
        attached = False
        watchdog: _Watchdog | None = None
        try:
            token = options.token().strip()
            outbox = _Outbox(options.reports)
            hello = gate_pb2.Hello(
                gate=options.gate, engine=options.engine, types=options.types, instance=self._instance
            )
            with _channel(options.url) as channel:
                call = gate_pb2_grpc.GateStub(channel).Attach(
                    outbox.messages(hello), metadata=(("authorization", f"Bearer {token}"),)
                )
                self._call, self._outbox = call, outbox
                if self._closing.is_set():
                    outbox.close()
                watchdog = _Watchdog(options.limits.attach, call.cancel)
                parts: list[gate_pb2.Rule] = []
                revision = 0
                for response in call:
                    watchdog.expect(options.limits.silence)
                    options.reports.acknowledge(response.reported)
                    if response.unchanged:
                        outbox.still_applied(response.revision)
                        continue
                    if response.revision != revision:
                        parts = []
                    revision = response.revision
                    parts.extend(response.rules)
                    if sum(len(rule.workflow_ids) for rule in parts) > _MAX_IDS:
                        raise ValueError(f"the server's set has more than {_MAX_IDS} workflows")
                    if response.more:
                        continue
                    rules, parts = Rules(revision, parts), []
                    outbox.applied(revision, options.apply(rules))
                    attached = True
                return "the server has ended the stream", attached
        except grpc.RpcError as error:
            silent = watchdog.barked if watchdog is not None else None
            if silent is not None:
                return f"the server said nothing for {silent:g} s", attached
            code = error.code() if isinstance(error, grpc.Call) else None
            details = error.details() if isinstance(error, grpc.Call) else str(error)
            return f"[{'unknown' if code is None else code.name}] {details}", attached
        except Exception as error:  # noqa: BLE001  whatever it was: the next attempt may do better
            return f"{type(error).__name__}: {error}", attached
        finally:
            if watchdog is not None:
                watchdog.stop()
            if self._outbox is not None:
                self._outbox.abandon()
            self._outbox = self._call = None


class _Outbox:
    """What a gate has to say on one connection: the hello, then always the latest confirmation, and reports between."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self._changed = threading.Condition()
        self._applied: tuple[int, int] | None = None
        self._confirmed = False
        self._reported = 0
        # When the next report is due, by the monotonic clock. What came without a connection is due at once.
        self._due: float | None = 0.0
        self._closed = False
        self._abandoned = False

    def applied(self, revision: int, steps_in_flight: int) -> None:
        """Confirms a set. One that has not been confirmed yet is passed over."""
        with self._changed:
            self._applied = (revision, steps_in_flight)
            self._changed.notify_all()

    def still_applied(self, revision: int) -> None:
        """Confirms a set once more, unless its confirmation is still to be sent."""
        with self._changed:
            self._applied = self._applied or (revision, 0)
            self._changed.notify_all()

    def report(self) -> None:
        """There is something to report; soon, together with what comes until then."""
        if self._due is not None:
            return
        with self._changed:
            if self._due is None:
                self._due = time.monotonic() + _GATHER
                self._changed.notify_all()

    def close(self) -> None:
        """Says goodbye when the rest is said."""
        with self._changed:
            self._closed = True
            self._due = 0.0
            self._changed.notify_all()

    def abandon(self) -> None:
        """The connection is gone."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def messages(self, hello: gate_pb2.Hello) -> Iterator[gate_pb2.AttachRequest]:
        """For the call."""
        yield gate_pb2.AttachRequest(hello=hello)
        while (message := self._next()) is not None:
            yield message

    def _next(self) -> gate_pb2.AttachRequest | None:
        """Waits for the next message; None: there is none any more. A confirmation goes before every report."""
        with self._changed:
            while not self._abandoned:
                if self._applied is not None:
                    revision, in_flight = self._applied
                    self._applied = None
                    self._confirmed = True
                    applied = gate_pb2.Applied(revision=revision, steps_in_flight=in_flight)
                    return gate_pb2.AttachRequest(applied=applied)
                due = self._due if self._confirmed else None
                if due is not None and time.monotonic() >= due:
                    # Before it is looked: what comes meanwhile is due again.
                    self._due = None
                    report = self._reports.after(self._reported)
                    if report is not None:
                        self._due = due
                        self._reported = report.first_sequence + len(report.events) - 1
                        return gate_pb2.AttachRequest(report=report)
                    due = None
                if self._closed and due is None and (self._confirmed or self._reports.size == 0):
                    return None
                self._changed.wait(None if due is None else max(0.0, due - time.monotonic()))
            return None


class _Watchdog:
    """Ends what falls silent."""

    def __init__(self, seconds: float, bark: Callable[[], object]) -> None:
        self.barked: float | None = None
        self._bark = bark
        self._changed = threading.Condition()
        self._seconds = seconds
        self._heard = time.monotonic()
        self._stopped = False
        threading.Thread(target=self._watch, name="mission-control-gate-watchdog", daemon=True).start()

    def expect(self, seconds: float) -> None:
        """Something has been heard; the next has to be within so many s."""
        # The watch looks again when the time before is over, so it need not be told.
        self._heard = time.monotonic()
        self._seconds = seconds

    def stop(self) -> None:
        """Nothing is expected any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _watch(self) -> None:
        with self._changed:
            while not self._stopped:
                left = self._heard + self._seconds - time.monotonic()
                if left <= 0:
                    self.barked = self._seconds
                    self._bark()
                    return
                self._changed.wait(left)


def _channel(url: str) -> grpc.Channel:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    target = f"{host}:{parts.port or (443 if secure else 80)}"
    options = [
        # Pings find a dead connection below a quiet stream.
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.max_receive_message_length", 8 * 1024 * 1024),
        # A new attempt is a new connection, and is not told of the failures of another.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if secure:
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(), options)
    return grpc.insecure_channel(target, options)
