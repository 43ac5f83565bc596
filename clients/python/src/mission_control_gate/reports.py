"""What workflows have done and Mission Control has not acknowledged."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from itertools import chain, islice

from missioncontrol.gate.v1 import gate_pb2

_PER_REPORT_EVENTS = 500
_PER_REPORT_BYTES = 256 * 1024

Numbered = tuple[int, gate_pb2.Event]


class Reports:
    """
    Events in their order. Bounded: beyond, the oldest steps are dropped and counted. Beginnings and ends of workflows are kept for as
    long as there are steps to drop, so that none is shown as running for ever. Safe to use from several threads.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        # What was the oldest when there was too much, and is no step. All of it is older than the queue.
        self._kept: deque[Numbered] = deque()
        self._queue: deque[Numbered] = deque()
        self._last = 0
        self._lost = 0

    @property
    def size(self) -> int:
        """How many are not acknowledged."""
        return len(self._kept) + len(self._queue)

    @property
    def lost(self) -> int:
        """How many were dropped, ever."""
        return self._lost

    def add(self, event: gate_pb2.Event) -> None:
        """The next event."""
        with self._lock:
            self._last += 1
            self._queue.append((self._last, event))
            while self.size > self._limit:
                if self._queue and _is_of_workflow(self._queue[0][1]):
                    self._kept.append(self._queue.popleft())
                else:
                    (self._queue or self._kept).popleft()
                    self._lost += 1

    def acknowledge(self, sequence: int) -> None:
        """Everything up to this number has arrived."""
        with self._lock:
            for part in (self._kept, self._queue):
                while part and part[0][0] <= sequence:
                    part.popleft()

    def after(self, sequence: int) -> gate_pb2.Report | None:
        """The oldest ones behind this number, as many as one report takes; None: there are none."""
        with self._lock:
            waiting = chain(self._part_after(self._kept, sequence), self._part_after(self._queue, sequence))
            report = gate_pb2.Report()
            size = 0
            for number, event in islice(waiting, _PER_REPORT_EVENTS):
                size += event.ByteSize()
                if report.events and (
                    number != report.first_sequence + len(report.events) or size > _PER_REPORT_BYTES
                ):
                    break
                if not report.events:
                    report.first_sequence = number
                report.events.append(event)
        return report if report.events else None

    @staticmethod
    def _part_after(part: deque[Numbered], sequence: int) -> islice[Numbered]:
        return islice(part, bisect_right(part, sequence, key=lambda one: one[0]), None)


def _is_of_workflow(event: gate_pb2.Event) -> bool:
    return event.WhichOneof("event") in ("workflow_started", "workflow_ended")
