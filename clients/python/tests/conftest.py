from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from server import Server

from mission_control_gate import Gate, LinkLimits


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    one.start()
    yield one
    one.stop()


@pytest.fixture
def open_gate(server: Server) -> Iterator[Callable[..., Gate]]:
    """Makes gates that attach to the server, and closes them."""
    gates: list[Gate] = []

    def make(**options: Any) -> Gate:
        limits = LinkLimits(first_delay=0.01, longest_delay=0.05)
        gates.append(Gate(server.url, "mcgt_test", engine="agents", name="g", limits=limits, **options))
        return gates[-1]

    yield make
    for gate in gates:
        gate.close()


@pytest.fixture
def gate(open_gate: Callable[..., Gate]) -> Gate:
    one = open_gate()
    assert one.wait_until_ready(20)
    return one
