"""An emulated AWS over HTTP: moto 5.2.5 with its faults mended, and tasks and commands that behave.

Everything that stands between a request and moto is in this package:

    server    the HTTP edge: records, faults, routing, threads
    wire      requests and errors in the formats of the AWS protocols
    faults    faults to order (errors, delays, lost replies, dropped connections), and the record of calls
    ecs       tasks: a state machine on an injected clock
    ssm       Run Command: the same, acting on those tasks
    docker    the engine that runs those tasks as real containers, and the commands' scripts on this machine
    dynamodb  the lock and the idempotency token that moto's DynamoDB lacks
    bridge    the only module that reaches into moto's objects
"""

from local.emulator.ecs import StaticCatalog, TaskSimulation
from local.emulator.errors import AwsError
from local.emulator.faults import Call, Calls, Fault, Faults
from local.emulator.server import Emulator, InvokeAnswer
from local.emulator.ssm import CommandSimulation

__all__ = [
    "AwsError",
    "Call",
    "Calls",
    "CommandSimulation",
    "Emulator",
    "Fault",
    "Faults",
    "InvokeAnswer",
    "StaticCatalog",
    "TaskSimulation",
]
