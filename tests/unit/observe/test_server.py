"""The probes and the metrics over real HTTP."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import httpx
import pytest

from connector.config import Observe
from connector.errors import ConfigError
from connector.observe.health import LONGEST_ROUND, Health
from connector.observe.metrics import Metrics
from connector.observe.server import ObserveServer

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = Observe(host="127.0.0.1", port=0)


class Served:
    """A server, what it reads, and a client."""

    def __init__(self) -> None:
        self.now = 0.0
        self.health, self.metrics = Health(lambda: self.now), Metrics()
        self.server = ObserveServer(LOOPBACK, self.health, self.metrics.registry)
        self.server.start()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.server.port}", trust_env=False, timeout=10)


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    yield made
    made.http.close()
    made.server.stop()


def test_livez_follows_the_loop(served: Served) -> None:
    answer = served.http.get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "seconds_since_last_round": 0.0})
    served.now = LONGEST_ROUND
    assert served.http.get("/livez").status_code == 503


def test_readyz_follows_the_group_and_says_what_stands_in_the_way(served: Served) -> None:
    assert served.http.get("/readyz").status_code == 503
    served.health.tell(joined=True, halted=("T",))
    answer = served.http.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "ok": True,
        "reasons": [],
        "joined": True,
        "stopping": False,
        "brokers_away": None,
        "absent_topics": {},
        "halted_tables": ["T"],
    }


def test_metrics_are_served_as_text(served: Served) -> None:
    answer = served.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "# TYPE kafka_celonis_pushes_left gauge" in answer.text


def test_nothing_else_is_served(served: Served) -> None:
    assert served.http.get("/").status_code == 404
    assert served.http.post("/metrics").status_code == 405


def test_a_port_in_use_is_a_problem_of_the_configuration(served: Served) -> None:
    taken = Observe(host="127.0.0.1", port=served.server.port)
    with pytest.raises(
        ConfigError, match=rf"observe: cannot listen on 127\.0\.0\.1:{served.server.port}: Address already"
    ):
        ObserveServer(taken, served.health, served.metrics.registry)


@pytest.mark.parametrize("host", ["host.invalid", "192.0.2.1"])
def test_an_address_that_is_not_ours_is_a_problem_of_the_configuration(host: str, served: Served) -> None:
    with pytest.raises(ConfigError, match="observe: cannot listen on"):
        ObserveServer(Observe(host=host, port=0), served.health, served.metrics.registry)


def test_stopping_frees_the_port_and_a_server_that_never_started_can_be_stopped(served: Served) -> None:
    port = served.server.port
    served.server.stop()
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))
    ObserveServer(LOOPBACK, served.health, served.metrics.registry).stop()
