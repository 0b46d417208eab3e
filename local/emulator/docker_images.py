"""The Docker images of emulated tasks."""

import io
import os
import shutil
import tarfile
from collections.abc import Callable
from contextlib import suppress

from docker import DockerClient
from docker.errors import APIError, DockerException
from docker.utils import parse_repository_tag
from requests import RequestException

BUSYBOX = "busybox:local"

# The SDK does not wrap the errors of its HTTP library.
FAILURES = (DockerException, RequestException)


class DockerUnavailableError(Exception):
    """Docker or a required image is not available. The message states the reason."""


def exists(client: DockerClient, image: str) -> bool:
    """Return whether Docker has the image."""
    try:
        client.images.get(image)
    except FAILURES:
        return False
    return True


def pull(client: DockerClient, image: str, cancelled: Callable[[], bool] = lambda: False) -> None:
    """Pull an image.

    Args:
        client: The Docker client.
        image: The name of the image; the default tag is `latest`.
        cancelled: Whether to abort the pull. Called at each progress message.

    Raises:
        DockerException: The pull failed or was cancelled.
        RequestException: Docker did not answer.
    """
    repository, tag = parse_repository_tag(image)
    # `client.images.pull` ignores the errors that Docker reports while it pulls.
    for message in client.api.pull(repository, tag=tag or "latest", stream=True, decode=True):
        if "error" in message:
            raise APIError(message["error"], explanation=message["error"])
        if cancelled():
            raise DockerException("the pull was cancelled")


def provide_busybox(client: DockerClient, image: str) -> None:
    """Create the image of the demo tasks from the static busybox of this machine, or pull it.

    Raises:
        DockerUnavailableError: The image can be neither created nor pulled.
    """
    if exists(client, image):
        return
    repository, _, tag = image.partition(":")
    busybox = shutil.which("busybox")
    if busybox is not None:
        with suppress(*FAILURES):
            client.api.import_image_from_data(_archive(busybox), repository, tag)
        try:
            # A busybox that needs shared libraries does not run in an image without any.
            client.containers.run(image, ["true"], remove=True, network_mode="none")
        except FAILURES:
            with suppress(*FAILURES):
                client.images.remove(image)
        else:
            return
    try:
        pull(client, "busybox:stable")
        client.images.get("busybox:stable").tag(repository, tag)
    except FAILURES as error:
        raise DockerUnavailableError(
            f"there is no image {image}: install busybox-static, or let Docker pull it ({reason(error)})"
        ) from error


def reason(error: Exception) -> str:
    """Return the message of an error, as Docker's command line prints it."""
    if isinstance(error, APIError) and error.explanation:
        daemon = error.response is not None
        return f"Error response from daemon: {error.explanation}" if daemon else str(error.explanation)
    return str(error)


def _archive(busybox: str) -> bytes:
    """Return the root file system of the image as a tar archive."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(os.path.realpath(busybox), "bin/busybox")
        for applet in ("sh", "sleep", "true"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return archive.getvalue()
