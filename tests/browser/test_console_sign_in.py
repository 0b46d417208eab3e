"""Signing in to the console at a real OpenID Connect provider, in a real browser."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from browser.console_page import ConsolePage
from client import signing_in
from client.terminal import environment
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By

from local.identity import Provider
from local.stack import LocalStack

SESSION = "longshore.session"
TOKEN = "longshore.token"


@pytest.fixture
def console(
    visit: Callable[[str], ConsolePage], sign_in_stack: LocalStack, identity: Provider, refusals: set[int | str]
) -> Iterator[ConsolePage]:
    """The console of the stack, in a browser without a session at the provider."""
    page = visit(sign_in_stack.url)
    page.cdp("Storage.clearDataForOrigin", origin=identity.issuer, storageTypes="all")
    page.driver.delete_all_cookies()
    # The provider's example pages load a font from another site, and have no icon.
    page.cdp("Network.enable")
    page.cdp("Network.setBlockedURLs", urls=["*fonts.googleapis.com*", "*/favicon.ico"])
    refusals |= {"fonts.googleapis.com", "favicon.ico"}
    yield page
    page.cdp("Network.setBlockedURLs", urls=[])


def go_to_provider(console: ConsolePage, identity: Provider) -> None:
    console.wait(lambda: console.element("#sign-in").is_displayed())
    assert console.text("#sign-in") == f"Sign in at {urlsplit(identity.issuer).netloc}"
    console.element("#sign-in").click()
    console.wait(lambda: console.driver.current_url.startswith(f"{identity.issuer}/interaction/"))


def enter_name(driver: WebDriver, console: ConsolePage, user: str = "operator") -> None:
    """Sign in at the provider's page, and wait for its page that asks for the consent."""
    console.wait(lambda: driver.find_elements(By.NAME, "login"))
    driver.find_element(By.NAME, "login").send_keys(user)
    driver.find_element(By.NAME, "password").send_keys("any")
    driver.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
    console.wait(lambda: driver.find_elements(By.CSS_SELECTOR, "input[name=prompt][value=consent]"))


def sign_in(console: ConsolePage, identity: Provider, user: str = "operator") -> None:
    go_to_provider(console, identity)
    enter_name(console.driver, console, user)
    console.driver.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
    console.wait(lambda: console.text("#session-text") == user)


def stored(console: ConsolePage) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(console.run("return sessionStorage.getItem(arguments[0])", SESSION))
    return found


def reopen_expired(console: ConsolePage, **changes: Any) -> None:
    """Leave the console, let the session expire, and open the console again.

    The session is changed while a document without scripts is shown. If the console were still open, it might refresh
    the session just before the browser leaves it, and the new refresh token would be lost.
    """
    console.driver.get(console.url)  # a document of JSON
    session = json.dumps(stored(console) | {"expiresAt": 0} | changes)
    console.run("sessionStorage.setItem(arguments[0], arguments[1])", SESSION, session)
    console.open()


def test_signing_in_and_out(console: ConsolePage, identity: Provider) -> None:
    """The session survives a reload, refreshes when it has expired, and ends when the user signs out."""
    console.open("?status=running")
    sign_in(console, identity)
    # The address has the view of before, and neither the code nor the state.
    assert console.driver.current_url == f"{console.url}/console/#?status=running"
    console.wait(lambda: "payments" in console.text("#fleet-table"))

    console.driver.refresh()
    console.wait(lambda: "payments" in console.text("#fleet-table"))

    first = stored(console)
    token = console.run("return sessionStorage.getItem(arguments[0])", TOKEN)
    reopen_expired(console)
    console.wait(lambda: "payments" in console.text("#fleet-table"))
    second = stored(console)
    assert second["refreshToken"] != first["refreshToken"]
    assert second["expiresAt"] > 0
    assert console.run("return sessionStorage.getItem(arguments[0])", TOKEN) != token

    console.element("#connection-toggle").click()
    assert console.text("#forget") == "Sign out"
    console.element("#forget").click()
    console.wait(lambda: console.text("#session-text") == "No token")
    assert console.run("return sessionStorage.getItem(arguments[0])", SESSION) is None
    assert console.run("return sessionStorage.getItem(arguments[0])", TOKEN) is None
    body = {"grant_type": "refresh_token", "refresh_token": second["refreshToken"], "client_id": "longshore"}
    console.wait(lambda: httpx.post(f"{identity.issuer}/token", data=body).json().get("error") == "invalid_grant")

    # The provider asks for the user again, although its own session still exists.
    go_to_provider(console, identity)
    console.wait(lambda: console.driver.find_elements(By.NAME, "login"))


