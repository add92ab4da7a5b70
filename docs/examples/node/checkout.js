// A checkout behind a platform's gateway, in Node: places an order, retries until it knows what became of
// it, and takes in what the payment gateway calls back with. docs/quickstart-platform.md walks through it.
//
// usage: node checkout.js [HOST:PORT]     (the sale of docs/examples/shop.json must be there)
'use strict';

const { randomBytes } = require('node:crypto');
const { connect, untilAnswered } = require('./tidegate.js');

const PATIENCE_MS = 5000; // of a buyer who looks at a spinner
const CALLBACK_MS = 30000; // of a payment gateway, which calls again anyway

// What to tell a buyer who does not get it.
const SAY = {
  SOLD_OUT: 'sold out',
  INSUFFICIENT_STOCK: 'sold out',
  LIMIT_REACHED: 'you have as many as one buyer may have',
  PRICE_CHANGED: 'the price has changed: look again',
  NOT_STARTED: 'the sale is not open',
  ENDED: 'the sale is not open',
  PAUSED: 'the sale is not open',
  BUSY: 'too many buyers at once: try again',
  STORAGE_FULL: 'too many buyers at once: try again',
};

// Places the order, or finds out what became of it. Throws when nobody knows yet: never tell the buyer
// that it failed then, but ask again later, under the same request id.
async function place(client, checkout, priceMinor) {
  const answer = await untilAnswered(client, 'placeOrder', {
    requestId: checkout.requestId,
    saleId: 3,
    sku: 'CUP-WHITE',
    userId: checkout.userId,
    quantity: 1,
    unitPriceMinor: priceMinor, // what the buyer saw
  }, PATIENCE_MS);
  const verdict = answer.verdict.replace('VERDICT_', '');
  if (verdict === 'ACCEPTED') {
    checkout.orderId = answer.orderId;
    console.log(`ACCEPTED: order ${answer.orderId}${answer.replayed ? ', the answer to the first try' : ''}`);
  } else {
    // What is not in the table is a mistake of the platform: its log needs answer.field and .message.
    console.log(`${verdict}: ${SAY[verdict] || 'this cannot be ordered'}`);
  }
}

// The payment gateway says that the buyer has paid. It may say so twice, late, or at the same moment as
// another of its hosts: the payment id tells payments apart. True: tell it that it was heard.
async function onPayment(client, orderId, paymentId, amountMinor) {
  const answer = await untilAnswered(client, 'changeOrder', {
    requestId: randomBytes(16),
    orderId,
    recordPayment: { paymentId: Buffer.from(paymentId), amountMinor, currency: 'CNY' },
  }, CALLBACK_MS);
  const verdict = answer.verdict.replace('VERDICT_', '');
  switch (verdict) {
    case 'OK':
      console.log(`payment ${paymentId}: order ${orderId} is ${answer.order.state.replace('ORDER_STATE_', '')}`);
      return true;
    case 'REFUND_DUE': // a second payment, or one that came too late: the back office pays it back
      console.log(`payment ${paymentId}: REFUND_DUE, refund ${answer.refundNumber}`);
      return true;
    case 'AMOUNT_MISMATCH':
    case 'CURRENCY_MISMATCH':
      console.log(`payment ${paymentId}: ${verdict}, have it reversed`);
      return true;
    default: // BUSY, STORAGE_FULL: not recorded
      console.log(`payment ${paymentId}: ${verdict}`);
      return false;
  }
}

async function main() {
  const client = connect(process.argv[2]);

  // The buyer saw an old price.
  await place(client, { requestId: randomBytes(16), userId: 41 }, 2800);

  // What the platform keeps of a checkout, in its own database, before anything is sent. The answer gets
  // lost on its way to the buyer: the platform asks again.
  const checkout = { requestId: randomBytes(16), userId: 42 };
  await place(client, checkout, 2900);
  await place(client, checkout, 2900);

  // The gateway reports the payment twice; then the buyer pays once more, from another device.
  await onPayment(client, checkout.orderId, 'wx-1', 2900);
  await onPayment(client, checkout.orderId, 'wx-1', 2900);
  await onPayment(client, checkout.orderId, 'wx-2', 2900);
  client.close();
}

main().catch((error) => {
  console.error(`not known yet: ${error.message}`);
  process.exitCode = 1;
});
