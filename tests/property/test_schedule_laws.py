"""The schedule: whoever is chosen has rows and the best claim, and deadlines that can be kept are kept."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from connector.core.flush import Trigger
from connector.core.schedule import Candidate, Verdict, choose, feasibility

NOW, SLOT, SERVICE = 1024.0, 16.0, 8.0  # binary fractions: the laws are about slots, not about rounding

CANDIDATES = st.lists(
    st.builds(
        lambda name, rows, waits, *rest: Candidate(name, rows, rows * (NOW - waits), NOW - waits, *rest),
        st.sampled_from("abcdefgh"),
        st.integers(0, 5),
        st.integers(0, 200).map(float),
        st.integers(0, 9),
        st.sampled_from([None, Trigger.RECORDS, Trigger.BYTES, Trigger.AGE]),
        st.sampled_from([0.5, 1.0, 4.0]),
        st.none() | st.integers(0, 400).map(float),
        st.booleans(),
    ),
    max_size=8,
    unique_by=lambda c: c.table,
)


@given(candidates=CANDIDATES, random=st.randoms(), pressed=st.booleans(), replay_allowed=st.booleans())
def test_the_chosen_has_rows_and_the_best_claim_in_any_order(
    candidates: list[Candidate], random: object, *, pressed: bool, replay_allowed: bool
) -> None:
    choice = choose(candidates, NOW, slot=SLOT, service=SERVICE, pressed=pressed, replay_allowed=replay_allowed)
    random.shuffle(candidates)  # type: ignore[attr-defined]
    again = choose(candidates, NOW, slot=SLOT, service=SERVICE, pressed=pressed, replay_allowed=replay_allowed)
    assert again == choice
    filled = [c for c in candidates if c.rows]
    live = [c for c in filled if c.trigger and not c.replay]
    if choice is None:
        assert not live
        assert not (pressed and filled)
        assert not (replay_allowed and any(c.trigger for c in filled))
        return
    chosen, reason = choice
    assert chosen in filled
    if pressed:
        assert reason is Trigger.SPOOL
        assert chosen.size == max(c.size for c in filled)
    elif reason is Trigger.STALENESS:
        assert chosen.max_staleness is not None
        assert not chosen.replay
    else:
        assert reason is chosen.trigger
        assert chosen.bid(NOW) == max(c.bid(NOW) for c in (live or filled) if c.trigger)
        assert not chosen.replay or (replay_allowed and not live)


@st.composite
def feasible_allowances(draw: st.DrawFn) -> list[int]:
    """Return allowances in sixteenths of a slot whose density is at most one half."""
    drawn = draw(st.lists(st.integers(16, 100 * 16), max_size=30))
    kept: list[int] = []
    for allowance in drawn:
        if sum(1 / (a // 16) for a in [*kept, allowance]) <= 1 / 2:
            kept.append(allowance)
    return kept


@given(feasible_allowances(), st.integers(0, 48), st.randoms())
@example([4 * 16] + [100 * 16] * 25, 0, None)  # plain earliest deadline first is 22 slots late here
def test_deadlines_of_up_to_half_the_pushes_are_kept_whatever_competes(
    allowances: list[int], pause: int, random: object
) -> None:
    def rest() -> float:
        """Return the seconds until the next row of a table comes."""
        return random.randint(0, pause) / 16 * SLOT if random else 0.0  # type: ignore[attr-defined]

    staleness = {f"t{i:02}": a / 16 * SLOT + SERVICE for i, a in enumerate(allowances)}
    assert feasibility(staleness, slot=SLOT, service=SERVICE).verdict is Verdict.KEPT
    opened, others = {table: rest() for table in staleness}, 0
    for now in (i * SLOT for i in range(300)):
        promised = [
            Candidate(table, int(opened[table] <= now), opened[table], opened[table], 1, None, 1.0, most)
            for table, most in staleness.items()
        ]
        rival = Candidate("rival", 10**9, 0.0, 0.0, 1, Trigger.RECORDS)
        choice = choose([*promised, rival], now, slot=SLOT, service=SERVICE, pressed=False, replay_allowed=False)
        assert choice is not None
        assert all(now + SERVICE <= c.opened_at + most for c in promised if (most := c.max_staleness) and c.rows)
        if choice.reason is Trigger.STALENESS:
            opened[choice.candidate.table] = now + rest()
        else:
            others += 1
    assert others >= 300 * 0.4  # what deadlines do not need is left for others
