"""Owns the budget ledger at the edge of Kafka: our entries go out, everybody's come in, in the one order they have.

Never waits: what blocks (finding the topic, letting go of clients) is done by threads of its own. Never raises for
what Kafka refuses: it is `trouble`, and heals when a later try succeeds. Invariant: entries come strictly by offset
within a generation; without trouble, everything was read that the ledger held a moment ago.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import structlog
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from connector.core.entries import Entry, Stamped, UnreadableEntry
from connector.core.hours import HOUR, TeamClock
from connector.errors import ConnectorError
from connector.kafka.asking import Silence
from connector.kafka.contact import Contact
from connector.kafka.ledger_appends import Appends, Moment
from connector.kafka.ledger_clients import LedgerClients
from connector.kafka.ledger_topic import LedgerTopic
from connector.kafka.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from confluent_kafka import Message

    from connector.config import Budget, Kafka
    from connector.core.entries import Anchor
    from connector.kafka.ledger_topic import Found

log = structlog.get_logger()

REMEMBERED_HOURS = 5  # of the team's clock: how far back the state of the budget reaches
MARGIN_SECONDS = 60.0  # between the broker's clock and ours
MOST_AT_ONCE = 1000  # records, about 15 ms
ASK_AGAIN_SECONDS = {"hurry": 2.0, "trouble": 30.0, "health": 60.0}  # how soon the topic is looked at again
_GONE = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}  # noqa: SLF001
_NO_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}  # noqa: SLF001


class KafkaLedger:
    """The ledger of `budget`. `clock` gives monotonic seconds, `utc` seconds since the epoch.

    Raises:
        ConfigError: `kafka.properties` or `budget.ledger.properties` hold what the client does not take.
    """

    def __init__(
        self,
        kafka: Kafka,
        budget: Budget,
        clock: Callable[[], float] = time.monotonic,
        utc: Callable[[], float] = time.time,
    ) -> None:
        self._clock, self._utc = clock, utc
        self._topic = LedgerTopic(kafka, budget.ledger)
        self._memory = TeamClock(budget.clock_speed).seconds(REMEMBERED_HOURS * HOUR) + MARGIN_SECONDS
        self._contact = Contact(self._topic.kafka.brokers, self._topic.section)
        self._clients = LedgerClients(self._topic, self._hear, self._contact)
        self._appends = Appends()
        self._known: Found | None = None
        self._early: Entry | None = None  # the last entry that was to go out before the topic was known
        self._problem = ""  # what is wrong with the topic, until a look at it finds nothing
        self._question: Future[Found | ConnectorError] | None = None
        self._asked_at, self._asked_position = -math.inf, 0
        self._hurry = self._lost = False  # look at the topic soon; what was to be read is not there
        self._position = self._end = 0  # the next offset to read; the first one that was not there when we looked
        self._stamped = False  # a record with the broker's time was seen
        self._distrust: dict[str, float] = {}  # reason → until when (seconds since the epoch)
        self._told: str | None = None
        self._trusted = False  # ever
        self.generation = 1

    # --- what is known ----------------------------------------------------------------------------------------

    @property
    def trouble(self) -> str | None:
        """Why what is known of it cannot be trusted now; None when it is read to its end."""
        if self._problem:
            return self._problem
        if self._contact.failure:
            return str(self._contact.failure)
        if self._contact.away:
            return f"the brokers of the ledger are away: {self._topic.kafka.brokers}"
        if self._known is None or self._position < self._end:
            return f"reading the ledger {self._topic.name}"
        return self._doubt() or self._appends.trouble(self._clock(), self._position)

    def _doubt(self) -> str | None:
        """Return why the records themselves cannot be trusted."""
        now = self._utc()
        if doubts := [reason for reason, until in self._distrust.items() if now < until]:
            return doubts[0]
        if self._known and not (self._known.seen or self._stamped):
            return f"waiting for a record of {self._topic.name} to see its time: or grant DESCRIBE_CONFIGS on the topic"
        return None

    @property
    def anchor(self) -> Anchor | None:
        """The last entry of ours that was read back."""
        return self._appends.anchor

    # --- writing ----------------------------------------------------------------------------------------------

    def append(self, entry: Entry) -> None:
        """Send an entry; it is in the ledger once it is read back, and in trouble perhaps never.

        At the start the last one waits for the topic to be found: the next sign of life would come much later.
        """
        if self._known is None:
            self._early = entry
            return
        number = self._appends.sent(Moment(self._clock(), self._utc()))
        if self._problem:
            self._appends.refused(number, "the topic is not ready")
            return

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                self._contact.reached()
                self._appends.acknowledged(number, _offset(message), self._clock())
            else:
                self._appends.refused(number, error.str())

        try:
            self._clients.producer.produce(
                self._topic.name, entry.to_bytes(), entry.replica, partition=0, on_delivery=delivered
            )
        except (KafkaException, BufferError) as e:
            self._appends.refused(number, str(e))
        self._clients.producer.poll(0)

    # --- reading ----------------------------------------------------------------------------------------------

    def read(self) -> Sequence[Stamped]:
        """Return the entries that have come since the last call, in their order; all are of `generation`."""
        self._clients.producer.poll(0)
        self._look_after_topic()
        found = [stamped for message in self._consume() if (stamped := self._take(message))]
        self._tell()
        return found

    def _consume(self) -> Sequence[Message]:
        was_away = self._contact.away
        try:
            found = self._clients.consumer.consume(MOST_AT_ONCE, 0)
        except KafkaException as e:
            self._hear(e.args[0])
            found = []
        if any(m.error() is None for m in found):
            self._contact.reached()
        self._hurry |= bool(was_away and not self._contact.away)
        return found

    def _take(self, message: Message) -> Stamped | None:
        """Return the entry in `message`, None where there is none, or none that counts."""
        offset = _offset(message)
        if error := message.error():
            self._take_event(error, offset)
            return None
        if self._lost or offset < self._position:
            self._lose(f"offset {offset} came back")
            return None
        self._position = offset + 1
        return self._read(message, offset)

    def _read(self, message: Message, offset: int) -> Stamped | None:
        kind, milliseconds = message.timestamp()
        at = milliseconds / 1000
        if kind != TIMESTAMP_LOG_APPEND_TIME:
            reason = f"topic {self._topic.name} holds times of writers: set its message.timestamp.type to LogAppendTime"
            self._distrust[reason] = self._utc() + HOUR  # its own time says nothing
            return None
        self._stamped = True
        self._appends.read(offset, at, self._utc())
        try:
            return Stamped(offset, at, Entry.parse(message.value()))
        except UnreadableEntry as e:
            if e.foreign_version:
                self._distrust[f"written by another version of the connector: {e}"] = at + HOUR
            else:
                log.warning("skipped record of the ledger", topic=self._topic.name, offset=offset, reason=str(e))
            return None

    def _take_event(self, error: KafkaError, offset: int) -> None:
        code = error.code()
        if code == KafkaError._PARTITION_EOF:  # noqa: SLF001
            self._contact.reached()
            self._position = max(self._position, offset)
        elif code in _GONE:
            self._lose(error.str())
        else:
            self._hear(error)

    def _lose(self, reason: str) -> None:
        self._lost = True
        self._doubt_topic(f"topic {self._topic.name} was made anew, or lost records: {reason}")

    def _doubt_topic(self, reason: str) -> None:
        self._problem = self._problem or reason
        self._hurry = True

    def _hear(self, error: KafkaError) -> None:
        code = error.code()
        if code in _NO_TOPIC:
            self._doubt_topic(f"topic {self._topic.name} is gone: {error.str()}")
        elif code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            self._doubt_topic(f"topic {self._topic.name}: {error.str()}: grant READ and WRITE on the topic")
        elif code != KafkaError.GROUP_AUTHORIZATION_FAILED:  # we are in no group
            self._contact.on_error(error)

    # --- the topic --------------------------------------------------------------------------------------------

    def _look_after_topic(self) -> None:
        now = self._clock()
        if self._question is None:
            pace = "hurry" if self._hurry else "trouble" if self.trouble else "health"
            if now - self._asked_at >= ASK_AGAIN_SECONDS[pace] and not self._contact.away:
                self._hurry, self._asked_position = False, self._position
                since = self._utc() - self._memory
                self._question = in_thread(lambda: self._topic.find(since), "ledger-topic")
        elif self._question.done():
            answer, self._question, self._asked_at = self._question.result(), None, now
            self._judge(answer)

    def _judge(self, answer: Found | ConnectorError) -> None:
        if isinstance(answer, Silence):
            self._hurry = True
            if self._known is None:
                self._problem = str(answer)
        elif isinstance(answer, ConnectorError):
            self._problem = str(answer)
        else:
            self._settle(answer)

    def _settle(self, found: Found) -> None:
        """Read the topic that was found: go on where we are, or begin anew where it is another, or lost records."""
        known, stuck = self._known, self.trouble not in (None, self._doubt())
        anew = known is not None and (self._lost or found.id != known.id or found.end < self._asked_position)
        self._known, self._problem, self._lost = found, "", False
        if anew:
            self.generation += 1
            self._appends.forget()
            self._distrust.clear()
        if anew or known is None:
            self._position, self._stamped = found.start, False
            log.info("read ledger", topic=self._topic.name, start=found.start, end=found.end, again=anew)
        if anew or stuck:
            self._read_on(found, renewed=known is not None)
        if self._early:
            early, self._early = self._early, None
            self.append(early)

    def _read_on(self, found: Found, *, renewed: bool) -> None:
        """Read from our position; by other clients where these know the topic as it was, or met a fatal error."""
        if renewed:
            self._contact.failure = None
            self._appends.abandon("the client was renewed")
            self._clients.replace()
            self._clients = LedgerClients(self._topic, self._hear, self._contact)
        self._end = max(self._position, found.end)
        self._clients.consumer.assign([ClientPartition(self._topic.name, 0, self._position)])

    # --- saying so --------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """Write down each trouble once, and its end."""
        trouble = self.trouble
        if trouble == self._told:
            return
        self._hurry |= self._trusted and self._told is None  # perhaps a look at the topic tells why
        self._told = trouble
        if trouble is None:
            self._trusted = True
            log.info("trust ledger", topic=self._topic.name, offset=self._position, generation=self.generation)
        else:
            tell = log.warning if self._trusted or self._problem else log.info  # at the start it is no surprise
            tell("lost trust in ledger", topic=self._topic.name, reason=trouble)

    def close(self) -> None:
        """Let go of it, within FLUSH_SECONDS and CLOSE_SECONDS of the clients."""
        self._clients.close()


def _offset(message: Message) -> int:
    offset = message.offset()
    return -1 if offset is None else offset
