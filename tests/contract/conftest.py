"""One emulator for all tests that need no settings of their own, and a way to start others."""

from __future__ import annotations

import ssl
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from connector.emulator import Emulator, EmulatorSettings
from tests.contract.api import KEY, OTHER_POOL, POOL, Api, fresh_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POOLS = {POOL: "first", OTHER_POOL: "second"}


class Start(Protocol):
    """Starts an emulator with settings of its own; it ends with the test."""

    def __call__(self, **settings: Any) -> Api: ...


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    settings = EmulatorSettings(
        tmp_path_factory.mktemp("emulator"),
        pools=POOLS,
        app_keys={KEY: [POOL, OTHER_POOL]},
        per_hour=100_000,
        per_second=100_000,
    )
    with Emulator(settings) as running:
        yield running


@pytest.fixture(scope="session")
def shared(emulator: Emulator) -> Iterator[Api]:
    api = Api(emulator)
    with api.http:
        yield api


@pytest.fixture(scope="session")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An emulator that also takes what nothing public shows to work."""
    settings = EmulatorSettings(tmp_path_factory.mktemp("lenient"), app_keys={KEY: [POOL]}, strict=False)
    with Emulator(settings) as running:
        api = Api(running)
        with api.http:
            yield api


@pytest.fixture
def api(shared: Api) -> Api:
    return shared


@pytest.fixture
def table() -> str:
    """A table that no other test knows."""
    return fresh_table()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as parts:

        def started(**settings: Any) -> Api:
            defaults: dict[str, Any] = {"directory": tmp_path / "emulator", "pools": POOLS, "app_keys": {KEY: [POOL]}}
            running = parts.enter_context(Emulator(EmulatorSettings(**defaults | settings)))
            api = Api(running, verify=_trust(running))
            parts.enter_context(api.http)
            return api

        yield started


def _trust(running: Emulator) -> Any:
    return ssl.create_default_context(cafile=running.ca_file) if running.ca_file else True