def test_a_refused_consent(console: ConsolePage, identity: Provider) -> None:
    console.open()
    go_to_provider(console, identity)
    enter_name(console.driver, console)
    console.driver.find_element(By.CSS_SELECTOR, "a[href$='/abort']").click()
    console.wait(lambda: console.text("#connection-error") == "The sign-in was refused (access_denied)")
    assert console.text("#session-text") == "No token"
    assert console.driver.current_url == f"{console.url}/console/"


@pytest.mark.parametrize(
    ("changes", "error"),
    [({"state": "guessed"}, 'unexpected "state"'), ({"iss": "http://127.0.0.1:1"}, 'unexpected "iss"')],
    ids=["state", "issuer"],
)
def test_a_false_answer(console: ConsolePage, identity: Provider, changes: dict[str, str], error: str) -> None:
    console.open()
    go_to_provider(console, identity)
    sent = {name: values[0] for name, values in parse_qs(urlsplit(_authorization(console)).query).items()}
    answer = {"code": "any", "state": sent["state"], "iss": identity.issuer} | changes
    console.driver.get(f"{sent['redirect_uri']}?{urlencode(answer)}")
    console.wait(lambda: error in console.text("#connection-error"))
    assert console.text("#session-text") == "No token"
    # An answer is used once.
    console.driver.get(f"{sent['redirect_uri']}?{urlencode(answer)}")
    console.wait(lambda: "was not started in this tab" in console.text("#connection-error"))


def test_a_session_that_has_ended(console: ConsolePage, identity: Provider, refusals: set[int | str]) -> None:
    refusals.add(400)
    console.open()
    sign_in(console, identity)
    reopen_expired(console, refreshToken="unknown")
    console.wait(lambda: "The session has ended. Sign in again." in console.text("#connection-error"))
    assert console.text("#session-text") == "No token"


@pytest.mark.parametrize("changed", ["token", "ID token"])
def test_a_refresh_that_returns_another_user(
    console: ConsolePage, identity: Provider, refusals: set[int | str], tmp_path: Path, changed: str
) -> None:
    """OpenID Connect Core, section 12.2."""
    refusals.add(401)
    if changed == "token":
        env = environment(tmp_path)
        assert signing_in.sign_in(env, "viewer", "--url", console.url) == (0, "")
        changes = {"refreshToken": signing_in.credentials(env)["refresh_token"]}
        error = "renewed it as viewer instead of operator"
    else:
        changes = {"idUser": "ada"}
        error = "renewed it as operator instead of ada"
    console.open()
    sign_in(console, identity)
    reopen_expired(console, **changes)
    console.wait(lambda: error in console.text("#connection-error"))
    assert console.text("#session-text") == "No token"
    assert console.run("return sessionStorage.getItem(arguments[0])", TOKEN) is None


def test_a_provider_that_does_not_respond(console: ConsolePage, identity: Provider, refusals: set[int | str]) -> None:
    refusals.add("net::ERR_")
    console.open()
    sign_in(console, identity)
    session = stored(console)
    reopen_expired(console, signIn=session["signIn"] | {"issuer": "http://127.0.0.1:1"})
    console.wait(
        lambda: "The sign-in at http://127.0.0.1:1 failed" in console.driver.find_element(By.TAG_NAME, "body").text
    )
    # The session is kept.
    assert console.text("#session-text") == "operator"


def _authorization(console: ConsolePage) -> str:
    """Return the URL of the request that the browser has made at the provider."""
    return next(str(each["url"]) for each in console.requests() if "code_challenge=" in str(each["url"]))
