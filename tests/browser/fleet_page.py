"""Page object of the console's fleet and activity pages."""

from typing import Any
from urllib.parse import urlencode

from browser.console_page import ConsolePage
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from local import tokens


class FleetPage(ConsolePage):
    """The console in a browser tab, with the list of containers."""

    def sign_in_to(self, user: str = "operator", **query: Any) -> None:
        """Open the fleet with a query in its address, enter a token of the user, and wait for the list."""
        self.open(f"?{urlencode(query)}" if query else "")
        self.connect(tokens.token(user))
        self.wait(self.loaded)

    def loaded(self) -> bool:
        """Return whether the list has been read since the address changed."""
        shown = "return document.querySelector('#fleet-table').hasAttribute('aria-busy')"
        return bool(self.text("#fleet-range")) and not self.run(shown)

    def names(self) -> list[str]:
        """Return the names of the displayed containers, from top to bottom."""
        return [element.text for element in self.driver.find_elements(By.CSS_SELECTOR, "tr[data-container] .name a")]

    def wait_for_names(self, names: list[str]) -> None:
        self.wait(lambda: self.loaded() and self.names() == names)

    def row(self, name: str) -> dict[str, str]:
        """Return the texts of a container's row by the title of the column."""
        script = """
            const links = [...document.querySelectorAll("tr[data-container] .name a")];
            const link = links.find((a) => a.text === arguments[0]);
            return Object.fromEntries([...link.closest("tr").querySelectorAll("[data-label]")].map((cell) =>
              [cell.dataset.label, cell.innerText.trim()]));"""
        return dict(self.run(script, name))

    def select(self, *names: str) -> None:
        for name in names:
            self.element(f"[aria-label='Select {name}']").click()

    def select_range(self, first: str, last: str) -> None:
        self.select(first)
        box = self.element(f"[aria-label='Select {last}']")
        ActionChains(self.driver).key_down(Keys.SHIFT).click(box).key_up(Keys.SHIFT).perform()

    def operate(self, operation: str) -> None:
        """Click an operation of the selected containers, and confirm it."""
        self.element(f"[data-bulk={operation}]").click()
        self.wait(lambda: self.element("#confirm").is_displayed())
        self.element("#confirm-ok").click()

    def bulk_enabled(self) -> list[str]:
        """Return the operations on the selected containers whose buttons are enabled."""
        buttons = self.driver.find_elements(By.CSS_SELECTOR, "[data-bulk][aria-disabled=false]")
        return [str(button.get_attribute("data-bulk")) for button in buttons]

    def results(self) -> dict[str, str]:
        """Return the results of the latest operation on several containers, by container name."""
        items = self.driver.find_elements(By.CSS_SELECTOR, ".bulk-result:first-child li")
        return dict(item.text.split(": ", 1) for item in items)

    def address(self) -> str:
        """Return the fragment of the address."""
        return self.driver.current_url.partition("#")[2]

    def posts(self) -> list[dict[str, Any]]:
        """Return the POST requests since the last call."""
        return [request for request in self.requests() if request["method"] == "POST"]
