from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from server import Server

from mission_control_gate import Gate, StepGivenUp
from missioncontrol.gate.v1.gate_pb2 import Rule

ALL = Rule(brake_id="br_1", match_new=True)


def test_a_workflow_and_its_steps_are_reported_in_their_order(server: Server, gate: Gate) -> None:
    with gate.workflow("Refunds", id="w1", labels={"team": "payments"}) as run:
        with gate.step("read"):
            pass
        with pytest.raises(ZeroDivisionError), run.step("pay", agent="payer", risk_level="HIGH"):
            1 / 0
    server.until(lambda: len(server.events) == 6)
    assert server.told() == [
        "Refunds started",
        "read started",
        "step SUCCEEDED",
        "pay started",
        "step FAILED",
        "workflow COMPLETED",
    ]
    assert server.hellos[0].engine == "agents"
    assert server.tokens == ["Bearer mcgt_test"]
    first = server.events[0][1]
    assert (first.workflow_id, dict(first.workflow_started.labels)) == ("w1", {"team": "payments"})
    pay = server.events[3][1].step_started
    assert (pay.agent, pay.risk_level) == ("payer", "HIGH")
    assert server.events[4][1].step_ended.error_message == "ZeroDivisionError: division by zero"


def test_decorators_plain_and_async(server: Server, gate: Gate) -> None:
    @gate.gated
    def double(x: int) -> int:
        return 2 * x

    @gate.gated(name="triple it")
    async def triple(x: int) -> int:
        await asyncio.sleep(0)
        return 3 * x

    @gate.workflow("Sums")
    def plain() -> int:
        return double(1)

    @gate.workflow("AsyncSums")
    async def coroutine() -> int:
        return await triple(double(1))

    assert plain() == 2
    assert asyncio.run(coroutine()) == 6
    server.until(lambda: len(server.events) == 10)
    assert [line for line in server.told() if "started" in line] == [
        "Sums started",
        "double started",
        "AsyncSums started",
        "double started",
        "triple it started",
    ]


def test_inputs_are_told_where_they_are_asked_for(server: Server, gate: Gate) -> None:
    @gate.gated(inputs=lambda refund, **_: {"refund": refund})
    def pay(refund: str, card: str) -> str:
        return card

    with gate.workflow("Refunds", inputs={"batch": 7}) as run:
        assert pay("RF-1", card="4711") == "4711"
        with run.step("nothing told"):
            pass
        with run.step("no JSON", inputs=object()):
            pass
        with run.step("too long", inputs="x" * 40_000):
            pass
    server.until(lambda: len(server.events) == 10)
    events = [event for _, event in server.events]
    assert events[0].workflow_started.inputs == '{"batch": 7}'
    assert [event.step_started.inputs for event in events if event.HasField("step_started")] == [
        '{"refund": "RF-1"}',
        "",
        '"(left out: it is no JSON)"',
        '"(left out: 40002 bytes)"',
    ]


def test_a_step_in_no_workflow_and_a_generator_are_refused(gate: Gate) -> None:
    with pytest.raises(RuntimeError, match="in no workflow"), gate.step("x"):
        pass
    with pytest.raises(TypeError, match="generator"):

        @gate.gated
        def pieces() -> Any:
            yield 1


def test_what_cannot_be_reported_is_refused_where_it_is_said(gate: Gate) -> None:
    for about in [
        {"type": ""},
        {"type": "T", "id": "x" * 257},
        {"type": "T", "labels": {str(i): "" for i in range(33)}},
    ]:
        with pytest.raises(ValueError, match="gate: "), gate.workflow(**about):  # type: ignore[arg-type]
            pass


def test_held_a_step_waits_in_its_thread_and_starts_on_release(server: Server, gate: Gate) -> None:
    server.hold(ALL)
    ran = threading.Event()

    def agent() -> None:
        with gate.workflow("Refunds"), gate.step("pay"):
            ran.set()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(agent)
        server.until(lambda: "pay held" in server.told())
        assert not ran.is_set()
        server.hold()
        done.result(20)
    assert ran.is_set()
    server.until(lambda: len(server.events) == 5)
    assert server.told() == ["Refunds started", "pay held", "pay started", "step SUCCEEDED", "workflow COMPLETED"]


def test_held_coroutines_wait_and_their_loop_goes_on(server: Server, gate: Gate) -> None:
    server.hold(ALL)
    ran: list[int] = []

    async def agent(i: int) -> None:
        async with gate.workflow("Refunds"), gate.step("pay"):
            ran.append(i)

    async def main() -> None:
        await gate.ready()
        agents = [asyncio.create_task(agent(i)) for i in range(50)]
        # The loop is free while they wait.
        await asyncio.to_thread(server.until, lambda: server.told().count("pay held") == 50)
        assert ran == []
        agents[0].cancel()
        await asyncio.to_thread(server.hold)
        await asyncio.gather(*agents[1:])

    asyncio.run(main())
    assert sorted(ran) == list(range(1, 50))
    server.until(lambda: len([line for line in server.told() if line.startswith("workflow")]) == 50)
    assert server.told().count("workflow CANCELED") == 1


