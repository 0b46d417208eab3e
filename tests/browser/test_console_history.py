"""The console in a browser: the table and the timeline show the rows that the API returns."""

from collections import Counter
from typing import Any

import pytest
from api_client import Api
from browser.console_page import ConsolePage
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from local import tokens
from local.seed import Seeder, container_id
from local.stack import LocalStack

LONG = container_id(17)
HISTORY_ROWS = 1000
SORTS = ["transition_time", "created_at", "to_status", "from_status"]
FIRST_ORDER = {"transition_time": "desc", "created_at": "desc", "to_status": "asc", "from_status": "asc"}
SHOWN = ["id", "transition_time", "from_status", "to_status", "triggered_by", "created_at"]


@pytest.fixture
def history(console: ConsolePage) -> ConsolePage:
    """The console with the 1,000-row history."""
    console.sign_in(LONG)
    return console


def expect(console: ConsolePage, api: Api, **query: Any) -> None:
    """Wait until the table shows the page that the API returns for the query, and its position in the history."""
    data = api.logs(LONG, **query).json()["data"]
    rows = [{name: row[name] for name in SHOWN} for row in data["logs"]]
    assert rows
    console.wait(lambda: console.shown_rows() == rows)
    first = (query["page"] - 1) * query["limit"] + 1
    console.wait(lambda: console.text("#range") == f"{first:,} to {first + len(rows) - 1:,} of 1,000")
    assert console.element("#page").get_attribute("value") == str(query["page"])
    assert console.text("#page-count") == f"of {data['pagination']['totalPages']}"


def turn(console: ConsolePage, label: str) -> None:
    console.element(f"[aria-label='{label} page']").click()


def test_pages(history: ConsolePage, api: Api) -> None:
    newest: dict[str, Any] = {"sort_by": "transition_time", "sort_order": "desc", "limit": 25}
    expect(history, api, page=1, **newest)
    turn(history, "Next")
    expect(history, api, page=2, **newest)
    turn(history, "Last")
    expect(history, api, page=40, **newest)
    # There is no next page.
    turn(history, "Next")
    turn(history, "Previous")
    expect(history, api, page=39, **newest)
    field = history.element("#page")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys("17", Keys.ENTER)
    expect(history, api, page=17, **newest)
    # The first row of the page, row 401, stays in view.
    Select(history.element("#limit")).select_by_value("100")
    expect(history, api, page=5, **newest | {"limit": 100})
    turn(history, "First")
    expect(history, api, page=1, **newest | {"limit": 100})
    for value in ("0", "x", "2.5"):
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(value, Keys.ENTER)
        history.wait(lambda: field.get_attribute("value") == "1")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys("999", Keys.ENTER)
    expect(history, api, page=10, **newest | {"limit": 100})


@pytest.mark.parametrize("sort_by", SORTS)
def test_sorts(history: ConsolePage, api: Api, sort_by: str) -> None:
    header = history.element(f"[data-sort={sort_by}]")
    first = FIRST_ORDER[sort_by]
    if sort_by != "transition_time":
        header.click()
    for order in (first, "asc" if first == "desc" else "desc"):
        if order != first:
            header.click()
        expect(history, api, page=1, limit=25, sort_by=sort_by, sort_order=order)
        marks = history.run("return [...document.querySelectorAll('th')].map((h) => h.getAttribute('aria-sort'))")
        assert [mark for mark in marks if mark] == [f"{order}ending"]
        turn(history, "Last")
        expect(history, api, page=40, limit=25, sort_by=sort_by, sort_order=order)


def test_the_timeline(history: ConsolePage, api: Api) -> None:
    rows = api.rows(LONG)
    history.element("label[for=zoom-all]").click()
    counts = Counter(row["to_status"] for row in rows)
    history.wait(lambda: history.bands() == {name: counts.get(name, 0) for name in history.bands()})
    history.wait(lambda: history.slider()["max"] == "1000")
    assert "1,000 changes of status" in history.text("#timeline-summary")
    # The slider describes the selected change, and the table opens its page.
    slider = history.element(".timeline-slider")
    slider.send_keys(Keys.HOME, *[Keys.PAGE_UP] * 3)
    assert history.slider()["now"] == "31"
    assert history.slider()["text"].startswith(f"{rows[30]['to_status'].capitalize()} from ")
    history.element(".timeline-detail button").click()
    history.wait(lambda: rows[30]["id"] in [row["id"] for row in history.shown_rows()])
    assert history.element("#page").get_attribute("value") == "39"
    assert history.element("tr.marked").get_attribute("data-row") == rows[30]["id"]
    # A shorter span shows the newest changes, and the band that overlaps its start.
    history.element("label[for=zoom-6h]").click()
    history.wait(lambda: 0 < int(history.slider()["max"]) < 1000)
    assert sum(history.bands().values()) - int(history.slider()["max"]) in (0, 1)


def test_pointing_at_the_timeline(history: ConsolePage) -> None:
    """The newest band is at the right end of its lane."""
    newest = history.text(".timeline-detail .num")
    assert newest.endswith("→ now")
    slider = history.element(".timeline-slider")
    pointer = ActionChains(history.driver)
    pointer.move_to_element_with_offset(slider, -int(slider.size["width"] / 4), 0).perform()
    history.wait(lambda: history.text(".timeline-detail .num") != newest)
    pointer.move_to_element_with_offset(slider, int(slider.size["width"] / 2) - 8, 0).perform()
    history.wait(lambda: history.text(".timeline-detail .num") == newest)


def test_one_row(console: ConsolePage, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    console.sign_in(fresh_id)
    assert [row["from_status"] for row in console.shown_rows()] == [None]
    assert console.bands() == {"running": 0, "paused": 0, "stopped": 1, "failed": 0, "expired": 0}
    assert console.slider()["max"] == "1"
    assert console.slider()["text"].startswith("Stopped from ")
    assert "until now" in console.slider()["text"]


def test_no_row(console: ConsolePage, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    """A container that was written without a history."""
    seeder.add(fresh_id, ["stopped"])
    seeder._clear(fresh_id)
    stack.client("dynamodb").update_item(
        TableName=stack.table_name("ContainersTable"),
        Key={"id": {"S": fresh_id}},
        UpdateExpression="SET log_count = :none, to_counts = :empty, from_counts = :empty",
        ExpressionAttributeValues={":none": {"N": "0"}, ":empty": {"M": {}}},
    )
    console.open(fresh_id)
    console.connect(tokens.token("operator"))
    console.wait(lambda: console.text("#range") == "0 of 0")
    assert console.status() == "stopped"
    assert not console.element("#timeline").is_displayed()
    console.click("start")
    console.wait_for_status("running")
    console.wait(lambda: console.slider()["max"] == "1")


def test_the_time_zone(console: ConsolePage, api: Api) -> None:
    console.cdp("Emulation.setTimezoneOverride", timezoneId="Asia/Kolkata")
    try:
        console.sign_in(container_id(12))
        utc = api.rows(container_id(12))[-1]["transition_time"]
        local = console.text("tr[data-row] time")
        console.element("label[for=zone-utc]").click()
        assert console.text("tr[data-row] time") == utc.replace("T", " ").removesuffix("Z")
        assert local != console.text("tr[data-row] time")
        assert local[14:] != utc[14:19]
        assert console.text(".since").endswith(utc.replace("T", " ")[:19])
    finally:
        console.cdp("Emulation.setTimezoneOverride", timezoneId="")
