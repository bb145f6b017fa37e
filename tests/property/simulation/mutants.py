"""Owns the list of the mutants: the connector with one rule of the protocol left out, by name.

Never changes a module. Invariant: the simulation must fail for every one of them.
"""

from __future__ import annotations

from tests.property.simulation import mutants_of_orders as order
from tests.property.simulation import mutants_of_ownership as own
from tests.property.simulation import mutants_of_pushing as push
from tests.property.simulation.rebuilt import with_orders, with_pushes, with_recovery
from tests.property.simulation.replica import Parts

MUTANTS: dict[str, Parts] = {
    "decides for what is lost": with_pushes(push.DecidesForWhatIsLost),
    "decides before rejects": with_pushes(push.DecidesBeforeRejects),
    "executes without intents": with_pushes(push.ExecutesWithoutIntents),
    "forgets what may have arrived": with_pushes(push.ForgetsWhatMayHaveArrived),
    "intents one by one": Parts(source=push.OneByOne),
    "revokes with intents": Parts(pipeline=push.RevokesWithIntents),
    "regains what was lost": Parts(pipeline=push.RegainsWhatWasLost),
    "pushes again unasked": Parts(pusher=push.PushesAgainUnasked),
    "starts over": with_pushes(push.StartsOver),
    "uploads unverified": Parts(pusher=push.UploadsUnverified),
    "erases notes": with_pushes(push.ErasesNotes),
    "holds buffers only": Parts(pipeline=push.HoldsBuffersOnly),
    "finishes what is lost": Parts(pipeline=push.FinishesWhatIsLost, source=push.CommitsForOthers),
    "deletes before the commit": with_pushes(push.DeletesBeforeTheCommit),
    "deletes what others ask for": with_pushes(push.DeletesWhatOthersAskFor),
    "deletes what was not committed": with_pushes(push.DeletesWhatWasNotCommitted),
    "ignores intents": with_recovery(own.IgnoresIntents),
    "goes back before new": with_recovery(own.GoesBackBeforeNew),
    "goes back before running": with_recovery(own.GoesBackBeforeRunning),
    "goes on after unknown": with_recovery(own.GoesOnAfterUnknown),
    "flows under intents": Parts(pipeline=own.FlowsUnderIntents),
    "starts while unread": Parts(source=own.StartsWhileUnread),
    "keeps buffers": Parts(pipeline=own.KeepsBuffers),
    "trusts silence": Parts(source=own.SourceThatTrustsSilence),
    "executes without a grant": with_pushes(push.ExecutesWithoutGrant),
    "acts while pushing": with_orders(order.ActsWhilePushing),
    "acts under intents": with_orders(order.ActsUnderIntents),
    "keeps records": with_orders(order.KeepsRecords),
    "flows unread": with_orders(order.FlowsUnread),
    "flows under orders": with_orders(order.FlowsUnderOrders),
}
