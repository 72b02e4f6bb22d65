"""Keys of services, kept from showing themselves."""

from __future__ import annotations

import base64
import re
from urllib.parse import quote

HIDDEN = "<key>"


class Secret:
    """A key that does not show itself in a repr, a traceback with locals, a pickle or a log.

    Raises ValueError for a key that is empty or holds characters that no key of `service` has.
    """

    def __init__(self, value: str, service: str) -> None:
        value = value.strip() if isinstance(value, str) else ""
        # Also keeps line breaks out of the header; an HTTP library would quote the header in its error.
        if not re.fullmatch(r"[A-Za-z0-9._~+/=-]+", value):
            raise ValueError(f"the {service} key is empty or holds characters that no {service} key has")
        self._value = value

    def __repr__(self) -> str:
        return HIDDEN

    def __reduce__(self) -> str:
        raise TypeError("a key is not to be pickled")

    def reveal(self) -> str:
        """The key itself, for the one place that sends it."""
        return self._value

    def hide_in(self, text: str) -> str:
        """Return `text` without the key, should a service have echoed it: plain, percent-encoded or in base64."""
        for form in (self._value, quote(self._value, safe=""), base64.b64encode(self._value.encode()).decode()):
            text = text.replace(form, HIDDEN)
        return text
