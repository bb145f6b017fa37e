"""A process whose credentials were refused stays to be seen."""

from __future__ import annotations

import threading

import pytest

from connector.errors import CelonisUnauthorized, SourceError
from connector.observe.health import Health
from connector.observe.lingering import Lingering
from connector.observe.metrics import Metrics
from tests.unit.observe.test_gauges import NOTHING

REFUSED = CelonisUnauthorized("401", hint="renew celonis.auth")
FOREVER = 1e6  # seconds


class Ending:
    """What lingers, and what it tells."""

    def __init__(self, seconds: float = FOREVER) -> None:
        self.health, self.metrics = Health(lambda: 0.0), Metrics()
        self.health.tell(joined=True)
        self.metrics.show(NOTHING._replace(ready=True))
        self.asked = threading.Event()
        self.lingering = Lingering(self.health, self.metrics, seconds)

    def end_by(self, error: Exception) -> None:
        with pytest.raises(type(error)), self.lingering.watching(self.asked.is_set):
            raise error

    def value(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"kafka_celonis_{name}")


def test_a_refusal_is_shown_and_named_until_the_end_is_asked_for() -> None:
    ending = Ending()
    ending.end_by(REFUSED)
    assert (ending.value("credentials_refused"), ending.value("ready")) == (1, 0)
    assert not ending.health.ready()[0]
    assert ending.health.status()["troubles"] == {"credentials": "401 (renew celonis.auth)"}
    closing = threading.Thread(target=ending.lingering.close)
    closing.start()
    assert closing.is_alive()
    ending.asked.set()
    closing.join(30)
    assert not closing.is_alive()


def test_nobody_waits_longer_than_it_takes_to_be_seen() -> None:
    ending = Ending(seconds=0.01)
    ending.end_by(REFUSED)
    ending.lingering.close()
    assert not ending.asked.is_set()


def test_another_end_is_not_waited_for() -> None:
    ending = Ending()
    ending.end_by(SourceError("fenced"))
    ending.lingering.close()
    assert (ending.value("credentials_refused"), ending.value("ready")) == (0, 1)
    assert ending.health.ready()[0]
