"""The console's table of containers in headless Chromium: the time from input in a filter to the updated table."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from benchmarks.figures import middle, ratios
from benchmarks.progress import bar
from benchmarks.targets import MissingError
from local import tokens

_ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1280,900")
_TEXTS = ("batch", "web")  # parts of the names
_PATIENCE = 30  # seconds

_FILTER = """
const [text, done] = arguments;
const fleet = document.getElementById("fleet"), table = document.getElementById("fleet-table");
const input = document.getElementById("fleet-name");
const updated = () => {
  const names = [...fleet.querySelectorAll("tr[data-container] .name a")].map((link) => link.text);
  return !table.hasAttribute("aria-busy") && names.length > 0 && names.every((name) => name.includes(text));
};
const began = performance.now();
new MutationObserver((_, observer) => {
  if (!updated()) return;
  observer.disconnect();
  requestAnimationFrame(() => done(performance.now() - began));
}).observe(fleet, { subtree: true, childList: true, attributes: true, characterData: true });
input.value = text;
input.dispatchEvent(new Event("input", { bubbles: true }));
"""


def measure(url: str, user: str, large: str, small: str, rounds: int) -> dict[str, Any]:
    """Measure the time from input to the updated table in a large project, paired with a small project.

    The time includes the 0.3 seconds that the console waits for more input.

    Args:
        url: The URL of the stack.
        user: A member of both projects.
        large: The project with many containers.
        small: The project with few containers.
        rounds: The number of pairs.

    Raises:
        MissingError: Chromium or its driver is missing.
    """
    pairs = []
    with _browser() as driver, _without_logs():
        handles = {}
        for project in (large, small):
            driver.switch_to.new_window("tab")
            handles[project] = driver.current_window_handle
            _open(driver, url, user, project)

        def filtered(project: str, text: str) -> float:
            driver.switch_to.window(handles[project])
            return float(driver.execute_async_script(_FILTER, text)) / 1000

        for turn in bar(range(rounds + 1), "console"):
            text = _TEXTS[turn % 2]
            seconds = {project: filtered(project, text) for project in ((large, small) if turn % 2 else (small, large))}
            if turn:  # the first round fills caches
                pairs.append((seconds[large], seconds[small]))
    return {"seconds": middle([one for one, _ in pairs]), "ratio": ratios(pairs).as_dict()}


@contextmanager
def _without_logs() -> Iterator[None]:
    """Suppress the log lines of the stack's functions, which run in this process."""
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@contextmanager
def _browser() -> Iterator[WebDriver]:
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        raise MissingError("Chromium or its driver is missing (on Debian: apt-get install chromium chromium-driver)")
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for argument in (*_ARGUMENTS, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        driver = webdriver.Chrome(options=options, service=Service(chromedriver))
        try:
            driver.set_script_timeout(_PATIENCE)
            yield driver
        finally:
            driver.quit()


def _open(driver: WebDriver, url: str, user: str, project: str) -> None:
    """Open the list of a project in the current tab, and sign in."""
    driver.get(f"{url}/console#?project={project}")
    wait = WebDriverWait(driver, _PATIENCE)
    field = wait.until(lambda _: driver.find_element(By.ID, "token"))
    if field.is_displayed():
        driver.execute_cdp_cmd("Runtime.evaluate", {"expression": "document.getElementById('token').focus()"})
        driver.execute_cdp_cmd("Input.insertText", {"text": tokens.token(user)})
        driver.find_element(By.CSS_SELECTOR, "#connection-form button[type=submit]").click()
    wait.until(lambda _: driver.find_elements(By.CSS_SELECTOR, "tr[data-container]"))
