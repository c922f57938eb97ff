"""A real browser for tests of interactive pages."""

from tests.support.browser import browser, open_page

__all__ = ["browser", "open_page"]
