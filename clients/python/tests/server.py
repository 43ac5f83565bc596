"""A Mission Control for tests, as far as its gates see it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc

from missioncontrol.gate.v1 import gate_pb2, gate_pb2_grpc


class Server(gate_pb2_grpc.GateServicer):  # type: ignore[misc]
    """Keeps what it was told; `rules` and `acknowledge` decide what it says."""

    def __init__(self) -> None:
        self.rules: list[gate_pb2.Rule] = []
        self.acknowledges = True
        self.hellos: list[gate_pb2.Hello] = []
        self.tokens: list[str] = []
        # By number, as often as they came.
        self.events: list[tuple[int, gate_pb2.Event]] = []
        self.applied: list[gate_pb2.Applied] = []
        self.revision = 0
        self._changed = threading.Condition()
        self._streams: list[queue.SimpleQueue[gate_pb2.AttachResponse | None]] = []
        self._server: grpc.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """On the port that it had before."""
        self._server = grpc.server(ThreadPoolExecutor(8))
        gate_pb2_grpc.add_GateServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()

    def stop(self) -> None:
        """All streams break."""
        assert self._server is not None
        for stream in self._streams:
            stream.put(None)
        self._server.stop(0).wait()

    def hold(self, *rules: gate_pb2.Rule) -> int:
        """Other rules; answers when every attached gate has confirmed them."""
        with self._changed:
            self.rules = list(rules)
            self.revision += 1
            for stream in self._streams:
                stream.put(self._set())
            revision = self.revision
        self.until(lambda: any(one.revision == revision for one in self.applied))
        return revision

    def until(self, true: Callable[[], bool]) -> None:
        """Waits until it is."""
        with self._changed:
            assert self._changed.wait_for(true, 20), "it did not become true"

    def told(self) -> list[str]:
        """What was reported, each event once and in its order, in a few words."""
        events = {number: event for number, event in self.events}
        return [in_words(events[number]) for number in sorted(events)]

    def Attach(
        self, requests: Iterator[gate_pb2.AttachRequest], context: grpc.ServicerContext
    ) -> Iterator[gate_pb2.AttachResponse]:
        stream: queue.SimpleQueue[gate_pb2.AttachResponse | None] = queue.SimpleQueue()
        with self._changed:
            self.tokens.append(str(dict(context.invocation_metadata()).get("authorization")))
            self._streams.append(stream)
            stream.put(self._set())
        threading.Thread(target=self._listen, args=(requests, stream), daemon=True).start()
        try:
            while (response := stream.get()) is not None:
                yield response
        finally:
            self._streams.remove(stream)

    def _set(self) -> gate_pb2.AttachResponse:
        self.revision = max(1, self.revision)
        return gate_pb2.AttachResponse(revision=self.revision, rules=self.rules)

    def _listen(
        self,
        requests: Iterator[gate_pb2.AttachRequest],
        stream: queue.SimpleQueue[gate_pb2.AttachResponse | None],
    ) -> None:
        try:
            for request in requests:
                with self._changed:
                    self._hear(request, stream)
                    self._changed.notify_all()
            stream.put(None)
        except grpc.RpcError:
            pass
        except Exception:
            stream.put(None)

    def _hear(
        self, request: gate_pb2.AttachRequest, stream: queue.SimpleQueue[gate_pb2.AttachResponse | None]
    ) -> None:
        match request.WhichOneof("message"):
            case "hello":
                self.hellos.append(request.hello)
            case "applied":
                self.applied.append(request.applied)
            case "report":
                first = request.report.first_sequence
                numbered = list(enumerate(request.report.events, first))
                self.events.extend(numbered)
                if self.acknowledges:
                    last = numbered[-1][0]
                    stream.put(gate_pb2.AttachResponse(revision=self.revision, unchanged=True, reported=last))


def in_words(event: gate_pb2.Event) -> str:
    """E.g. "step pay started"."""
    match event.WhichOneof("event"):
        case "workflow_started":
            return f"{event.workflow_started.type} started"
        case "step_held":
            return f"{event.step_held.name} held"
        case "step_started":
            return f"{event.step_started.name} started"
        case "step_ended":
            return f"step {gate_pb2.StepEnded.Outcome.Name(event.step_ended.outcome)}"
        case _:
            return f"workflow {gate_pb2.WorkflowEnded.Outcome.Name(event.workflow_ended.outcome)}"
