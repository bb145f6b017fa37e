"""Orders: what is written is read back, what is not understood is refused, and where a partition is to stand."""

from __future__ import annotations

import pytest

from connector.core.orders import Order, OrderKind, OrderState, UnreadableOrder, group_of_orders

REWIND, HOLD, RESUME = OrderKind.REWIND, OrderKind.HOLD, OrderKind.RESUME
ASKED, HELD, DONE = OrderState.ASKED, OrderState.HELD, OrderState.DONE


def test_orders_stand_in_a_group_beside_that_of_the_service() -> None:
    assert group_of_orders("sales") == "sales.orders"


@pytest.mark.parametrize(
    "order", [Order(REWIND, ASKED, "r1", 3), Order(HOLD, HELD, "r1", 0), Order(RESUME, DONE, "x", 9)]
)
def test_what_is_written_is_read_back(order: Order) -> None:
    assert Order.parse(order.offset, order.text()) == order


def test_the_text_is_the_one_that_other_versions_know() -> None:
    assert Order(HOLD, ASKED, "r1", 3).text() == '{"v":1,"order":"hold","state":"asked","id":"r1"}'


def test_an_empty_text_is_no_order() -> None:
    assert Order.parse(-1001, "") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("by hand", "not written by this product"),
        ("[1]", "not written by this product"),
        ('{"order":"hold"}', "not written by this product"),
        ('{"v":2,"order":"hold","state":"asked","id":"r1"}', "another version"),
        ('{"v":1,"order":"hold","state":"asked"}', "damaged"),
        ('{"v":1,"order":"hold","state":"asked","id":1}', "damaged"),
        ('{"v":1,"order":"hold","state":"asked","id":""}', "damaged"),
        ('{"v":1,"order":"stop","state":"asked","id":"r1"}', "damaged"),
        ('{"v":1,"order":"hold","state":"begun","id":"r1"}', "damaged"),
        ('{"v":1,"order":"rewind","state":"held","id":"r1"}', "damaged"),
    ],
)
def test_what_is_not_understood_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(UnreadableOrder, match=reason):
        Order.parse(3, text)


def test_an_order_without_an_offset_is_damaged() -> None:
    with pytest.raises(UnreadableOrder, match="damaged"):
        Order.parse(-1001, Order(HOLD, ASKED, "r1", 3).text())


def test_an_order_is_open_until_it_is_done() -> None:
    assert [Order(HOLD, state, "r1", 3).open for state in (ASKED, HELD, DONE)] == [True, True, False]


@pytest.mark.parametrize(
    ("kind", "offset", "committed", "start"),
    [
        (REWIND, 3, 10, 3),
        (REWIND, 20, 10, 10),  # what lies between was not read yet
        (HOLD, 0, 10, 10),
        (RESUME, 3, 10, 3),
        (RESUME, 20, 10, 20),
    ],
)
def test_where_a_partition_is_to_stand(kind: OrderKind, offset: int, committed: int, start: int) -> None:
    assert Order(kind, ASKED, "r1", offset).start(committed) == start


def test_what_is_answered_once_it_is_followed() -> None:
    assert Order(REWIND, ASKED, "r1", 3).followed(3) == Order(REWIND, DONE, "r1", 3)
    assert Order(RESUME, ASKED, "r1", 3).followed(3) == Order(RESUME, DONE, "r1", 3)
    assert Order(HOLD, ASKED, "r1", 3).followed(10) == Order(HOLD, HELD, "r1", 10)
    assert Order(HOLD, ASKED, "r1", 3).followed(-1) == Order(HOLD, HELD, "r1", 3), "nothing is committed yet"


@pytest.mark.parametrize(
    ("standing", "fits"),
    [
        (None, False),
        (Order(HOLD, ASKED, "r1", 3), True),
        (Order(HOLD, HELD, "r1", 5), True),
        (Order(RESUME, ASKED, "r1", 3), False),
        (Order(HOLD, ASKED, "r2", 3), False),
        (Order(HOLD, DONE, "r1", 3), False),
    ],
)
def test_an_answer_takes_the_place_of_the_open_order_that_it_answers_only(
    standing: Order | None, *, fits: bool
) -> None:
    assert Order(HOLD, HELD, "r1", 5).answers(standing) is fits
