"""Systems Manager Run Command: a state machine on an injected clock that acts on simulated tasks.

    SendCommand ──► Pending ──► InProgress ──► Success | Failed | TimedOut | …
                    │ (GetCommandInvocation does not know the command for the first 20 ms, as in AWS)
                        └─ checks the document, the parameters and the instance

`SimulatedScripts` applies the effects of the host document's script to the simulated tasks of an instance. A
`CommandPlan` determines when and how often a command is delivered, and how long Docker takes. With a `Host`, the script
itself runs.
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
