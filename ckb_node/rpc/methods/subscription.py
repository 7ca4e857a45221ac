"""Module Subscription: news pushed to the client. Needs a connection that stays: TCP or WebSocket."""

from __future__ import annotations

from typing import Annotated

from ckb_node.rpc.errors import Code, RpcError, foreign_page
from ckb_node.rpc.params import Codec, Text
from ckb_node.rpc.registry import IS_CROSS_ORIGIN, Methods, Module
from ckb_node.rpc.services import Services
from ckb_node.rpc.subscriptions import SESSION, TooManySubscriptionsError, Topic

METHODS = Methods(Module.SUBSCRIPTION)

TopicParam = Annotated[Topic, Codec("Topic", Topic, lambda topic: topic)]


@METHODS.method(needs_session=True)
def subscribe(services: Services, topic: TopicParam) -> str:
    """Hear of every event of a topic from now on; the id of the subscription.

    `topic` is new_tip_header, new_tip_block, new_transaction, proposed_transaction, rejected_transaction or log. Each
    event is a notification `subscribe` with `params` of `subscription`, the id, and `result`, a text that is JSON: a
    header view, a block view, a pool entry (transaction, cycles, size, fee, timestamp), such an entry with the reason
    in an array of two, or a line of the log (message, level, target, date). A client that reads too slowly loses
    events; `dropped` beside `result` says how many before this one. HTTP has no such method (-32601).
    """
    session = SESSION.get()
    assert session is not None  # noqa: S101 - the registry has looked
    if topic is Topic.LOG and IS_CROSS_ORIGIN.get():
        raise foreign_page("subscribe")
    try:
        return session.subscribe(topic)
    except TooManySubscriptionsError as error:
        raise RpcError(Code.ServerIsBusy, str(error)) from None


@METHODS.method
def unsubscribe(services: Services, subscription: Text) -> bool:
    """End a subscription of this connection by its id; false when it has no such one."""
    session = SESSION.get()
    return session is not None and session.unsubscribe(subscription)
