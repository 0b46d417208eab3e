"""A web page of another origin, in Chromium, gets no token of the provider of `make up SIGN_IN=1`, and can make none.

The provider accepts every user name, so that a page which may call it has the roles of every user.
"""

import json
import shutil
import subprocess
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from browser.open_server import OpenServer
from selenium.webdriver.chrome.webdriver import WebDriver

from local import identity as providers
from local.identity import CLIENT_ID, Provider
from local.seed import container_id
from local.stack import LocalStack

# Chromium resolves this name to 127.0.0.1 (tests/browser/conftest.py), as after DNS rebinding.
REBOUND = "rebound.example"
DEVELOPMENT_KEYS = "node_modules/oidc-provider/lib/consts/dev_keystore.js"

# Signs an access token of a user with a private key, and returns it.
SIGN = """
const [key, issuer, audience, user, done] = arguments;
const base64 = bytes => btoa(String.fromCharCode(...bytes));
const encoded = bytes => base64(bytes).replace(/[+]/g, "-").replace(/[/]/g, "_").replace(/=/g, "");
const part = value => encoded(new TextEncoder().encode(JSON.stringify(value)));
const now = Math.floor(Date.now() / 1000);
const claims = {iss: issuer, aud: audience, sub: user, iat: now, exp: now + 3600};
const algorithm = {name: "RSASSA-PKCS1-v1_5", hash: "SHA-256"};
const {kid, use, alg, ...jwk} = key;
const text = `${part({typ: "at+jwt", alg: "RS256", kid})}.${part(claims)}`;
crypto.subtle.importKey("jwk", jwk, algorithm, false, ["sign"])
  .then(imported => crypto.subtle.sign(algorithm, imported, new TextEncoder().encode(text)))
  .then(signature => done(`${text}.${encoded(new Uint8Array(signature))}`), error => done(String(error)));
"""
# Calls the API with a token, and returns the status and the response.
CALL = """
const [url, token, method, done] = arguments;
fetch(url, {method, headers: {"Authorization": `Bearer ${token}`}}).then(
  async response => done([response.status, await response.text()]),
  error => done([0, String(error)]),
);
"""
# Signs in as a user at the provider's pages with the device flow, and returns the response with the access token.
SIGN_IN = """
const [base, client, audience, user, done] = arguments;
const post = (url, fields) => fetch(url, {method: "POST", body: new URLSearchParams(fields)});
const path = url => base + new URL(url, location.href).pathname + new URL(url, location.href).search;
async function signIn() {
  const started = await post(`${base}/device/auth`, {client_id: client, scope: "openid", resource: audience});
  if (!started.ok) return [started.status, await started.text()];
  const device = await started.json();
  let page = await fetch(path(device.verification_uri_complete));
  for (let steps = 0; steps < 6; steps += 1) {
    const form = new DOMParser().parseFromString(await page.text(), "text/html").querySelector("form");
    if (form === null) break;
    const fields = Object.fromEntries([...form.querySelectorAll("input")].map(input => [input.name, input.value]));
    if ("login" in fields) Object.assign(fields, {login: user, password: "any"});
    page = await post(path(form.getAttribute("action")), fields);
  }
  const grant = "urn:ietf:params:oauth:grant-type:device_code";
  const answer = await post(`${base}/token`, {client_id: client, grant_type: grant, device_code: device.device_code});
  return [answer.status, await answer.text()];
}
signIn().then(done, error => done([0, String(error)]));
"""
# Returns the statuses of the provider's endpoints, or 0 where the page cannot read the response.
READ = """
const [issuer, client, done] = arguments;
const body = new URLSearchParams({client_id: client, scope: "openid"});
const requests = [["/.well-known/openid-configuration"], ["/jwks"], ["/device/auth", {method: "POST", body}]];
Promise.all(requests.map(([path, init]) => fetch(issuer + path, init).then(r => r.status, () => 0))).then(done);
"""


