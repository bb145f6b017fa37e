"""Owns the embedded cluster: librdkafka's own mock brokers, on loopback, for the demo and for tests.

Never used by the service itself. It keeps 5 MiB of messages a partition in memory and forgets the oldest without a
word, and knows no transactions, access control or TLS. Invariant: nothing of it outlives the `with` block.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import confluent_kafka
from confluent_kafka import cimpl

from connector.errors import ConnectorError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_PRODUCER = 0  # rd_kafka_type_t; the cluster hangs on any client, and one without a group is the smallest
_FIRST_REBALANCE_MS = 100  # how long a new group waits for more members; librdkafka's 3000 is for real clusters
_ERRORS_ONLY = b"3"  # syslog level
_POINTER, _INT, _TEXT = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
_SIGNATURES = {
    "rd_kafka_conf_new": (_POINTER, ()),
    "rd_kafka_conf_set": (_INT, (_POINTER, _TEXT, _TEXT, _TEXT, ctypes.c_size_t)),
    "rd_kafka_new": (_POINTER, (_INT, _POINTER, _TEXT, ctypes.c_size_t)),
    "rd_kafka_destroy": (None, (_POINTER,)),
    "rd_kafka_err2str": (_TEXT, (_INT,)),
    "rd_kafka_mock_cluster_new": (_POINTER, (_POINTER, _INT)),
    "rd_kafka_mock_cluster_destroy": (None, (_POINTER,)),
    "rd_kafka_mock_cluster_bootstraps": (_TEXT, (_POINTER,)),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, (_POINTER, ctypes.c_int32)),
    "rd_kafka_mock_topic_create": (_INT, (_POINTER, _TEXT, _INT, _INT)),
    "rd_kafka_mock_broker_set_down": (_INT, (_POINTER, ctypes.c_int32)),
    "rd_kafka_mock_broker_set_up": (_INT, (_POINTER, ctypes.c_int32)),
    "rd_kafka_mock_push_request_errors_array": (
        None, (_POINTER, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(_INT)),
    ),
}  # fmt: skip


class EmbeddedCluster:
    """Brokers numbered from 1 that any Kafka client on this machine can use at `bootstrap`."""

    def __init__(self, brokers: int = 1) -> None:
        self._brokers = brokers

    def __enter__(self) -> Self:
        self._library = _library()
        self._client = _new_client(self._library)
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._client, self._brokers)
        if not self._cluster:
            self._library.rd_kafka_destroy(self._client)
            raise ConnectorError("could not start the embedded Kafka cluster", hint="loopback ports must be free")
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, _FIRST_REBALANCE_MS)
        self.bootstrap: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)

    def create_topic(self, name: str, partitions: int) -> None:
        """Create a topic; raises ConnectorError when it exists."""
        self._check(self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1))

    def down(self) -> None:
        """Let every broker drop its connections and refuse new ones."""
        for broker in range(1, self._brokers + 1):
            self._check(self._library.rd_kafka_mock_broker_set_down(self._cluster, broker))

    def up(self) -> None:
        """Let every broker answer again."""
        for broker in range(1, self._brokers + 1):
            self._check(self._library.rd_kafka_mock_broker_set_up(self._cluster, broker))

    def fail(self, api: int, *errors: int) -> None:
        """Answer the next requests of the protocol's api key `api` with these error codes, one each."""
        codes = (_INT * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, api, len(errors), codes)

    def _check(self, code: int) -> None:
        if code:
            raise ConnectorError(f"the embedded Kafka cluster refused: {self._library.rd_kafka_err2str(code).decode()}")


@cache
def _library() -> ctypes.CDLL:
    """Return the librdkafka that confluent_kafka runs on, with the signatures of what is called here."""
    for path in _candidates():
        try:
            library = ctypes.CDLL(str(path))
            for name, (result, arguments) in _SIGNATURES.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError):
            continue
        return library
    raise ConnectorError(
        f"found no librdkafka with mock brokers beside confluent_kafka {confluent_kafka.__version__}",
        hint="install the wheel of confluent-kafka from PyPI instead of building it against another librdkafka",
    )


def _candidates() -> list[Path]:
    """Where it may be: a lookup in the extension module also searches what it is linked to, except on Windows."""
    package = Path(confluent_kafka.__file__).parent
    bundled = (package.parent / "confluent_kafka.libs", package / ".dylibs")
    return [Path(cimpl.__file__), *(path for folder in bundled for path in sorted(folder.glob("*rdkafka*")))]


def _new_client(library: ctypes.CDLL) -> int:
    """Return a client without brokers of its own, silent except for errors."""
    configuration = library.rd_kafka_conf_new()
    reason = ctypes.create_string_buffer(256)
    library.rd_kafka_conf_set(configuration, b"log_level", _ERRORS_ONLY, reason, len(reason))
    client = library.rd_kafka_new(_PRODUCER, configuration, reason, len(reason))
    if not client:
        raise ConnectorError(f"could not start the embedded Kafka cluster: {reason.value.decode()}")
    return int(client)
