"""The ledger: what the entries bring in, and who is granted."""

from __future__ import annotations

import pytest

from connector.core.entries import Kind
from connector.core.hours import TeamClock
from connector.core.ledger import LEASE, Key, Ledger, Spender
from tests.unit.core.book import NOON, SLOT, Book, after


@pytest.fixture
def book() -> Book:
    """A ledger whose only writer was there at noon."""
    made = Book()
    made.write(0.0)
    return made


# --- income -------------------------------------------------------------------------------------------------------


def test_before_any_entry_nothing_is_known() -> None:
    ledger = Ledger(TeamClock())
    assert (ledger.rate, ledger.limit, ledger.left(NOON), ledger.best()) == (0.0, 250, 0, None)
    assert ledger.opens_at() <= NOON
    assert list(ledger.replicas) == []


def test_a_writer_earns_from_its_first_entry_on(book: Book) -> None:
    assert book.ledger.earned == 0
    assert after(book.ledger.opens_at()) == SLOT
    assert book.live(60).earned == 4


def test_a_silent_writer_earns_for_as_long_as_its_lease(book: Book) -> None:
    assert book.write(600).earned == LEASE / SLOT
    assert book.write(LEASE).earned == 2 * LEASE / SLOT


def test_parts_add_up_and_a_part_counts_from_when_it_is_written() -> None:
    book = Book()
    book.write(0.0, replica="a", share=0.5)
    book.write(0.0, replica="b", share=0.25)
    assert book.write(15.0, replica="a", share=0.0).earned == 0.75
    assert book.write(15.0, replica="b", share=0.25).earned == 1.0


def test_a_group_never_earns_more_than_its_rate_though_parts_overlap() -> None:
    book = Book()
    book.write(0.0, replica="dead")
    book.write(0.0, replica="heir")
    assert book.live(60, "heir").earned == 4
    assert book.ledger.rate == 240


def test_groups_earn_together_up_to_the_teams_limit() -> None:
    book = Book()
    for group in ("g", "h"):
        book.write(0.0, replica=group, group=group, rate=100)
    assert book.ledger.rate == pytest.approx(200)
    book.write(0.0, replica="i", group="i", rate=100)
    assert book.ledger.rate == pytest.approx(250)


def test_where_writers_of_a_group_differ_the_lowest_rate_of_the_living_counts() -> None:
    book = Book()
    book.write(0.0, replica="old", rate=60, share=0.5)
    book.write(0.0, replica="new", rate=240, share=0.5)
    assert book.ledger.rate == pytest.approx(60)
    book.live(90, "new", rate=240)
    assert book.ledger.rate == pytest.approx(240)


def test_a_broker_clock_that_goes_back_earns_nothing(book: Book) -> None:
    book.write(15.0)
    assert book.write(-10.0).earned == 1
    assert book.write(15.0).earned == pytest.approx(1 + 5 / SLOT)


def test_at_speed_sixty_an_hour_is_earned_in_a_minute() -> None:
    book = Book(speed=60.0)
    book.write(0.0)
    assert book.live(1800).earned == pytest.approx(120)


# --- grants -------------------------------------------------------------------------------------------------------


def test_a_claim_is_granted_by_the_first_entry_after_its_push_is_earned(book: Book) -> None:
    book.claim(1.0, "x")
    assert book.granted == []
    ledger = book.write(SLOT - 1)
    assert (book.granted, ledger.spent, ledger.claims) == (["x"], 1, {})
    grant = ledger.grants[Key("a", "x")]
    assert (grant.at, grant.claim.table) == (NOON + SLOT, "orders")
    assert ledger.spenders == {Spender("g", "a", "orders"): 1}


def test_two_grants_are_a_little_apart(book: Book) -> None:
    book.live(60)
    book.claim(0.0, "x")
    book.claim(0.0, "y")
    assert book.granted == ["x"]
    assert after(book.ledger.opens_at()) == 60.2
    book.write(0.2)
    assert book.granted == ["x", "y"]


def test_the_highest_bid_goes_first_and_a_later_claim_is_a_new_bid(book: Book) -> None:
    book.claim(0.0, "x", bid=1.0)
    book.claim(0.0, "y", "b", bid=2.0)
    assert book.ledger.best() == book.ledger.claims[Key("b", "y")]
    book.claim(0.0, "x", bid=3.0)
    book.write(SLOT)
    assert book.granted == ["x"]


def test_a_claim_of_what_is_granted_changes_nothing(book: Book) -> None:
    book.live(60)
    book.claim(0.0, "x")
    assert book.claim(1.0, "x").claims == {}
    assert book.ledger.spent == 1


