// @connectrpc/connect-node over its gRPC transport; the contract comes from the descriptors that the
// daemon has for its reflection.
//   node connect.mjs HOST:PORT SALE_ID DESCRIPTORS
import { readFileSync } from 'node:fs';
import { createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { assert, check, close, requestId, saleOf } from './checks.mjs';

const [address, saleText, descriptors] = process.argv.slice(2);
const saleId = BigInt(saleText);
const registry = createFileRegistry(
    fromBinary(FileDescriptorSetSchema, readFileSync(descriptors)),
);
const transport = createGrpcTransport({ baseUrl: `http://${address}` });
const tidegate = createClient(registry.getService('tidegate.v1.TidegateService'), transport);
const health = createClient(registry.getService('grpc.health.v1.Health'), transport);
const reflection = createClient(
    registry.getService('grpc.reflection.v1.ServerReflection'),
    transport,
);
const verdicts = registry.getEnum('tidegate.v1.Verdict').value;

const order = (user) => ({
    requestId: requestId(),
    saleId,
    sku: 'A',
    userId: BigInt(user),
    quantity: 1,
    unitPriceMinor: 100n,
});

const failsWith = async (code, promise) => {
    const error = ConnectError.from(
        await promise.then(
            () => assert.fail('the status is OK'),
            (caught) => caught,
        ),
    );
    assert.equal(error.code, code, error.message);
    return error;
};

await check('connect: Health.Check', async () => {
    assert.equal((await health.check({ service: '' })).status, 1);
    await failsWith(Code.NotFound, health.check({ service: 'no.such.Service' }));
});

await check('connect: reflection lists the services', async () => {
    async function* asks() {
        yield { messageRequest: { case: 'listServices', value: '' } };
    }
    for await (const answer of reflection.serverReflectionInfo(asks())) {
        const names = answer.messageResponse.value.service.map((each) => each.name);
        assert.ok(names.includes('tidegate.v1.TidegateService'));
    }
});

await check('connect: a sale sells out', async () => {
    const sale = saleOf(saleId, 2);
    const made = await tidegate.createSale({
        sale: {
            saleId,
            kind: 1,
            name: sale.name,
            currency: sale.currency,
            startsAtMs: BigInt(sale.startsAtMs),
            endsAtMs: BigInt(sale.endsAtMs),
        },
        items: [{ sku: 'A', salePriceMinor: 100n, stockUnits: 2n }],
    });
    assert.equal(verdicts[made.verdict]?.number, made.verdict);
    const heard = [];
    for (let user = 1; user <= 3; user++)
        heard.push((await tidegate.placeOrder(order(user))).verdict);
    assert.deepEqual(heard, [1, 1, 2]);
});

await check('connect: WatchItem is a stream that can be left', async () => {
    const leave = new AbortController();
    const seen = [];
    await failsWith(
        Code.Canceled,
        (async () => {
            for await (const view of tidegate.watchItem(
                { saleId, sku: 'A', intervalMs: 20 },
                { signal: leave.signal },
            )) {
                seen.push(view.status.availableUnits);
                if (seen.length === 1)
                    await tidegate.adjustStock({
                        saleId,
                        sku: 'A',
                        change: { case: 'deltaUnits', value: 5n },
                        reason: 'interop',
                    });
                else leave.abort();
            }
        })(),
    );
    assert.deepEqual(seen, [0n, 5n]);
});

await check('connect: a deadline', async () => {
    await tidegate.createGroup({ group: `connect-${saleId}`, fromNow: true });
    await failsWith(
        Code.DeadlineExceeded,
        tidegate.consumeEvents({ group: `connect-${saleId}`, waitMs: 30000 }, { timeoutMs: 300 }),
    );
});

await check('connect: 1,000 orders in one message', async () => {
    const orders = Array.from({ length: 1000 }, (_, i) => order(100 + i));
    const answer = await tidegate.placeOrders({ orders });
    assert.equal(answer.results.filter((each) => each.verdict === 1).length, 5);
});

close();
