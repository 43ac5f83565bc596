from __future__ import annotations

from mission_control_gate.rules import GatedWorkflow, Rules
from missioncontrol.gate.v1.gate_pb2 import Rule

REFUND = GatedWorkflow("1", "RefundAgent", "refunds of May", {"team": "payments"})
INBOX = GatedWorkflow("2", "Inbox", "inbox", {})


def held_by(*rules: Rule) -> list[str]:
    ordered = Rules(1, rules)
    return [workflow.id for workflow in (REFUND, INBOX) if ordered.brake_on(workflow) is not None]


def test_no_rules_hold_nothing_and_a_rule_that_says_nothing_holds_nothing() -> None:
    assert held_by() == []
    assert held_by(Rule()) == []


def test_by_id() -> None:
    assert held_by(Rule(workflow_ids=["0", "1"])) == ["1"]


def test_new_ones_all_of_them_by_type_by_name_by_label() -> None:
    assert held_by(Rule(match_new=True)) == ["1", "2"]
    assert held_by(Rule(match_new=True, types=["Inbox"])) == ["2"]
    assert held_by(Rule(match_new=True, name_prefix="refunds")) == ["1"]
    assert held_by(Rule(match_new=True, labels={"team": "payments"})) == ["1"]
    assert held_by(Rule(match_new=True, labels={"team": "support"})) == []


def test_all_of_the_fields_have_to_match_but_an_id_is_enough() -> None:
    assert held_by(Rule(match_new=True, types=["Inbox"], labels={"team": "payments"})) == []
    assert held_by(Rule(match_new=True, types=["Inbox"], workflow_ids=["1"])) == ["1", "2"]
    assert held_by(Rule(match_new=True, handlers=["RefundAgent/pay"])) == []
