// A back office in Node: is told the events of the outbox as they come, hands confirmed orders to the
// warehouse, pays back what is due, and acks what it has done. docs/quickstart-backend.md walks through it.
//
// usage: node fulfil.js [HOST:PORT [SECONDS]]   (ends when nothing came for SECONDS; else never)
'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { connect, metadata, untilAnswered, grpc } = require('./tidegate.js');

const GROUP = 'warehouse';
const PATIENCE_MS = 60000; // of a back office: a restart of the server fits in

// Changes an order. The request id is made of the event, so whoever handles the event again, after a
// crash, asks for the same change, and gets the first answer.
async function change(client, event, what, done) {
  const requestId = Buffer.alloc(16);
  requestId.write('fulfil');
  requestId.writeBigUInt64LE(BigInt(event.sequence), 8);
  const answer = await untilAnswered(client, 'changeOrder', { requestId, orderId: event.orderId, ...what }, PATIENCE_MS);
  const verdict = answer.verdict.replace('VERDICT_', '');
  // These two say that it was not done; any other, that the order has gone on without us.
  if (verdict === 'BUSY' || verdict === 'STORAGE_FULL') throw new Error(`order ${event.orderId}: ${verdict}`);
  console.log(`order ${event.orderId}: ${verdict === 'OK' ? done : verdict}`);
}

// The warehouse takes the parcel; from now on the order can be sent back, not cancelled.
async function handOver(client, event) {
  const { order } = event;
  for (const line of order.lines.length ? order.lines : [order]) {
    console.log(`order ${order.orderId}: ${line.quantity} of ${line.sku}`);
  }
  await change(client, event, { advance: { to: 'ORDER_STATE_SHIPPED' } }, 'shipped');
}

// The payment gateway pays back, under an id that we choose, so that it pays once; then we say so.
async function payBack(client, event) {
  const reference = `${event.orderId}-${event.refundNumber}`;
  console.log(`order ${event.orderId}: refund ${event.refundNumber} of ${(event.amountMinor / 100).toFixed(2)}`);
  await change(client, event, { recordRefund: { number: event.refundNumber, reference: Buffer.from(reference) } }, 'paid back');
}

// One page: handle, then ack. What is not acked when we die comes again.
async function work(client, page) {
  for (const event of page.events) {
    await (event.type === 'EVENT_TYPE_REFUND_DUE' ? payBack : handOver)(client, event);
  }
  await untilAnswered(client, 'ackEvents', { group: GROUP, sequence: page.nextSequence }, PATIENCE_MS);
}

// Follows the group until nothing came for `idleMs`. Ends too when the connection does.
async function follow(client, idleMs) {
  const stream = client.subscribeEvents(
    { group: GROUP, types: ['EVENT_TYPE_ORDER_CONFIRMED', 'EVENT_TYPE_REFUND_DUE'] },
    metadata(),
  );
  const idle = idleMs ? setTimeout(() => stream.cancel(), idleMs) : null;
  try {
    for await (const page of stream) {
      if (page.verdict !== 'VERDICT_OK') throw new Error(`the subscription ends: ${page.verdict}`);
      await work(client, page);
      idle?.refresh();
    }
  } finally {
    clearTimeout(idle);
  }
}

async function main() {
  const client = connect(process.argv[2]);
  const idleMs = Number(process.argv[3] || 0) * 1000;
  // A name in the outbox, kept by the server. Made once: the second time it is there (GROUP_EXISTS).
  await untilAnswered(client, 'createGroup', { group: GROUP }, PATIENCE_MS);
  for (;;) {
    try {
      await follow(client, idleMs);
    } catch (error) {
      if (error.code === grpc.status.CANCELLED) break; // by ourselves: nothing came any more
      if (error.code !== grpc.status.UNAVAILABLE) throw error;
    }
    await sleep(1000); // the server was away, or drained: on from the last ack
  }
  client.close();
}

main().catch((error) => {
  console.error(`fulfil: ${error.message}`);
  process.exitCode = 1;
});
