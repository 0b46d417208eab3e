"""An emulated AWS over HTTP: moto 5.2.5 with corrections, and simulations of ECS, its auto scaling and Run Command.

Modules between a request and moto:

        server    the HTTP server: records calls, injects faults, routes requests
        access    the check of the caller: its access key, and that it is not a web page
    wire      requests and errors in the formats of the AWS protocols
        faults    injected faults (errors, delays, lost replies, dropped connections), and the record of calls
    ecs       tasks and services: a state machine on an injected clock
        scaling   scalable targets of services, and the effects of scaling policies and scheduled actions
        ssm       Run Command: a state machine on the same clock, which acts on the tasks
        docker    the engine that runs the tasks as Docker containers, and the commands' scripts on this machine
        dynamodb  a lock and client request tokens, which moto's DynamoDB does not have
        bridge    the only module that accesses moto's internal objects
"""

from local.emulator.access import Credentials
from local.emulator.ecs import StaticCatalog, TaskSimulation
from local.emulator.errors import AwsError
from local.emulator.faults import Call, Calls, Fault, Faults
from local.emulator.scaling import ScalableTargets
from local.emulator.server import Emulator, InvokeAnswer
from local.emulator.ssm import CommandSimulation

__all__ = [
    "AwsError",
    "Call",
    "Calls",
    "CommandSimulation",
    "Credentials",
    "Emulator",
    "Fault",
    "Faults",
    "InvokeAnswer",
    "ScalableTargets",
    "StaticCatalog",
    "TaskSimulation",
]
