"""Page object of the console's schedules page."""

from browser.fleet_page import FleetPage
from selenium.webdriver.common.by import By

from local import tokens


class SchedulesPage(FleetPage):
    """The console in a browser tab, with the schedules of a project."""

    def sign_in_to_schedules(self, project: str) -> None:
        """Open the schedules of a project, enter a token of an operator, and wait for the list."""
        self.open(f"schedules?project={project}")
        self.connect(tokens.token("operator"))
        self.wait(lambda: self.driver.find_elements(By.CSS_SELECTOR, ".week"))

    def become(self, user: str) -> None:
        """Enter a token of another user."""
        self.element("#connection-toggle").click()
        self.connect(tokens.token(user))
        self.wait(lambda: self.text("#session-text") == user)

    def go(self, address: str) -> None:
        """Follow a link to the address."""
        self.run("location.hash = arguments[0]", address)

    def schedules(self) -> dict[str, dict[str, str]]:
        """Return the texts of each schedule's row by the title of the column."""
        script = """
            return Object.fromEntries([...document.querySelectorAll("tr[data-schedule]")].map((row) =>
              [row.dataset.schedule, Object.fromEntries([...row.querySelectorAll("[data-label]")].map((cell) =>
                [cell.dataset.label, cell.innerText.trim()]))]));"""
        return dict(self.run(script))

    def next_runs(self, name: str) -> list[str]:
        """Return the next runs of a schedule in its row, as times of the API."""
        times = self.driver.find_elements(By.CSS_SELECTOR, f"tr[data-schedule={name}] time")
        return [str(time.get_attribute("datetime")) for time in times]

    def drawn(self) -> list[str]:
        """Return the descriptions of the runs that are drawn on the week."""
        marks = self.driver.find_elements(By.CSS_SELECTOR, ".week .run")
        return [str(mark.get_attribute("title")) for mark in marks]

    def fill(self, field: str, text: str) -> None:
        """Replace the text of a field of the form."""
        element = self.element(f"#schedule-{field}")
        element.clear()
        element.send_keys(text)

    def choose(self, option: str) -> None:
        """Choose a kind of times or of targets, such as `kind-cron`."""
        self.element(f"label[for=schedule-{option}]").click()

    def save(self) -> None:
        self.element(".schedule-form [type=submit]").click()

    def limit(self, action: str) -> None:
        """Click a button in the panel of a container's limits, which is opened if it is closed."""
        if not self.element("#limits-panel").get_attribute("open"):
            self.element("#limits-panel summary").click()
        self.element(f"[data-limit={action}]").click()

    def limits(self) -> list[str]:
        """Return the badges of the container's card."""
        return [badge.text for badge in self.driver.find_elements(By.CSS_SELECTOR, "#container .limit")]
