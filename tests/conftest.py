"""What holds for every test: it meets no real wandb server and no cluster that it did not name.

The longest begin first.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.support")

from tests.support.apptainer.image import building_ahead  # noqa: E402 - after it is registered


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest tests first, since a worker that begins one last works alone at the end, and
    last those that need the image, which is built meanwhile.
    """
    items.sort(key=lambda item: (needs_image(item), item.get_closest_marker("long") is None))


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    is_first = os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0"
    with building_ahead(is_wanted=is_first and any(map(needs_image, session.items))):
        return (yield)


def needs_image(item: pytest.Item) -> bool:
    return {"apptainer", "image"} <= set(getattr(item, "fixturenames", ()))


@pytest.fixture(autouse=True)
def no_wandb_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # a port on which no server listens


@pytest.fixture(scope="session", autouse=True)
def on_this_machine() -> Iterator[None]:
    """Let `auto` stay here: this machine may have a scheduler's commands without its cluster.

    Fixtures of modules and of the session start submits as well.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANLP_ON", "local")
        yield
