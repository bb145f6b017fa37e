"""Owns what is known of the brokers: the meaning of every error, what is an outage, and what is final.

Never talks to a broker: the clients tell it what they hear. Invariant: an outage names its cause, and heals by itself;
what is final names the setting or the right that is wrong.
"""

from __future__ import annotations

import json
import re

import structlog
from confluent_kafka import KafkaError

from connector.errors import SourceError

log = structlog.get_logger()

_FINAL = {
    KafkaError.GROUP_AUTHORIZATION_FAILED: "grant READ on the group, kafka.group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "grant the cluster permission that the broker names",
    KafkaError.SASL_AUTHENTICATION_FAILED: "check sasl.username and sasl.password in kafka.properties",
    KafkaError._AUTHENTICATION: "check sasl.username, sasl.password and sasl.mechanism in kafka.properties",  # noqa: SLF001
    KafkaError.FENCED_INSTANCE_ID: (
        "give every replica a kafka.instance_id of its own; one that was killed is free when its session ends"
    ),
    KafkaError.UNSUPPORTED_VERSION: "use a broker of version 2.4 or later",
}
_CONNECTION = {KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._TIMED_OUT, KafkaError._SSL}  # noqa: SLF001
_INSTANCE = re.compile(r"group\.instance\.id|instance ID")  # in the two protocols' words
FORBIDDEN_HINT = "grant READ and DESCRIBE on the topic, then restart"
_SSL_HINT = "check security.protocol and the ssl.* settings in kafka.properties"


class Contact:
    """What a client has heard of its brokers.

    `away` says why none can be reached, `failure` what is final, `forbidden` by topic what we may not read. `section`
    of the configuration says how to reach them.
    """

    def __init__(self, brokers: str, section: str = "kafka") -> None:
        self._brokers, self._section = brokers, section
        self._reached = False
        self._reason = ""
        self.away: str | None = None
        self.failure: SourceError | None = None
        self.forbidden: dict[str, str] = {}

    def on_error(self, error: KafkaError, topic: str | None = None) -> None:
        """Take in what the client says; of what heals by itself only the beginning is written down."""
        code = error.code()
        if code == KafkaError._FATAL and _INSTANCE.search(error.str()):  # noqa: SLF001 - it hides what it stands for
            code = KafkaError.FENCED_INSTANCE_ID
        if error.fatal() or code == KafkaError._FATAL or code in _FINAL:  # noqa: SLF001
            self._refuse(error, topic, _FINAL.get(code, ""))
        elif code == KafkaError._SSL and not self._reached:  # noqa: SLF001
            self._refuse(error, topic, _SSL_HINT)  # later on a broker that stops in mid-handshake looks the same
        elif code == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
            self._lose(error)
        elif code in _CONNECTION:
            self._reason = error.str()
            self.away = self.away and self._reason
        elif code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            self._forbid(topic or "?", error)
        elif code == KafkaError.UNKNOWN_TOPIC_OR_PART:
            log.warning("found no such topic yet", topic=topic, error=error.str())
        else:
            log.warning("took error of the Kafka client", topic=topic, code=error.name(), error=error.str())

    def on_statistics(self, document: str) -> None:
        """Look for a connected broker while all seem away; an idle topic gives no other sign of their return."""
        if self.away is None:
            return
        if any(broker.get("state") == "UP" for broker in json.loads(document).get("brokers", {}).values()):
            self.reached()

    def reached(self) -> None:
        """Take note that a broker has answered."""
        if self.away is not None:
            log.info("reached brokers again", brokers=self._brokers)
        self._reached, self.away = True, None

    def insist(self) -> None:
        """Raise what is final, if there is something."""
        if self.failure:
            raise self.failure

    def _refuse(self, error: KafkaError, topic: str | None, hint: str) -> None:
        about = f"topic {topic}" if topic else f"brokers {self._brokers}"
        self.failure = SourceError(f"Kafka refuses for good ({about}): {error.str()}", hint=self._mend(hint))

    def _mend(self, hint: str) -> str:
        return hint.replace("kafka.properties", f"{self._section}.properties")

    def _forbid(self, topic: str, error: KafkaError) -> None:
        """One topic that we may not read stops no other; it is asked for again with every look at the cluster."""
        if topic not in self.forbidden:
            log.error("may not read topic", topic=topic, error=error.str(), hint=FORBIDDEN_HINT)
        self.forbidden[topic] = f"{error.str()} ({FORBIDDEN_HINT})"

    def _lose(self, error: KafkaError) -> None:
        if self.away is None:
            self.away = self._reason or error.str()
            log.warning("lost brokers, the client keeps trying", brokers=self._brokers, error=self.away)