@pytest.fixture
def page(tab: WebDriver, other: OpenServer, refusals: set[int | str]) -> WebDriver:
    """A page of another origin and another site than the stack and the provider."""
    refusals |= {401, 403, 404, 421, "net::ERR_FAILED", "CORS policy", "favicon.ico"}
    tab.get(f"http://localhost:{other.port}/")
    return tab


@pytest.fixture(scope="module")
def development_key(identity: Provider) -> dict[str, Any]:
    """The private RSA key that is published in the package oidc-provider."""
    keys = providers.installed() / DEVELOPMENT_KEYS
    node = shutil.which("node") or ""
    script = f"import({json.dumps(keys.as_uri())}).then(module => console.log(JSON.stringify(module.default)))"
    done = subprocess.run([node, "-e", script], capture_output=True, text=True, check=True)
    published: Any = json.loads(done.stdout)
    (key,) = [key for key in published["keys"] if key["kty"] == "RSA" and "d" in key]
    assert isinstance(key, dict)
    return key


def call(page: WebDriver, stack: LocalStack, token: str, target: str, method: str) -> tuple[int, dict[str, Any]]:
    """Call the API from a page, and return the status and the body."""
    url = f"{stack.url}/api/v1/containers/{container_id(11)}{target}"
    status, text = page.execute_async_script(CALL, url, token, method)
    return status, json.loads(text)


def test_a_token_signed_with_the_published_key_is_refused(
    page: WebDriver, sign_in_stack: LocalStack, identity: Provider, development_key: dict[str, Any]
) -> None:
    token = page.execute_async_script(SIGN, development_key, identity.issuer, sign_in_stack.url, "operator")
    assert token.count(".") == 2
    for target, method in (("", "GET"), ("/start", "POST")):
        status, body = call(page, sign_in_stack, token, target, method)
        assert (status, body["code"]) == (401, "INVALID_TOKEN")


def test_each_run_has_its_own_key(identity: Provider, development_key: dict[str, Any]) -> None:
    with providers.provider() as another:
        moduli = {
            json.dumps(key["n"])
            for provider in (identity, another)
            for key in httpx.get(f"{provider.issuer}/jwks").json()["keys"]
        }
    assert len(moduli) == 2
    assert json.dumps(development_key["n"]) not in moduli


def test_a_rebound_page_gets_no_token(page: WebDriver, sign_in_stack: LocalStack, identity: Provider) -> None:
    """To the browser, the page and the provider are the same origin, so that the page can sign in as any user."""
    page.get(f"http://{REBOUND}:{urlsplit(identity.issuer).port}/")
    status, text = page.execute_async_script(SIGN_IN, "", CLIENT_ID, sign_in_stack.url, "operator")
    assert (status, text) == (421, "The Host header does not name this provider.\n")


def test_a_page_of_another_origin_reads_nothing(page: WebDriver, sign_in_stack: LocalStack, identity: Provider) -> None:
    assert page.execute_async_script(READ, identity.issuer, CLIENT_ID) == [0, 0, 0]


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_page_of_the_gateway_reads_all(
    page: WebDriver, sign_in_stack: LocalStack, identity: Provider, name: str
) -> None:
    page.get(f"http://{name}:{urlsplit(sign_in_stack.url).port}/")
    assert page.execute_async_script(READ, identity.issuer, CLIENT_ID) == [200, 200, 200]


def test_a_form_of_another_page_has_no_effect(page: WebDriver, sign_in_stack: LocalStack, identity: Provider) -> None:
    """A form needs no permission of the provider, and carries the session of the user."""
    page.execute_script(
        "const form = document.createElement('form'); form.method = 'post'; form.action = arguments[0];"
        "document.body.append(form); form.submit();",
        f"{identity.issuer}/device",
    )
    assert "The origin is not allowed." in page.page_source


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost"}, 421),
        ({"Host": "127.0.0.1:1"}, 421),
        ({"Host": "127.0.0.1"}, 421),
        ({"Host": "rebound.example"}, 421),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Origin": "https://rebound.example"}, 403),
    ],
)
def test_hosts_and_origins(identity: Provider, headers: dict[str, str], status: int) -> None:
    assert httpx.get(f"{identity.issuer}/jwks", headers=headers).status_code == status
