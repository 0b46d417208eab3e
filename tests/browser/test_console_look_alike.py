"""The console, pointed at an API that imitates the stack: a session for it must not be valid at the stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from browser.console_page import ConsolePage
from selenium.webdriver.common.by import By

from local.identity import CLIENT_ID, Provider
from local.seed import container_id
from local.stack import LocalStack

BASE = "https://look-alike.example"
API = f"{BASE}/api/v1"
SESSION = "longshore.session"
TOKEN = "longshore.token"

# Lets the look-alike return the given settings. Its other requests fail, because its name does not resolve.
IMITATE = """
const [api, sign_in] = arguments, real = window.fetch;
window.fetch = (url, ...rest) =>
  String(url) === api ? Promise.resolve(Response.json({data: {sign_in}})) : real(url, ...rest);
"""


@pytest.fixture
def console(
    visit: Callable[[str], ConsolePage], sign_in_stack: LocalStack, identity: Provider, refusals: set[int | str]
) -> Iterator[ConsolePage]:
    page = visit(sign_in_stack.url)
    page.cdp("Storage.clearDataForOrigin", origin=identity.issuer, storageTypes="all")
    page.driver.delete_all_cookies()
    page.cdp("Network.enable")
    page.cdp("Network.setBlockedURLs", urls=["*fonts.googleapis.com*", "*/favicon.ico"])
    refusals |= {"fonts.googleapis.com", "favicon.ico", "net::ERR_"}
    page.open()
    yield page
    page.cdp("Network.setBlockedURLs", urls=[])
    page.driver.get(f"{page.url}/console")
    page.run("localStorage.clear(); sessionStorage.clear()")


def point_at_look_alike(console: ConsolePage, **changes: Any) -> None:
    """Enter the URL of an API that returns the settings of the stack, with changes, and press the sign-in button."""
    copied = httpx.get(f"{console.url}/api/v1").json()["data"]["sign_in"]
    console.run(IMITATE, API, copied | changes)
    field = console.element("#base-url")
    field.clear()
    field.send_keys(API, "\t")
    console.wait(lambda: console.element("#sign-in").is_displayed())
    console.element("#sign-in").click()


def complete(console: ConsolePage, identity: Provider) -> str:
    """Sign in at the provider's pages. Return the token that the console stores."""
    console.wait(lambda: console.driver.current_url.startswith(f"{identity.issuer}/interaction/"))
    console.wait(lambda: console.driver.find_elements(By.NAME, "login"))
    console.driver.find_element(By.NAME, "login").send_keys("operator")
    console.driver.find_element(By.NAME, "password").send_keys("any")
    console.driver.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
    console.wait(lambda: console.driver.find_elements(By.CSS_SELECTOR, "input[name=prompt][value=consent]"))
    console.driver.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
    console.wait(lambda: console.text("#session-text") == "operator at look-alike.example")
    return str(console.run("return sessionStorage.getItem(arguments[0])", TOKEN))


def status_at(stack: LocalStack, token: str) -> int:
    url = f"{stack.url}/api/v1/containers/{container_id(12)}"
    return httpx.get(url, headers={"Authorization": f"Bearer {token}"}).status_code


def test_the_settings_of_another_api_are_refused(console: ConsolePage) -> None:
    point_at_look_alike(console)
    console.wait(lambda: "which is not its URL: it may imitate another API" in console.text("#connection-error"))
    assert f"{API} requests a session for {console.url}" in console.text("#connection-error")
    assert console.driver.current_url.startswith(f"{console.url}/console")


def test_a_session_is_valid_at_its_own_api_only(
    console: ConsolePage, identity: Provider, sign_in_stack: LocalStack
) -> None:
    point_at_look_alike(console, audience=BASE)
    token = complete(console, identity)
    sent = next(str(each["url"]) for each in console.requests() if "code_challenge=" in str(each["url"]))
    assert parse_qs(urlsplit(sent).query)["resource"] == [BASE]
    assert status_at(sign_in_stack, token) == 401


def test_the_first_sign_in_to_another_api_is_confirmed(console: ConsolePage, identity: Provider) -> None:
    """The token of this API is valid at all APIs with the client."""
    id_tokens = {"audience": CLIENT_ID, "audience_parameter": None}
    point_at_look_alike(console, **id_tokens)
    console.wait(lambda: console.element("#confirm").is_displayed())
    text = console.text("#confirm-text")
    assert f"{API} receives a session of the provider {identity.issuer} for the audience {CLIENT_ID}" in text
    console.element("#confirm-cancel").click()
    console.wait(lambda: "The API was not confirmed" in console.text("#connection-error"))

    point_at_look_alike(console, **id_tokens)
    console.wait(lambda: console.element("#confirm").is_displayed())
    console.element("#confirm-ok").click()
    complete(console, identity)
    # Afterwards it is known.
    console.run("sessionStorage.clear()")
    console.driver.refresh()
    console.wait(lambda: console.text("#session-text") == "No token")
    point_at_look_alike(console, **id_tokens)
    console.wait(lambda: console.driver.current_url.startswith(identity.issuer))
