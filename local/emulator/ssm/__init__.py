"""Systems Manager Run Command: a state machine on an injected clock, acting on simulated tasks.

    SendCommand ──► Pending ──► InProgress ──► Success | Failed | TimedOut | …
                    │ (GetCommandInvocation does not know the command for the first 20 ms, as in AWS)
                    └─ the document, the parameters and the instance are checked before

What the script of the host document does on an instance is done to the tasks of that instance (`SimulatedScripts`).
A `CommandPlan` decides how late and how often a command is delivered, and how long Docker takes. With a `Host` the
script itself is run.
"""

from local.emulator.ssm.commands import CommandSimulation
from local.emulator.ssm.documents import STATE_FOLDER, Script, check_parameters, render
from local.emulator.ssm.invocations import CommandPlan, Host, Invocation, Outcome
from local.emulator.ssm.scripts import SimulatedScripts

__all__ = [
    "STATE_FOLDER",
    "CommandPlan",
    "CommandSimulation",
    "Host",
    "Invocation",
    "Outcome",
    "Script",
    "SimulatedScripts",
    "check_parameters",
    "render",
]
