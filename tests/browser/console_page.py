"""The console as a test uses it: what is on the page, and what a user does to it."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from local import tokens

_T = TypeVar("_T")
PATIENCE = 30
OPERATIONS = ["start", "stop", "restart", "pause", "resume", "force-stop"]


class ConsolePage:
    """One console in a browser's tab."""

    def __init__(self, driver: WebDriver, url: str) -> None:
        self.driver = driver
        self.url = url

    # What a user does

    def open(self, container_id: str = "") -> None:
        """Load the page, with a container in its address."""
        self.driver.get(f"{self.url}/console{'#' if container_id else ''}{container_id}")
        self.wait(lambda: self.element("#connection-toggle").is_displayed())

    def sign_in(self, container_id: str, user: str = "operator") -> None:
        """Open a container and enter a token of the user's; on return its status and its history are shown."""
        self.open(container_id)
        self.connect(tokens.token(user))
        self.wait(lambda: self.shown_rows() and self.slider()["now"])

    def connect(self, token: str) -> None:
        field = self.element("#token")
        field.clear()
        field.click()
        # Pasted.
        self.cdp("Input.insertText", text=token)
        self.element("#connection-form button[type=submit]").click()

    def click(self, operation: str) -> None:
        self.element(f"[data-operation={operation}]").click()

    def press(self, *keys: str) -> None:
        """Type keys, one after the other, into what has the focus."""
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def freeze(self) -> None:
        """From the next load on the page no longer refreshes by itself; it still does after what a user does."""
        script = "const later = setTimeout; window.setTimeout = (run, ms) => (ms >= 5000 ? 0 : later(run, ms));"
        self.cdp("Page.addScriptToEvaluateOnNewDocument", source=script)

    def resize(self, width: int, height: int) -> None:
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, **features: str) -> None:
        """Media features, such as `prefers_color_scheme="dark"`."""
        media = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.cdp("Emulation.setEmulatedMedia", features=media)

    # What is on the page

    def element(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """The text of an element as it is shown; empty when it is not."""
        return self.element(selector).text

    def status(self) -> str:
        return self.text("#container .status").lower()

    def enabled(self) -> list[str]:
        """The operations whose buttons are enabled."""
        buttons = self.driver.find_elements(By.CSS_SELECTOR, "[data-operation]")
        assert [button.get_attribute("data-operation") for button in buttons] == OPERATIONS
        return [
            str(button.get_attribute("data-operation"))
            for button in buttons
            if button.get_attribute("aria-disabled") == "false"
        ]

    def notices(self) -> list[str]:
        return [element.text for element in self.driver.find_elements(By.CSS_SELECTOR, ".notice")]

    def announced(self) -> str:
        """What the live region says, to a screen reader alone."""
        return str(self.element("#live").get_attribute("textContent"))

    def shown_rows(self) -> list[dict[str, Any]]:
        """The table's rows, each by its id, its times and its statuses."""
        script = """
            return [...document.querySelectorAll("tr[data-row]")].map((row) => {
              const [time, from, to, , trigger, , created] = row.cells;
              return {id: row.dataset.row,
                      transition_time: time.firstChild.dateTime, created_at: created.firstChild.dateTime,
                      from_status: from.innerText.trim(), to_status: to.innerText.trim(),
                      triggered_by: trigger.innerText};
            });"""
        rows: list[dict[str, Any]] = self.run(script)
        return [
            row
            | {
                "from_status": None if row["from_status"] == "none" else row["from_status"].lower(),
                "to_status": row["to_status"].lower(),
            }
            for row in rows
        ]

    def slider(self) -> dict[str, Any]:
        """The timeline's slider as a screen reader has it."""
        element = self.element(".timeline-slider")
        return {name: element.get_attribute(f"aria-value{name}") for name in ("min", "max", "now", "text")}

    def bands(self) -> dict[str, int]:
        """How many bands are drawn of each status."""
        script = """
            return [...document.querySelectorAll("path.band")].map((path) =>
              [path.className.baseVal.replace("band is-", ""), path.getAttribute("d").split("M").length - 1]);"""
        return dict(self.run(script))

    def requests(self) -> list[dict[str, Any]]:
        """The requests since the last time that this was asked: `url`, `method`, `headers`."""
        entries = self.driver.get_log("performance")  # type: ignore[no-untyped-call]
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return [
            message["params"]["request"] for message in messages if message["method"] == "Network.requestWillBeSent"
        ]

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def cdp(self, command: str, **parameters: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, parameters)

    def wait(self, condition: Callable[[], _T]) -> _T:
        """Until it is true. What is drawn anew meanwhile is looked up again."""
        waiting = WebDriverWait(self.driver, PATIENCE, 0.05, ignored_exceptions=[StaleElementReferenceException])
        return waiting.until(lambda _: condition())

    def wait_for_status(self, status: str) -> None:
        self.wait(lambda: self.status() == status)

    def wait_for_notice(self, *parts: str) -> str:
        """The notice that has all these parts, once there is one."""

        def find() -> str:
            return next((text for text in self.notices() if all(part in text for part in parts)), "")

        return self.wait(find)
