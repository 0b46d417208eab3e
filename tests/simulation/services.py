"""The simulated services of ECS and their scalable targets. The tasks are those of the emulator.

The scheduler of ECS looks at a service `delay` seconds after a change, and as long as the service is not steady. It
starts a new deployment next to the previous one (100 to 200 percent). Sources: "Service deployment", "Service events"
in the developer guide of ECS, and RegisterScalableTarget in the API reference of Application Auto Scaling.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from local.emulator.ecs import SimulatedTask, TaskSimulation
from local.emulator.errors import AwsError
from simulation.service_model import FLAGS, Rollout, SimulatedService, Target

_BREAKER = "ECS deployment circuit breaker: tasks failed to start."
_NETWORK = {"FARGATE": {"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-0a1b2c3d"]}}}}
_OFTEN, _SELDOM = 50, 30.0  # the looks after which the scheduler looks every 30 seconds only


class ServiceSimulation:
    """DescribeServices, ListServices, UpdateService, ListTasks of a service, and the API of scalable targets.

    Args:
        tasks: The tasks of all services.
        now: Returns the virtual time.
        delay: How long the scheduler waits before it looks at a service, in seconds.
        polls: Whether the scheduler looks again at a service that is not steady, also if nothing has changed.

    Attributes:
        deployed: The number of deployments of all services.
    """

    OPERATIONS = frozenset({"DescribeServices", "ListServices", "ListServiceDeployments", "UpdateService"})
    OF_TARGETS = frozenset({"DescribeScalableTargets", "RegisterScalableTarget"})

    def __init__(
        self, tasks: TaskSimulation, now: Callable[[], datetime], delay: float = 0.2, *, polls: bool = True
    ) -> None:
        self._tasks = tasks
        self._now = now
        self._services: dict[str, SimulatedService] = {}
        self.deployed = 0
        self.delay = delay
        self.polls = polls
        self.events: list[dict[str, Any]] = []

    # --- setup and controls ----------------------------------------------------------------------------------------

    def add(
        self,
        cluster: str,
        name: str,
        family: str,
        desired: int,
        *,
        launch_type: str = "EC2",
        bounds: tuple[int, int] | None = None,
    ) -> SimulatedService:
        """Add a service whose tasks run."""
        service = SimulatedService(cluster, name, family, launch_type, desired, steady=True)
        service.target = Target(*bounds) if bounds else None
        self._services[name] = service
        self._deploy(service)
        service.history[0].status, service.completed = "SUCCESSFUL", service.deployments[0]
        for _ in range(desired):
            task = self._tasks.adopt_running(cluster, family, service.deployments[0], None, launch_type)
            task.group = service.group
        return service

    def find(self, name: str) -> SimulatedService | None:
        """Return a service, or None if it is missing."""
        return self._services.get(name)

    @staticmethod
    def name_of(parameters: dict[str, Any]) -> str:
        """Return the name of the service that a request changes."""
        return str(parameters.get("service") or parameters["ResourceId"]).rpartition("/")[2]

    def described(self, service: SimulatedService) -> dict[str, Any]:
        """Return a service in the shape that DescribeServices returns."""
        return self._to_api(service)

    def redeploy(self, service: SimulatedService) -> None:
        """Start a deployment like somebody outside of Longshore."""
        self._deploy(service)
        service.steady = False
        self._wake(service)

    def of(self, name: str) -> SimulatedService:
        return self._services[name]

    def tasks(self, service: SimulatedService) -> list[SimulatedTask]:
        """Return the tasks of a service that have not stopped."""
        return [task for task in self._tasks.tasks() if task.live and task.group == service.group]

    def set_desired(self, service: SimulatedService, count: int) -> None:
        """Change the count like somebody outside of Longshore, which sends no event."""
        service.desired, service.steady = count, False
        self._wake(service)

    def scale(self, service: SimulatedService, count: int) -> bool:
        """Change the count like a scaling policy. Returns whether scaling in this direction is not suspended."""
        assert service.target is not None
        wanted = max(service.target.minimum, min(service.target.maximum, count))
        flag = FLAGS[1] if wanted > service.desired else FLAGS[0]
        if service.target.suspended[flag] or wanted == service.desired:
            return False
        self.set_desired(service, wanted)
        return True

    def delete(self, service: SimulatedService, *, missing: bool = True) -> None:
        """Delete a service with its tasks. ECS then shows it as INACTIVE, and later not at all."""
        service.desired, service.status = 0, "INACTIVE"
        for task in self.tasks(service):
            self._stop(task)
        if missing:
            del self._services[service.name]

    def complain(self, service: SimulatedService, message: str) -> None:
        """Add an event whose message begins with the service's name."""
        service.messages.insert(0, {"createdAt": self._now(), "message": f"(service {service.name}) {message}"})

    # --- the scheduler ---------------------------------------------------------------------------------------------

    def next_due(self) -> datetime | None:
        """Return when the scheduler looks at a service next."""
        return min((each.due for each in self._services.values() if each.due is not None), default=None)

    def watch(self) -> None:
        """Wake the scheduler for services whose tasks have changed since its last look."""
        for service in self._services.values():
            if service.due is None and service.status == "ACTIVE" and self._state(service) != service.seen:
                self._wake(service)

    def _state(self, service: SimulatedService) -> tuple[Any, ...]:
        tasks = ((task.arn, task.last_status, task.desired_status) for task in self.tasks(service))
        return service.desired, service.blocked, *service.deployments, *tasks

    def advance(self, now: datetime) -> None:
        """Let the scheduler look at the services that are due."""
        for service in list(self._services.values()):
            if service.due is not None and service.due <= now:
                service.due = None
                self._look(service)

    def _look(self, service: SimulatedService) -> None:
        live = [task for task in self.tasks(service) if task.desired_status == "RUNNING"]
        if service.history[0].status == "PENDING":
            service.history[0].status = "IN_PROGRESS"
        if service.deployments[0] in service.breaks:
            self.fail(service, _BREAKER)
        newest = [task for task in live if task.started_by == service.deployments[0]]
        older = [task for task in live if task not in newest]
        missing = service.desired - len(newest)
        blocked = service.blocked
        if missing > 0 and not blocked and service.deployments[0] not in service.failures:
            request: dict[str, Any] = {
                "cluster": service.cluster,
                "taskDefinition": service.family,
                "count": min(missing, 10),
            }
            request |= {"group": service.group, "startedBy": service.deployments[0]}
            request |= {"launchType": service.launch_type} | _NETWORK.get(service.launch_type, {})
            blocked = bool(self._tasks.handle("RunTask", request)["failures"])
        if missing > 0 and blocked:
            self.complain(service, "was unable to place a task because no container instance has enough memory.")
        for task in newest[service.desired :]:
            self._stop(task)
        running = sum(task.last_status == "RUNNING" for task in newest)
        if running >= service.desired:
            for task in older:
                self._stop(task)
        started_by = {task.started_by for task in self.tasks(service)}
        service.deployments[1:] = [each for each in service.deployments[1:] if each in started_by]
        service.seen = self._state(service)
        if len(service.deployments) == 1 and running == service.desired == len(self.tasks(service)):
            rollout = service.history[0]
            if rollout.ongoing:
                rolled_back = rollout.status == "ROLLBACK_IN_PROGRESS"
                rollout.status = "ROLLBACK_SUCCESSFUL" if rolled_back else "SUCCESSFUL"
                service.completed = service.deployments[0]
            if not service.steady:
                service.steady = True
                self.complain(service, "has reached a steady state.")
                self.events.append(self._event(service))
        elif self.polls:
            service.waits += 1
            pause = max(self.delay, 0.1) if service.waits < _OFTEN else _SELDOM
            service.due = self._now() + timedelta(seconds=pause)

    def _wake(self, service: SimulatedService) -> None:
        service.waits = 0
        service.due = self._now() + timedelta(seconds=self.delay)

    def _deploy(self, service: SimulatedService) -> None:
        self.deployed += 1
        if service.history and service.history[0].ongoing:
            service.history[0].status, service.history[0].reason = "STOPPED", "A deployment replaces it."
        identity = f"{self.deployed:019d}"
        service.deployments.insert(0, f"ecs-svc/{identity}")
        arn = f"{service.arn.replace(':service/', ':service-deployment/', 1)}/{identity}"
        service.history.insert(0, Rollout(arn, service.deployments[0], self._now()))

    def fail(self, service: SimulatedService, reason: str) -> None:
        """End the newest deployment like the circuit breaker: it starts no tasks any more, or is rolled back.

        The deployment that is rolled back to is PRIMARY again, with its id.
        """
        failed, rollout, completed = service.deployments[0], service.history[0], service.completed
        service.breaks.discard(failed)
        service.failures[failed] = reason
        if service.rolls_back and completed is not None and completed != failed:
            rollout.status, rollout.reason = "ROLLBACK_IN_PROGRESS", reason
            service.deployments = [completed, *(each for each in service.deployments if each != completed)]
            service.completed, service.steady = None, False
        else:
            rollout.status, rollout.reason = "STOPPED", reason

    def _stop(self, task: SimulatedTask) -> None:
        self._tasks.handle("StopTask", {"cluster": task.cluster.name, "task": task.arn, "reason": "Scaling activity"})

    def _event(self, service: SimulatedService) -> dict[str, Any]:
        detail = {"eventType": "INFO", "eventName": "SERVICE_STEADY_STATE"}
        return {
            "source": "aws.ecs",
            "detail-type": "ECS Service Action",
            "resources": [service.arn],
            "detail": detail,
        }

    def drain_events(self) -> list[dict[str, Any]]:
        """Return the events since the last call."""
        events, self.events = self.events, []
        return events

    # --- requests --------------------------------------------------------------------------------------------------

    def handles(self, operation: str, parameters: dict[str, Any]) -> bool:
        """Return whether a request is for the services or their targets."""
        mine = operation in self.OPERATIONS | self.OF_TARGETS
        return mine or (operation == "ListTasks" and "serviceName" in parameters)

    def handle(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Answer a request. Raises AwsError."""
        match operation:
            case "DescribeServices":
                return self._describe(parameters)
            case "ListServices":
                of_cluster = [each for each in self._services.values() if each.cluster == parameters["cluster"]]
                return {"serviceArns": [each.arn for each in of_cluster if each.status == "ACTIVE"]}
            case "ListServiceDeployments":
                return self._list_deployments(parameters)
            case "UpdateService":
                return self._update(parameters)
            case "ListTasks":
                group = f"service:{parameters['serviceName']}"
                wanted = parameters.get("desiredStatus", "RUNNING")
                found = [t for t in self._tasks.tasks() if t.group == group and t.desired_status == wanted]
                return {"taskArns": [task.arn for task in found]}
            case "DescribeScalableTargets":
                found_targets = [self._of_resource(each) for each in parameters["ResourceIds"]]
                return {"ScalableTargets": [each.target.to_api(each) for each in found_targets if each and each.target]}
        return self._register(parameters)

    def _describe(self, parameters: dict[str, Any]) -> dict[str, Any]:
        names = [name.rpartition("/")[2] for name in parameters["services"]]
        if not 1 <= len(names) <= 10:
            raise AwsError("InvalidParameterException", "Services cannot be more than 10.")
        found = [self._services[name] for name in names if name in self._services]
        missing = [{"arn": name, "reason": "MISSING"} for name in names if name not in self._services]
        return {"services": [self._to_api(service) for service in found], "failures": missing}

    def _list_deployments(self, parameters: dict[str, Any]) -> dict[str, Any]:
        service = self._services.get(parameters["service"])
        if service is None:
            raise AwsError("ServiceNotFoundException", "Service not found.")
        after = parameters["createdAt"]["after"]
        return {"serviceDeployments": [each.to_api(service.arn) for each in service.history if each.created_at > after]}

    def _update(self, parameters: dict[str, Any]) -> dict[str, Any]:
        service = self._services.get(parameters["service"])
        if service is None:
            raise AwsError("ServiceNotFoundException", "Service not found.")
        if service.status != "ACTIVE":
            raise AwsError("ServiceNotActiveException", "Service was not ACTIVE.")
        desired = parameters.get("desiredCount", service.desired)
        if desired != service.desired:
            service.desired, service.steady = desired, False
            service.failures.pop(service.deployments[0], None)  # The new count is tried.
        if parameters.get("forceNewDeployment"):
            self._deploy(service)
            service.steady = False
        self._wake(service)
        return {"service": self._to_api(service)}

    def _register(self, parameters: dict[str, Any]) -> dict[str, Any]:
        service = self._of_resource(parameters["ResourceId"])
        if service is None or service.target is None:
            raise AwsError("ValidationException", "MinCapacity and MaxCapacity are required.")
        target = service.target
        if parameters.get("MinCapacity", target.minimum) > parameters.get("MaxCapacity", target.maximum):
            raise AwsError("ValidationException", "Maximum capacity cannot be less than minimum capacity")
        target.minimum = parameters.get("MinCapacity", target.minimum)
        target.maximum = parameters.get("MaxCapacity", target.maximum)
        target.suspended |= parameters.get("SuspendedState", {})
        moved = max(target.minimum, min(target.maximum, service.desired))
        if moved != service.desired:
            self.set_desired(service, moved)
        return {}

    def _of_resource(self, resource: str) -> SimulatedService | None:
        _, cluster, name = resource.split("/")
        service = self._services.get(name)
        return service if service is not None and service.cluster == cluster else None

    def _to_api(self, service: SimulatedService) -> dict[str, Any]:
        live = self.tasks(service)
        running = sum(task.last_status == "RUNNING" for task in live)
        return {
            "serviceName": service.name,
            "serviceArn": service.arn,
            "status": service.status,
            "desiredCount": service.desired,
            "runningCount": running,
            "pendingCount": sum(task.last_status in ("PROVISIONING", "PENDING") for task in live),
            "taskDefinition": service.family,
            "launchType": service.launch_type,
            "currentServiceDeployment": service.history[0].arn,
            "deployments": [self._deployment(service, each) for each in service.deployments],
            "events": service.messages[:100],
        }

    def _deployment(self, service: SimulatedService, identity: str) -> dict[str, Any]:
        failure = service.failures.get(identity)
        status = "PRIMARY" if identity == service.deployments[0] else "ACTIVE"
        state = {"rolloutState": "FAILED", "rolloutStateReason": failure} if failure else {}
        return {"id": identity, "status": status, **state}
