"""Page object of the console."""

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
    """The console in a browser tab."""

    def __init__(self, driver: WebDriver, url: str) -> None:
        self.driver = driver
        self.url = url

    # Actions of a user

    def open(self, container_id: str = "") -> None:
        """Load the page, with a container in its URL."""
        self.driver.get(f"{self.url}/console{'#' if container_id else ''}{container_id}")
        self.wait(lambda: self.element("#connection-toggle").is_displayed())

    def sign_in(self, container_id: str, user: str = "operator") -> None:
        """Open a container, enter a token of the user, and wait until status and history are shown."""
        self.open(container_id)
        self.connect(tokens.token(user))
        self.wait(lambda: self.shown_rows() and self.slider()["now"])

    def connect(self, token: str) -> None:
        field = self.element("#token")
        field.clear()
        field.click()
        # As pasting does.
        self.cdp("Input.insertText", text=token)
        self.element("#connection-form button[type=submit]").click()

    def click(self, operation: str) -> None:
        self.element(f"[data-operation={operation}]").click()

    def press(self, *keys: str) -> None:
        """Send keys to the focused element, one after the other."""
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def freeze(self) -> None:
        """Disable periodic refreshes from the next load on. The page still refreshes after actions of a user."""
        script = "const later = setTimeout; window.setTimeout = (run, ms) => (ms >= 5000 ? 0 : later(run, ms));"
        self.cdp("Page.addScriptToEvaluateOnNewDocument", source=script)

    def resize(self, width: int, height: int) -> None:
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, **features: str) -> None:
        """Set media features, such as `prefers_color_scheme="dark"`."""
        media = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.cdp("Emulation.setEmulatedMedia", features=media)

    # Content of the page

    def element(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """Return the displayed text of an element, or an empty string if the element is hidden."""
        return self.element(selector).text

    def status(self) -> str:
        return self.text("#container .status").lower()

    def enabled(self) -> list[str]:
        """Return the operations whose buttons are enabled."""
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
        """Return the text of the live region, which only screen readers announce."""
        return str(self.element("#live").get_attribute("textContent"))

    def shown_rows(self) -> list[dict[str, Any]]:
        """Return the rows of the table."""
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
        """Return the ARIA values of the timeline's slider."""
        element = self.element(".timeline-slider")
        return {name: element.get_attribute(f"aria-value{name}") for name in ("min", "max", "now", "text")}

    def bands(self) -> dict[str, int]:
        """Return the number of bands of each status."""
        script = """
            return [...document.querySelectorAll("path.band")].map((path) =>
              [path.className.baseVal.replace("band is-", ""), path.getAttribute("d").split("M").length - 1]);"""
        return dict(self.run(script))

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests since the last call: `url`, `method`, `headers`."""
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
        """Wait until the condition is true, and return its value. Elements that were replaced are looked up again."""
        waiting = WebDriverWait(self.driver, PATIENCE, 0.05, ignored_exceptions=[StaleElementReferenceException])
        return waiting.until(lambda _: condition())

    def wait_for_status(self, status: str) -> None:
        self.wait(lambda: self.status() == status)

    def wait_for_notice(self, *parts: str) -> str:
        """Wait for a notice that contains all parts, and return its text."""

        def find() -> str:
            return next((text for text in self.notices() if all(part in text for part in parts)), "")

        return self.wait(find)
