"""An OpenID Connect provider on this machine: the npm package oidc-provider, in a process of its own.

It accepts every user name with every password, so it is for development and tests only. Its keys are generated for each
run, and it refuses the requests of web pages, except those of the allowed origins. It needs Node.js and npm.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from local.template import ROOT

CLIENT_ID = "longshore"

_SOURCE = ROOT / "local" / "provider"
_CACHE = ROOT / ".local" / "npm"
_END_SECONDS = 5


class ProviderUnavailableError(Exception):
    """The provider cannot be installed or started. The message states the reason."""


@dataclass(frozen=True)
class Provider:
    """A running provider.

    Attributes:
        issuer: The issuer, which is the provider's base URL.
        process: The process of the provider.
    """

    issuer: str
    process: subprocess.Popen[str]

    def parameters(self, url: str) -> dict[str, str]:
        """Return the parameters of the stack with this base URL, whose users sign in at this provider."""
        return {
            "TokenAlgorithm": "RS256",
            "JwksUrl": f"{self.issuer}/jwks",
            "TokenIssuer": self.issuer,
            "TokenAudience": url,
            "SignInClientId": CLIENT_ID,
            "SignInAudienceParameter": "resource",
        }

    def allow(self, url: str) -> None:
        """Let the pages of a gateway on this machine call the provider, on `127.0.0.1` and on `localhost`.

        Args:
            url: The base URL of the gateway.
        """
        port = urlsplit(url).port
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        for name in ("127.0.0.1", "localhost"):
            print(f"http://{name}:{port}", file=self.process.stdin, flush=True)
            # The provider prints the origin when it is allowed.
            self.process.stdout.readline()


@contextmanager
def provider(port: int = 0) -> Iterator[Provider]:
    """Run the provider. Port 0 selects a free port.

    Raises:
        ProviderUnavailableError: Node.js or npm is missing, the packages cannot be installed, or the port is in use.
    """
    node = shutil.which("node")
    if node is None:
        raise ProviderUnavailableError("the provider needs Node.js, and node is missing")
    command = [node, str(installed() / "provider.js"), str(port)]
    with tempfile.TemporaryFile("w+") as messages:
        # The provider ends with its standard input, so also when this process is killed.
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages, text=True)
        try:
            assert process.stdout is not None
            issuer = process.stdout.readline().strip()
            if not issuer:
                messages.seek(0)
                raise ProviderUnavailableError(f"the provider does not start: {messages.read().strip()[-500:]}")
            yield Provider(issuer, process)
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def installed() -> Path:
    """Return the folder with the provider and its packages, which npm downloads when the lock has changed."""
    files = {name: (_SOURCE / name).read_bytes() for name in ("package.json", "package-lock.json", "provider.js")}
    digest = hashlib.sha256(b"".join(files.values())).hexdigest()[:16]
    folder = _CACHE / f"provider-{digest}"
    if folder.is_dir():
        return folder
    npm = shutil.which("npm")
    if npm is None:
        raise ProviderUnavailableError("npm is missing: it downloads oidc-provider")
    _CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_CACHE) as temporary:
        complete = Path(temporary) / "provider"
        complete.mkdir()
        for name, content in files.items():
            (complete / name).write_bytes(content)
        install = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]
        done = subprocess.run(install, cwd=complete, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = (done.stderr or done.stdout).strip()[-500:]
            raise ProviderUnavailableError(f"npm cannot download oidc-provider: {reason}")
        # Another process either sees the complete folder or installs its own. The first one is kept.
        with suppress(OSError):
            complete.rename(folder)
    return folder
