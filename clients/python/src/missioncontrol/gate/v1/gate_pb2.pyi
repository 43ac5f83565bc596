import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AttachRequest(_message.Message):
    __slots__ = ("hello", "applied", "held", "report")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    applied: Applied
    held: HeldSteps
    report: Report
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., applied: _Optional[_Union[Applied, _Mapping]] = ..., held: _Optional[_Union[HeldSteps, _Mapping]] = ..., report: _Optional[_Union[Report, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("gate", "engine", "types", "instance")
    GATE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    gate: str
    engine: str
    types: _containers.RepeatedScalarFieldContainer[str]
    instance: str
    def __init__(self, gate: _Optional[str] = ..., engine: _Optional[str] = ..., types: _Optional[_Iterable[str]] = ..., instance: _Optional[str] = ...) -> None: ...

class Applied(_message.Message):
    __slots__ = ("revision", "steps_in_flight")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STEPS_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    revision: int
    steps_in_flight: int
    def __init__(self, revision: _Optional[int] = ..., steps_in_flight: _Optional[int] = ...) -> None: ...

class HeldSteps(_message.Message):
    __slots__ = ("workflow_ids", "incomplete")
    WORKFLOW_IDS_FIELD_NUMBER: _ClassVar[int]
    INCOMPLETE_FIELD_NUMBER: _ClassVar[int]
    workflow_ids: _containers.RepeatedScalarFieldContainer[str]
    incomplete: bool
    def __init__(self, workflow_ids: _Optional[_Iterable[str]] = ..., incomplete: bool = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("first_sequence", "events")
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    first_sequence: int
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, first_sequence: _Optional[int] = ..., events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("workflow_id", "time", "workflow_started", "step_held", "step_started", "step_ended", "workflow_ended")
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_STARTED_FIELD_NUMBER: _ClassVar[int]
    STEP_HELD_FIELD_NUMBER: _ClassVar[int]
    STEP_STARTED_FIELD_NUMBER: _ClassVar[int]
    STEP_ENDED_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_ENDED_FIELD_NUMBER: _ClassVar[int]
    workflow_id: str
    time: _timestamp_pb2.Timestamp
    workflow_started: WorkflowStarted
    step_held: StepHeld
    step_started: StepStarted
    step_ended: StepEnded
    workflow_ended: WorkflowEnded
    def __init__(self, workflow_id: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., workflow_started: _Optional[_Union[WorkflowStarted, _Mapping]] = ..., step_held: _Optional[_Union[StepHeld, _Mapping]] = ..., step_started: _Optional[_Union[StepStarted, _Mapping]] = ..., step_ended: _Optional[_Union[StepEnded, _Mapping]] = ..., workflow_ended: _Optional[_Union[WorkflowEnded, _Mapping]] = ...) -> None: ...

class WorkflowStarted(_message.Message):
    __slots__ = ("type", "name", "labels", "parent_workflow_id", "inputs")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PARENT_WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    type: str
    name: str
    labels: _containers.ScalarMap[str, str]
    parent_workflow_id: str
    inputs: str
    def __init__(self, type: _Optional[str] = ..., name: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., parent_workflow_id: _Optional[str] = ..., inputs: _Optional[str] = ...) -> None: ...

class StepHeld(_message.Message):
    __slots__ = ("step_id", "name")
    STEP_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    step_id: str
    name: str
    def __init__(self, step_id: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class StepStarted(_message.Message):
    __slots__ = ("step_id", "name", "agent", "risk_level", "inputs")
    STEP_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    RISK_LEVEL_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    step_id: str
    name: str
    agent: str
    risk_level: str
    inputs: str
    def __init__(self, step_id: _Optional[str] = ..., name: _Optional[str] = ..., agent: _Optional[str] = ..., risk_level: _Optional[str] = ..., inputs: _Optional[str] = ...) -> None: ...

class StepEnded(_message.Message):
    __slots__ = ("step_id", "outcome", "error_message")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTCOME_UNSPECIFIED: _ClassVar[StepEnded.Outcome]
        SUCCEEDED: _ClassVar[StepEnded.Outcome]
        FAILED: _ClassVar[StepEnded.Outcome]
        CANCELED: _ClassVar[StepEnded.Outcome]
    OUTCOME_UNSPECIFIED: StepEnded.Outcome
    SUCCEEDED: StepEnded.Outcome
    FAILED: StepEnded.Outcome
    CANCELED: StepEnded.Outcome
    STEP_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    step_id: str
    outcome: StepEnded.Outcome
    error_message: str
    def __init__(self, step_id: _Optional[str] = ..., outcome: _Optional[_Union[StepEnded.Outcome, str]] = ..., error_message: _Optional[str] = ...) -> None: ...

class WorkflowEnded(_message.Message):
    __slots__ = ("outcome", "error_message")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTCOME_UNSPECIFIED: _ClassVar[WorkflowEnded.Outcome]
        COMPLETED: _ClassVar[WorkflowEnded.Outcome]
        FAILED: _ClassVar[WorkflowEnded.Outcome]
        CANCELED: _ClassVar[WorkflowEnded.Outcome]
    OUTCOME_UNSPECIFIED: WorkflowEnded.Outcome
    COMPLETED: WorkflowEnded.Outcome
    FAILED: WorkflowEnded.Outcome
    CANCELED: WorkflowEnded.Outcome
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    outcome: WorkflowEnded.Outcome
    error_message: str
    def __init__(self, outcome: _Optional[_Union[WorkflowEnded.Outcome, str]] = ..., error_message: _Optional[str] = ...) -> None: ...

class AttachResponse(_message.Message):
    __slots__ = ("revision", "rules", "time", "more", "unchanged", "reported")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    REPORTED_FIELD_NUMBER: _ClassVar[int]
    revision: int
    rules: _containers.RepeatedCompositeFieldContainer[Rule]
    time: _timestamp_pb2.Timestamp
    more: bool
    unchanged: bool
    reported: int
    def __init__(self, revision: _Optional[int] = ..., rules: _Optional[_Iterable[_Union[Rule, _Mapping]]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., more: bool = ..., unchanged: bool = ..., reported: _Optional[int] = ...) -> None: ...

class Rule(_message.Message):
    __slots__ = ("brake_id", "workflow_ids", "match_new", "types", "handlers", "name_prefix", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    BRAKE_ID_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_IDS_FIELD_NUMBER: _ClassVar[int]
    MATCH_NEW_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    HANDLERS_FIELD_NUMBER: _ClassVar[int]
    NAME_PREFIX_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    brake_id: str
    workflow_ids: _containers.RepeatedScalarFieldContainer[str]
    match_new: bool
    types: _containers.RepeatedScalarFieldContainer[str]
    handlers: _containers.RepeatedScalarFieldContainer[str]
    name_prefix: str
    labels: _containers.ScalarMap[str, str]
    def __init__(self, brake_id: _Optional[str] = ..., workflow_ids: _Optional[_Iterable[str]] = ..., match_new: bool = ..., types: _Optional[_Iterable[str]] = ..., handlers: _Optional[_Iterable[str]] = ..., name_prefix: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...
