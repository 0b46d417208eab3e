"""A user at the pages of the OpenID Connect provider, without a browser: follows redirects and submits forms."""

import re
from html import unescape
from urllib.parse import urljoin

import httpx


class ProviderPages:
    """A session of a user at the provider."""

    def __init__(self) -> None:
        self._http = httpx.Client(follow_redirects=True)

    def close(self) -> None:
        self._http.close()

    def sign_in(self, url: str, user: str = "operator") -> httpx.Response:
        """Open a URL of the provider, sign in, consent to everything, and return the last page."""
        page = self._http.get(url)
        while _forms(page):
            page = self._submit(page, user)
        return page

    def refuse(self, url: str, user: str = "operator") -> httpx.Response:
        """Open a URL of the provider, sign in, refuse the consent, and return the last page."""
        page = self._http.get(url)
        while _forms(page)[0][1].get("prompt") != "consent":
            page = self._submit(page, user)
        abort = re.search(r'href="([^"]*/abort)"', page.text)
        assert abort is not None
        return self._http.get(urljoin(str(page.url), abort[1]))

    def _submit(self, page: httpx.Response, user: str) -> httpx.Response:
        """Submit the first form of a page, and return the next page."""
        action, fields = _forms(page)[0]
        name = {"login": user, "password": "any"} if "login" in fields else {}
        return self._http.post(action, data=fields | name)


def _forms(page: httpx.Response) -> list[tuple[str, dict[str, str]]]:
    """Return the URL and the fields of each form."""
    found = []
    for form in re.finditer(r'<form[^>]*action="([^"]*)"[^>]*>(.*?)</form>', page.text, re.DOTALL):
        inputs = re.findall(r"<input[^>]*>", form[2])
        fields = {name[1]: _value(tag) for tag in inputs if (name := re.search(r'name="([^"]*)"', tag))}
        found.append((urljoin(str(page.url), unescape(form[1])), fields))
    return found


def _value(tag: str) -> str:
    value = re.search(r'value="([^"]*)"', tag)
    return unescape(value[1]) if value else ""
