from __future__ import annotations

from mission_control_gate.reports import Reports
from missioncontrol.gate.v1 import gate_pb2


def started(workflow_id: str) -> gate_pb2.Event:
    return gate_pb2.Event(workflow_id=workflow_id, workflow_started=gate_pb2.WorkflowStarted(type="T"))


def step(name: str) -> gate_pb2.Event:
    return gate_pb2.Event(workflow_id="w", step_started=gate_pb2.StepStarted(step_id="s", name=name))


def numbers(reports: Reports) -> list[int]:
    """Of all that wait, read as a connection reads them."""
    found: list[int] = []
    while (report := reports.after(found[-1] if found else 0)) is not None:
        found += range(report.first_sequence, report.first_sequence + len(report.events))
    return found


def test_what_is_acknowledged_is_gone_and_the_rest_is_read_again() -> None:
    reports = Reports(100)
    for i in range(5):
        reports.add(step(str(i)))
    assert numbers(reports) == numbers(reports) == [1, 2, 3, 4, 5]
    reports.acknowledge(3)
    assert numbers(reports) == [4, 5]
    assert reports.size == 2


def test_a_report_is_of_a_bounded_size() -> None:
    reports = Reports(10_000)
    for _ in range(1_200):
        reports.add(step("x"))
    report = reports.after(0)
    assert report is not None and len(report.events) == 500
    for _ in range(1_200):
        reports.add(gate_pb2.Event(step_ended=gate_pb2.StepEnded(step_id="s", error_message="x" * 1024)))
    report = reports.after(1_200)
    assert report is not None and report.ByteSize() < 300 * 1024
    assert numbers(reports) == list(range(1, 2_401))


def test_beyond_the_bound_the_oldest_steps_are_dropped_and_counted_and_no_beginning_of_a_workflow() -> None:
    reports = Reports(4)
    reports.add(started("a"))
    reports.add(step("1"))
    reports.add(started("b"))
    for i in range(6):
        reports.add(step(str(i)))
    assert numbers(reports) == [1, 3, 8, 9]
    assert reports.lost == 5
    # One report never has a hole.
    report = reports.after(0)
    assert report is not None and len(report.events) == 1


def test_beyond_the_bound_with_nothing_but_workflows_the_oldest_go() -> None:
    reports = Reports(3)
    for i in range(5):
        reports.add(started(str(i)))
    assert numbers(reports) == [3, 4, 5]
    assert reports.lost == 2
