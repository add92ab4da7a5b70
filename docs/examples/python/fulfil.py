"""A back office in Python: follows the events of the outbox, hands confirmed orders to the warehouse, pays
back what is due, and acks what it has done. docs/quickstart-backend.md walks through it.

usage: python3 fulfil.py [HOST:PORT [SECONDS]]   (ends when nothing came for SECONDS; else never)
"""

import sys

import grpc
from tidegate.v1 import tidegate_pb2 as tg
from tidegate_client import connect, until_answered, verdict_name

GROUP = "warehouse"
WAIT_MS = 1000   # a long poll
PATIENCE_S = 60  # of a back office: a restart of the server fits in


def change(stub, event, done, **what):
    """Changes an order. The request id is made of the event, so whoever handles the event again, after a
    crash, asks for the same change, and gets the first answer."""
    request_id = b"fulfil\0\0" + event.sequence.to_bytes(8, "little")
    answer = until_answered(stub.ChangeOrder, tg.ChangeOrderRequest(
        request_id=request_id, order_id=event.order_id, **what), PATIENCE_S)
    # These two say that it was not done; any other, that the order has gone on without us.
    if answer.verdict in (tg.VERDICT_BUSY, tg.VERDICT_STORAGE_FULL):
        raise RuntimeError(f"order {event.order_id}: {verdict_name(answer.verdict)}")
    print(f"order {event.order_id}: {done if answer.verdict == tg.VERDICT_OK else verdict_name(answer.verdict)}")


def hand_over(stub, event):
    """The warehouse takes the parcel; from now on the order can be sent back, not cancelled."""
    for line in event.order.lines or [event.order]:
        print(f"order {event.order_id}: {line.quantity} of {line.sku}")
    change(stub, event, "shipped", advance=tg.AdvanceOrder(to=tg.ORDER_STATE_SHIPPED))


def pay_back(stub, event):
    """The payment gateway pays back, under an id that we choose, so that it pays once; then we say so."""
    reference = f"{event.order_id}-{event.refund_number}"
    print(f"order {event.order_id}: refund {event.refund_number} of {event.amount_minor / 100:.2f}")
    change(stub, event, "paid back", record_refund=tg.RecordRefund(
        number=event.refund_number, reference=reference.encode()))


def work(stub, page):
    """One page: handle, then ack. What is not acked when we die comes again."""
    for event in page.events:
        (pay_back if event.type == tg.EVENT_TYPE_REFUND_DUE else hand_over)(stub, event)
    until_answered(stub.AckEvents, tg.AckEventsRequest(group=GROUP, sequence=page.next_sequence), PATIENCE_S)


def main():
    stub = connect(*sys.argv[1:2])
    seconds_left = int(sys.argv[2]) if len(sys.argv) > 2 else None
    # A name in the outbox, kept by the server. Made once: the second time it is there (GROUP_EXISTS).
    until_answered(stub.CreateGroup, tg.CreateGroupRequest(group=GROUP), PATIENCE_S)
    while seconds_left != 0:
        page = until_answered(stub.ConsumeEvents, tg.ConsumeEventsRequest(
            group=GROUP, wait_ms=WAIT_MS, types=[tg.EVENT_TYPE_ORDER_CONFIRMED, tg.EVENT_TYPE_REFUND_DUE],
        ), PATIENCE_S)
        if page.verdict != tg.VERDICT_OK:
            raise RuntimeError(f"no events: {verdict_name(page.verdict)}")
        work(stub, page)
        if seconds_left and not page.events:
            seconds_left -= 1


if __name__ == "__main__":
    try:
        main()
    except grpc.RpcError as error:
        sys.exit(f"fulfil: {error.details()}")
