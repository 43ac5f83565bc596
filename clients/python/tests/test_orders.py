from __future__ import annotations

import pytest

from mission_control_gate import WhenDisconnected
from mission_control_gate.orders import Orders
from mission_control_gate.rules import GatedWorkflow, Rules
from missioncontrol.gate.v1.gate_pb2 import Rule

HELD = GatedWorkflow("held", "T", "T")
FREE = GatedWorkflow("free", "T", "T")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def orders_that(when_disconnected: WhenDisconnected, clock: Clock) -> Orders:
    return Orders(when_disconnected, 600, 1200, clock)


def now(orders: Orders) -> list[str]:
    return [orders.reason_to_hold(one) or "goes on" for one in (HELD, FREE)]


def test_the_rules_hold_and_the_reason_names_the_brake(clock: Clock) -> None:
    orders = orders_that("go on", clock)
    orders.apply(Rules(1, [Rule(brake_id="br_1", workflow_ids=["held"])]))
    assert now(orders) == ["brake br_1", "goes on"]


def test_go_on_the_last_known_rules_hold_until_their_limit_then_nothing_is_held(clock: Clock) -> None:
    orders = orders_that("go on", clock)
    assert now(orders) == ["goes on", "goes on"]
    orders.apply(Rules(1, [Rule(brake_id="br_1", workflow_ids=["held"])]))
    orders.disconnected()
    clock.now += 599
    orders.disconnected()
    assert now(orders) == ["brake br_1", "goes on"]
    clock.now += 1
    assert now(orders) == ["goes on", "goes on"]
    assert orders.mode() == "open"


def test_hold_every_step_is_held_for_a_while_also_before_the_first_connection(clock: Clock) -> None:
    everything = ["no connection to Mission Control"] * 2
    orders = orders_that("hold", clock)
    assert now(orders) == everything
    clock.now += 1200
    assert now(orders) == ["goes on", "goes on"]
    orders.apply(Rules(1, []))
    orders.disconnected()
    clock.now += 600
    assert now(orders) == everything
    clock.now += 1200
    assert now(orders) == ["goes on", "goes on"]


def test_limits_that_passed_while_nobody_asked_count_from_when_they_passed(clock: Clock) -> None:
    orders = orders_that("hold", clock)
    orders.apply(Rules(1, []))
    orders.disconnected()
    clock.now += 600 + 1199
    assert orders.mode() == "closed"
    clock.now += 1
    assert orders.mode() == "open"
