"""Page object of the reference page."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

PATIENCE = 30


class DocsPage:
    """Swagger UI at /docs."""

    def __init__(self, driver: WebDriver, url: str) -> None:
        self._driver = driver
        self._url = url

    def open(self) -> "DocsPage":
        """Open the page, and wait until the operations are shown."""
        self._driver.get(f"{self._url}/docs")
        self._wait(lambda: self.operations)
        return self

    @property
    def operations(self) -> list[str]:
        """The listed operations: method and path."""
        return [
            " ".join(part.text.replace("\u200b", "") for part in parts)
            for block in self._all(".opblock")
            if (parts := block.find_elements(By.CSS_SELECTOR, ".opblock-summary-method, .opblock-summary-path"))
        ]

    @property
    def faults(self) -> list[str]:
        """The errors that Swagger UI reports for the definition."""
        return [box.text for box in self._all(".errors-wrapper")]

    @property
    def hosts(self) -> set[str]:
        """The hosts of all requests since the tab was opened."""
        entries = self._driver.get_log("performance")  # type: ignore[no-untyped-call]
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        urls = [
            urlsplit(message["params"]["request"]["url"])
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]
        return {f"{url.scheme}://{url.netloc}" for url in urls if url.scheme not in {"data", "chrome"}}

    def authorize(self, token: str) -> None:
        """Enter a token in the Authorize dialog."""
        self._one(".btn.authorize").click()
        self._one(".auth-container input").send_keys(token)
        self._one(".auth-btn-wrapper .authorize").click()
        self._one(".auth-btn-wrapper .btn-done").click()

    def expand(self, operation: str, tag: str = "Containers") -> WebElement:
        """Expand an operation, scroll to it, and return its element."""
        block = self._one(f"#operations-{tag}-{operation}")
        block.find_element(By.CSS_SELECTOR, ".opblock-summary-control").click()
        self._wait(lambda: block.find_elements(By.CSS_SELECTOR, ".responses-wrapper"))
        self._driver.execute_script("arguments[0].scrollIntoView()", block)
        return block

    def execute(self, block: WebElement, **values: str) -> tuple[int, Any]:
        """Set parameters of an expanded operation by name, send it, and return the status and the body."""
        for name, value in values.items():
            self._fill(block, name, value)
        block.find_element(By.CSS_SELECTOR, ".btn.execute").click()
        live = ".live-responses-table .response .response-col_status"
        self._wait(lambda: block.find_elements(By.CSS_SELECTOR, live))
        status = block.find_element(By.CSS_SELECTOR, live).text.split()[0]
        body = block.find_element(By.CSS_SELECTOR, ".live-responses-table .highlight-code code").text
        return int(status), json.loads(body)

    def _fill(self, block: WebElement, name: str, value: str) -> None:
        row = block.find_element(By.CSS_SELECTOR, f'tr[data-param-name="{name}"]')
        choices = row.find_elements(By.TAG_NAME, "select")
        if choices:
            Select(choices[0]).select_by_value(value)
            return
        field = row.find_element(By.TAG_NAME, "input")
        field.clear()
        field.send_keys(value)

    def _all(self, selector: str) -> list[WebElement]:
        return self._driver.find_elements(By.CSS_SELECTOR, selector)

    def _one(self, selector: str) -> WebElement:
        found: list[WebElement] = self._wait(lambda: self._all(selector))
        return found[0]

    def _wait(self, look: Callable[[], Any]) -> Any:
        return WebDriverWait(self._driver, PATIENCE).until(lambda _: look())
