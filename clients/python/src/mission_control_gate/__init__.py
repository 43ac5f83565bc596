"""Gates a Python agent: its steps wait while one of Mission Control's brakes holds it."""

from .gate import Gate, GateState
from .link import LinkLimits
from .orders import Mode, WhenDisconnected
from .runs import Run, Step, StepGivenUp, Workflow

__all__ = [
    "Gate",
    "GateState",
    "LinkLimits",
    "Mode",
    "Run",
    "Step",
    "StepGivenUp",
    "WhenDisconnected",
    "Workflow",
]
