"""Which workflows the engaged brakes hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from missioncontrol.gate.v1 import gate_pb2


@dataclass(frozen=True)
class GatedWorkflow:
    """What a rule can tell a workflow by."""

    id: str
    type: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Candidate:
    """Of the rules with the same types: those whose name begins with the prefix and that have the labels match."""

    brake_id: str
    name_prefix: str
    labels: tuple[tuple[str, str], ...]

    def matches(self, workflow: GatedWorkflow) -> bool:
        own = workflow.labels
        return workflow.name.startswith(self.name_prefix) and all(own.get(key) == value for key, value in self.labels)


class Rules:
    """A whole set of rules, indexed: asking costs the same with ten ids as with a hundred thousand."""

    def __init__(self, revision: int = 0, rules: Iterable[gate_pb2.Rule] = ()) -> None:
        self.revision = revision
        self._by_id: dict[str, str] = {}
        # By type, or "" for any.
        self._by_type: dict[str, list[_Candidate]] = {}
        brakes = set()
        for rule in rules:
            brakes.add(rule.brake_id)
            for workflow_id in rule.workflow_ids:
                self._by_id[workflow_id] = rule.brake_id
            # Handlers are an engine's: no workflow of this process has one.
            if not rule.match_new or rule.handlers:
                continue
            candidate = _Candidate(rule.brake_id, rule.name_prefix, tuple(rule.labels.items()))
            for type_ in rule.types or [""]:
                self._by_type.setdefault(type_, []).append(candidate)
        self.brakes = len(brakes)
        self.workflows = len(self._by_id)

    def brake_on(self, workflow: GatedWorkflow) -> str | None:
        """A brake that holds the workflow; None: none does."""
        named = self._by_id.get(workflow.id)
        if named is not None or not self._by_type:
            return named
        for type_ in ("", workflow.type):
            for candidate in self._by_type.get(type_, ()):
                if candidate.matches(workflow):
                    return candidate.brake_id
        return None
