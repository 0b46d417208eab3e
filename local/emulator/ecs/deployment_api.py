"""The operations of the ECS API for service deployments and service revisions."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from local.emulator.ecs.api import page
from local.emulator.ecs.catalog import REGION
from local.emulator.ecs.service_deployments import ServiceDeployment
from local.emulator.ecs.service_scheduler import ServiceScheduler
from local.emulator.ecs.services import Counts, SimulatedService
from local.emulator.errors import AwsError

_PAGE = 20  # "If this parameter isn't used, then ListServiceDeployments returns up to 20 results"
_MAX_DESCRIBED = 20


class DeploymentApi(ServiceScheduler):
    """ListServiceDeployments, and describes, stops and continues deployments. See `service_deployments`."""

    DEPLOYMENT_OPERATIONS = frozenset(
        {
            "ListServiceDeployments",
            "DescribeServiceDeployments",
            "DescribeServiceRevisions",
            "StopServiceDeployment",
            "ContinueServiceDeployment",
        }
    )

    def handle(self, operation: str, parameters: dict[str, Any], region: str = REGION) -> dict[str, Any]:
        """Perform one of OPERATIONS. Parameters and result are those of the ECS API. Raises AwsError."""
        if operation not in self.DEPLOYMENT_OPERATIONS:
            return super().handle(operation, parameters, region)
        with self._lock:
            now = self._tick()
            match operation:
                case "ListServiceDeployments":
                    return self._list_deployments(parameters, region)
                case "DescribeServiceDeployments":
                    return self._describe_deployments(parameters)
                case "DescribeServiceRevisions":
                    return self._describe_revisions(parameters)
                case "StopServiceDeployment":
                    return self._stop_deployment(parameters, now)
            return self._continue_deployment(parameters, now)

    def _list_deployments(self, parameters: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Return the service deployments of a service, newest first."""
        cluster = self._cluster(dict(parameters), region)
        service = self._services.get((cluster.arn, str(parameters.get("service", "")).rpartition("/")[2]))
        if service is None:
            raise AwsError("ServiceNotFoundException", "Service not found.")
        statuses, created = parameters.get("status") or (), parameters.get("createdAt") or {}
        after, before = created.get("after"), created.get("before")
        found = {
            each.arn: each.to_brief()
            for each in service.history
            if (not statuses or each.status in statuses)
            and (after is None or each.created_at > _time(after))
            and (before is None or each.created_at < _time(before))
        }
        answer = page(list(found), "serviceDeployments", dict(parameters), _PAGE)
        return answer | {"serviceDeployments": [found[arn] for arn in answer["serviceDeployments"]]}

    def _describe_deployments(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        arns = [str(arn) for arn in parameters.get("serviceDeploymentArns") or []]
        if not 1 <= len(arns) <= _MAX_DESCRIBED:
            raise AwsError("InvalidParameterException", f"Describe 1 to {_MAX_DESCRIBED} service deployments.")
        found, failures = [], []
        for arn in arns:
            known = self._deployment(arn)
            if known is None:
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                service, deployment = known
                found.append(deployment.to_api(self._threshold(service), self._summaries(service)))
        return {"serviceDeployments": found, "failures": failures}

    def _describe_revisions(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        known = {
            deployment.revision: {
                **deployment.settings,
                "serviceRevisionArn": deployment.revision,
                "serviceArn": service.arn,
                "clusterArn": service.cluster.arn,
                "createdAt": deployment.created_at,
            }
            for service in self._services.values()
            for deployment in (*service.deployments, *([service.completed] if service.completed else []))
        }
        arns = [str(arn) for arn in parameters.get("serviceRevisionArns") or []]
        return {
            "serviceRevisions": [known[arn] for arn in arns if arn in known],
            "failures": [{"arn": arn, "reason": "MISSING"} for arn in arns if arn not in known],
        }

    def _stop_deployment(self, parameters: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """Request the rollback of a deployment.

        Source: "Stopping Amazon ECS service deployments" in the ECS Developer Guide: "PENDING - The service deployment
        moves to the ROLLBACK_REQUESTED state, and then the rollback operation starts", and the same for IN_PROGRESS. In
        the other ongoing states, "the service deployment continues".
        """
        service, deployment = self._known(parameters)
        if parameters.get("stopType", "ROLLBACK") not in ("ROLLBACK", "ABORT"):
            raise AwsError("InvalidParameterException", "Invalid stopType.")
        if not deployment.ongoing:
            raise AwsError("ConflictException", "The service deployment is not in progress.")
        if deployment.status in ("PENDING", "IN_PROGRESS"):
            abort = parameters.get("stopType") == "ABORT"
            self._request(
                service, deployment, "STOP_REQUESTED" if abort else "ROLLBACK_REQUESTED", "Stopped by a user.", now
            )
        return {"serviceDeploymentArn": deployment.arn}

    def _continue_deployment(self, parameters: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """Continue or roll back a deployment that a PAUSE hook has paused."""
        service, deployment = self._known(parameters)
        hook = next((each for each in deployment.hooks if each.id == parameters.get("hookId")), None)
        if hook is None or hook.status != "AWAITING_ACTION" or deployment.status != "IN_PROGRESS":
            raise AwsError("InvalidParameterException", "The hook is not awaiting an action.")
        if parameters.get("action", "CONTINUE") == "CONTINUE":
            hook.status = "SUCCEEDED"
            self._wake(service, now)
        else:
            hook.status = "FAILED"
            self._request(service, deployment, "ROLLBACK_REQUESTED", "A user has rolled the deployment back.", now)
        return {"serviceDeploymentArn": deployment.arn}

    def _request(
        self, service: SimulatedService, deployment: ServiceDeployment, status: str, reason: str, now: datetime
    ) -> None:
        deployment.change(status, reason, now)
        if status == "STOP_REQUESTED":
            self._set_rollout(service, service.primary, "FAILED", reason, now)
        self._wake(service, now)

    # ── look-up ──

    def _deployment(self, arn: str) -> tuple[SimulatedService, ServiceDeployment] | None:
        found = ((s, each) for s in self._services.values() for each in s.history if each.arn == arn)
        return next(found, None)

    def _known(self, parameters: Mapping[str, Any]) -> tuple[SimulatedService, ServiceDeployment]:
        found = self._deployment(str(parameters.get("serviceDeploymentArn")))
        if found is None:
            raise AwsError("ServiceDeploymentNotFoundException", "Service deployment not found.")
        return found

    def _summaries(self, service: SimulatedService) -> dict[str, dict[str, int]]:
        """Return the counts of tasks of the current deployments, by the ARN of their revision."""
        tasks = self._tasks_of(service)
        summaries = {}
        for deployment in service.deployments:
            counts = Counts.of(task for task in tasks if task.started_by == deployment.id)
            summaries[deployment.revision] = {
                "requestedTaskCount": service.desired_count if deployment is service.primary else counts.wanted,
                "runningTaskCount": counts.running,
                "pendingTaskCount": counts.pending,
            }
        return summaries


def _time(value: Any) -> datetime:
    """Return a time that a request contains: a datetime, or a number of seconds as in JSON."""
    if isinstance(value, datetime):
        return value
    return datetime.fromtimestamp(float(value), UTC)