def test_two_replicas_that_claim_the_same_job_have_a_claim_each(book: Book) -> None:
    book.claim(0.0, "job", "a")
    book.claim(0.0, "job", "b", bid=1.0)
    book.live(15, "a", "b")
    assert list(book.ledger.grants) == [Key("b", "job")]
    book.end(0.0, "job", "a", spent=False)
    assert list(book.ledger.grants) == [Key("b", "job")]


def test_a_dead_writer_is_granted_nothing_until_it_is_back(book: Book) -> None:
    book.write(0.0, Kind.CLOSED, until=NOON + 70)
    book.claim(0.0, "x", "b")
    book.live(105)
    assert book.granted == []
    book.write(0.0, replica="b")
    assert book.granted == ["x"]


def test_what_was_not_spent_is_free_in_its_hour(book: Book) -> None:
    book.claim(0.0, "x")
    book.write(SLOT)
    ledger = book.end(1.0, "x", spent=False)
    assert (ledger.spent, ledger.grants, ledger.spenders[Spender("g", "a", "orders")]) == (0, {}, 0)
    book.claim(1.0, "y")
    assert book.granted == ["y"]


def test_what_was_spent_is_gone(book: Book) -> None:
    book.claim(0.0, "x")
    book.write(SLOT)
    assert book.end(1.0, "x").spent == 1
    book.claim(1.0, "y")
    assert book.granted == []


def test_a_claim_that_is_over_is_granted_nothing(book: Book) -> None:
    book.claim(0.0, "x")
    book.end(0.0, "x", spent=False)
    book.write(SLOT)
    assert (book.granted, book.ledger.spent) == ([], 0)


# --- pools --------------------------------------------------------------------------------------------------------


def test_a_pool_executes_no_more_than_its_writers_let_it(book: Book) -> None:
    book.live(150)
    for claim_id in ("x", "y", "z"):
        book.claim(1.0, claim_id, in_flight=2)
    book.write(1.0)
    assert book.granted == ["x", "y"]
    book.end(1.0, "x")
    assert book.granted == ["y", "z"]


def test_what_a_living_writer_holds_is_in_flight_and_what_a_dead_one_held_is_not(book: Book) -> None:
    book.write(0.0, replica="b", holding=("job",))
    book.claim(0.0, "x", in_flight=1)
    book.live(LEASE)
    assert (book.ledger.in_flight("pool"), book.granted) == ({"job"}, [])
    book.live(15)
    assert (book.ledger.in_flight("pool"), book.granted) == ({"x"}, ["x"])


def test_what_was_granted_to_a_dead_writer_is_spent_but_not_in_flight(book: Book) -> None:
    book.live(60)
    book.claim(0.0, "x", "b")
    book.live(75)
    assert (book.granted, book.ledger.in_flight("pool"), book.ledger.spent) == (["x"], set(), 1)


def test_pools_do_not_wait_for_each_other(book: Book) -> None:
    book.live(60)
    book.claim(1.0, "x", in_flight=1)
    book.claim(1.0, "y", in_flight=1)
    book.claim(1.0, "z", "b", in_flight=1, pool="other")
    assert book.granted == ["x", "z"]
    assert book.ledger.in_flight("none") == set()


# --- replays ------------------------------------------------------------------------------------------------------


def test_a_live_claim_goes_before_every_replay(book: Book) -> None:
    book.live(120)
    book.claim(0.0, "taken", bid=1.0)
    book.claim(0.0, "replay", bid=99.0, replay=True)
    book.claim(0.0, "live", bid=0.0)
    book.write(1.0)
    assert book.granted == ["taken", "live"]
    book.write(1.0)
    assert book.granted == ["taken", "live", "replay"]


def test_replays_take_no_more_than_their_share_of_what_is_earned(book: Book) -> None:
    book.live(4 * SLOT)
    book.claim(0.0, "x", replay=True)
    book.claim(1.0, "y", replay=True)
    assert (book.granted, book.ledger.replays) == (["x"], 1)
    book.live(3 * SLOT)
    assert book.granted == ["x"]
    book.live(SLOT)
    assert book.granted == ["x", "y"]


def test_a_replay_that_was_not_spent_leaves_its_share_to_another(book: Book) -> None:
    book.live(4 * SLOT)
    book.claim(0.0, "x", replay=True)
    book.claim(1.0, "y", replay=True)
    assert book.end(1.0, "x", spent=False).replays == 1
    assert book.granted == ["y"]