def test_no_step_starts_after_the_confirmation(server: Server, gate: Gate) -> None:
    stop = threading.Event()
    braked = threading.Event()
    late: list[str] = []
    taken = [0] * 8

    def agent(i: int) -> None:
        with gate.workflow("Loop"):
            while not stop.is_set():
                with gate.step("turn"):
                    if braked.is_set() and not stop.is_set():
                        late.append(f"agent {i}")
                    taken[i] += 1

    with ThreadPoolExecutor(8) as pool:
        for i in range(8):
            pool.submit(agent, i)
        for _ in range(5):
            before = sum(taken)
            server.hold(ALL)
            braked.set()
            held = sum(taken)
            server.until(lambda: True)
            threading.Event().wait(0.1)
            assert sum(taken) == held >= before
            braked.clear()
            server.hold()
            while sum(taken) < held + 100:
                threading.Event().wait(0.005)
        stop.set()
    assert late == []


def test_a_step_gives_up_after_its_time_and_when_its_workflow_ends(server: Server, gate: Gate) -> None:
    server.hold(ALL)
    run = gate.start("Refunds")
    with pytest.raises(StepGivenUp, match="brake br_1"), run.step("pay", timeout=0.01):
        raise AssertionError("it ran")
    # It stands no more: that is told by telling it anew.
    server.until(lambda: server.told() == ["Refunds started", "pay held", "Refunds started"])
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(run.step("pay again").__enter__)
        server.until(lambda: "pay again held" in server.told())
        run.cancel()
        with pytest.raises(StepGivenUp, match="has ended"):
            held.result(20)


def test_the_server_goes_away_nothing_is_lost_and_the_last_known_brakes_hold(
    server: Server, open_gate: Callable[..., Gate]
) -> None:
    lines: list[str] = []
    gate = open_gate(log=lines.append)
    gate.wait_until_ready(20)
    server.hold(Rule(brake_id="br_1", match_new=True, types=["Held"]))
    server.acknowledges = False
    free = gate.start("Free")
    with free.step("before"):
        pass
    server.until(lambda: len(server.events) >= 3)
    server.stop()
    while gate.state().connected:
        threading.Event().wait(0.005)
    assert gate.state().mode == "stale"
    with free.step("without"):
        pass
    free.end()
    with pytest.raises(StepGivenUp), gate.start("Held").step("pay", timeout=0.01):
        raise AssertionError("it ran")
    assert gate.state().unacknowledged_reports == 9
    server.acknowledges = True
    server.start()
    server.until(lambda: {number for number, _ in server.events} == set(range(1, 11)))
    assert server.told() == [
        "Free started",
        "before started",
        "step SUCCEEDED",
        "without started",
        "step SUCCEEDED",
        "workflow COMPLETED",
        "Held started",
        "pay held",
        # The step was given up.
        "Held started",
        # What is open is told anew, to a server that may have forgotten it.
        "Held started",
    ]
    assert len({hello.instance for hello in server.hellos}) == 1
    while gate.state().unacknowledged_reports:
        threading.Event().wait(0.005)
    assert [line.split(":")[1] for line in lines][:2] == [" connected to Mission Control", " no connection to Mission Control"]


def test_more_reports_than_the_bound_are_told(server: Server, open_gate: Callable[..., Gate]) -> None:
    lines: list[str] = []
    server.stop()
    gate = open_gate(max_reports=10, log=lines.append)
    with gate.workflow("Loop"):
        for _ in range(20):
            with gate.step("turn"):
                pass
    assert gate.state().lost_reports == 32
    assert "gate: more than 10 reports wait: the oldest steps are dropped" in lines
    server.start()
    server.until(lambda: "workflow COMPLETED" in server.told())
    assert server.told()[0] == "Loop started"
    assert len(server.told()) == 10


def test_closing_reports_what_is_left(server: Server, gate: Gate) -> None:
    with gate.workflow("Refunds"), gate.step("pay"):
        pass
    gate.close()
    assert len(server.events) == 4
    assert gate.state().connected is False


@pytest.mark.parametrize(
    "options", [{"url": "mission-control:8030"}, {"token": ""}, {"when_disconnected": "panic"}, {"max_reports": 0}]
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Gate: "):
        Gate(**{"url": "http://127.0.0.1:1", "token": "t", "engine": "agents", **options})
