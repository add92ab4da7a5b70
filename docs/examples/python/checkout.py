"""A checkout behind a platform's gateway, in Python: places an order, retries until it knows what became of
it, and takes in what the payment gateway calls back with. docs/quickstart-platform.md walks through it.

usage: python3 checkout.py [HOST:PORT]     (the sale of docs/examples/shop.json must be there)
"""

import os
import sys

import grpc
from tidegate.v1 import tidegate_pb2 as tg
from tidegate_client import connect, until_answered, verdict_name

PATIENCE_S = 5   # of a buyer who looks at a spinner
CALLBACK_S = 30  # of a payment gateway, which calls again anyway

# What to tell a buyer who does not get it.
SAY = {
    tg.VERDICT_SOLD_OUT: "sold out",
    tg.VERDICT_INSUFFICIENT_STOCK: "sold out",
    tg.VERDICT_LIMIT_REACHED: "you have as many as one buyer may have",
    tg.VERDICT_PRICE_CHANGED: "the price has changed: look again",
    tg.VERDICT_NOT_STARTED: "the sale is not open",
    tg.VERDICT_ENDED: "the sale is not open",
    tg.VERDICT_PAUSED: "the sale is not open",
    tg.VERDICT_BUSY: "too many buyers at once: try again",
    tg.VERDICT_STORAGE_FULL: "too many buyers at once: try again",
}


def place(stub, request_id, user_id, price_minor):
    """Places the order, or finds out what became of it: its id, or None. Raises when nobody knows yet: never
    tell the buyer that it failed then, but ask again later, under the same request id."""
    answer = until_answered(stub.PlaceOrder, tg.PlaceOrderRequest(
        request_id=request_id,
        sale_id=3,
        sku="CUP-WHITE",
        user_id=user_id,
        quantity=1,
        unit_price_minor=price_minor,  # what the buyer saw
    ), PATIENCE_S)
    if answer.verdict != tg.VERDICT_ACCEPTED:
        # What is not in the table is a mistake of the platform: its log needs answer.field and .message.
        print(f"{verdict_name(answer.verdict)}: {SAY.get(answer.verdict, 'this cannot be ordered')}")
        return None
    print(f"ACCEPTED: order {answer.order_id}{', the answer to the first try' if answer.replayed else ''}")
    return answer.order_id


def on_payment(stub, order_id, payment_id, amount_minor):
    """The payment gateway says that the buyer has paid. It may say so twice, late, or at the same moment as
    another of its hosts: the payment id tells payments apart. True: tell it that it was heard."""
    answer = until_answered(stub.ChangeOrder, tg.ChangeOrderRequest(
        request_id=os.urandom(16),
        order_id=order_id,
        record_payment=tg.Payment(payment_id=payment_id, amount_minor=amount_minor, currency="CNY"),
    ), CALLBACK_S)
    if answer.verdict == tg.VERDICT_OK:
        state = tg.OrderState.Name(answer.order.state).removeprefix("ORDER_STATE_")
        print(f"payment {payment_id.decode()}: order {order_id} is {state}")
    elif answer.verdict == tg.VERDICT_REFUND_DUE:
        # A second payment, or one that came too late: the back office pays it back.
        print(f"payment {payment_id.decode()}: REFUND_DUE, refund {answer.refund_number}")
    elif answer.verdict in (tg.VERDICT_AMOUNT_MISMATCH, tg.VERDICT_CURRENCY_MISMATCH):
        print(f"payment {payment_id.decode()}: {verdict_name(answer.verdict)}, have it reversed")
    else:  # BUSY, STORAGE_FULL: not recorded
        print(f"payment {payment_id.decode()}: {verdict_name(answer.verdict)}")
        return False
    return True


def main():
    stub = connect(*sys.argv[1:2])

    # The buyer saw an old price.
    place(stub, os.urandom(16), 41, 2800)

    # What the platform keeps of a checkout, in its own database, before anything is sent. The answer gets
    # lost on its way to the buyer: the platform asks again.
    request_id = os.urandom(16)
    order_id = place(stub, request_id, 42, 2900)
    order_id = place(stub, request_id, 42, 2900)

    # The gateway reports the payment twice; then the buyer pays once more, from another device.
    on_payment(stub, order_id, b"wx-1", 2900)
    on_payment(stub, order_id, b"wx-1", 2900)
    on_payment(stub, order_id, b"wx-2", 2900)


if __name__ == "__main__":
    try:
        main()
    except grpc.RpcError as error:
        sys.exit(f"not known yet: {error.details()}")
