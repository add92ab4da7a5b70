// @grpc/grpc-js, with the contract as @grpc/proto-loader reads it.
//   node grpc_js.mjs HOST:PORT SALE_ID ROOT [fast]
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';
import { assert, check, close, requestId, saleOf } from './checks.mjs';

const [address, saleText, root, extent] = process.argv.slice(2);
const saleId = Number(saleText);
const load = (...files) =>
    grpc.loadPackageDefinition(
        loader.loadSync(files, {
            includeDirs: [`${root}/proto`, '/usr/share/grpc-proto'],
            longs: Number,
            enums: String,
            defaults: true,
        }),
    );
const contract = load(
    'tidegate/v1/service.proto',
    'grpc/health/v1/health.proto',
    'grpc/reflection/v1/reflection.proto',
    'grpc/reflection/v1alpha/reflection.proto',
);
const insecure = grpc.credentials.createInsecure();
const tidegate = new contract.tidegate.v1.TidegateService(address, insecure);
const health = new contract.grpc.health.v1.Health(address, insecure);

const call = (client, method, request, options = {}) =>
    new Promise((resolve, reject) => {
        client[method](request, new grpc.Metadata(), options, (error, answer) =>
            error ? reject(error) : resolve(answer),
        );
    });

const failsWith = async (code, promise) => {
    const error = await promise.then(
        () => assert.fail(`the status is OK, not ${code}`),
        (caught) => caught,
    );
    assert.equal(error.code, code, `${error.message}`);
    return error;
};

const order = (user, fields = {}) => ({
    requestId: requestId(),
    saleId,
    sku: 'A',
    userId: user,
    quantity: 1,
    unitPriceMinor: 100,
    ...fields,
});

// The first `count` messages of a stream, which is cancelled then.
const messages = (stream, count) =>
    new Promise((resolve, reject) => {
        const heard = [];
        stream.on('data', (message) => {
            heard.push(message);
            if (heard.length === count) {
                stream.cancel();
                resolve(heard);
            }
        });
        stream.on('error', (error) =>
            heard.length >= count ? undefined : reject(error),
        );
        stream.on('end', () => reject(new Error(`the stream ended behind ${heard.length}`)));
    });

await check('grpc-js: Health.Check of the server and its service', async () => {
    for (const service of ['', 'tidegate.v1.TidegateService'])
        assert.equal((await call(health, 'Check', { service })).status, 'SERVING');
    await failsWith(grpc.status.NOT_FOUND, call(health, 'Check', { service: 'no.such.Service' }));
});

await check('grpc-js: Health.Watch tells the state at once', async () => {
    const [first] = await messages(health.Watch({ service: '' }), 1);
    assert.equal(first.status, 'SERVING');
});

for (const version of ['v1', 'v1alpha'])
    await check(`grpc-js: reflection ${version} lists services and finds a symbol`, async () => {
        const reflection = new contract.grpc.reflection[version].ServerReflection(address, insecure);
        const stream = reflection.ServerReflectionInfo();
        const heard = [];
        const done = new Promise((resolve, reject) => {
            stream.on('data', (message) => heard.push(message));
            stream.on('end', resolve);
            stream.on('error', reject);
        });
        stream.write({ listServices: '' });
        stream.write({ fileContainingSymbol: 'tidegate.v1.TidegateService.PlaceOrder' });
        stream.write({ fileContainingSymbol: 'no.such.Symbol' });
        stream.end();
        await done;
        assert.equal(heard.length, 3);
        const services = heard[0].listServicesResponse.service.map((each) => each.name);
        assert.ok(services.includes('tidegate.v1.TidegateService'), services.join());
        assert.ok(services.includes('grpc.health.v1.Health'), services.join());
        assert.equal(heard[1].fileDescriptorResponse.fileDescriptorProto.length, 2);
        assert.equal(heard[2].errorResponse.errorCode, grpc.status.NOT_FOUND);
    });

await check('grpc-js: a sale is made, sold out, and refused as an answer', async () => {
    const sale = saleOf(saleId, 3);
    const made = await call(tidegate, 'CreateSale', {
        sale: { ...sale, kind: 'SALE_KIND_SECKILL' },
        items: [{ sku: 'A', salePriceMinor: 100, stockUnits: 3 }],
    });
    assert.equal(made.verdict, 'VERDICT_OK');
    for (let user = 1; user <= 3; user++) {
        const answer = await call(tidegate, 'PlaceOrder', order(user));
        assert.equal(answer.verdict, 'VERDICT_ACCEPTED');
        assert.ok(answer.orderId > 0);
    }
    assert.equal((await call(tidegate, 'PlaceOrder', order(4))).verdict, 'VERDICT_SOLD_OUT');
});

await check('grpc-js: a retry gets the first answer', async () => {
    await call(tidegate, 'AdjustStock', {
        saleId, sku: 'A', deltaUnits: 10, reason: 'interop',
    });
    const again = order(10);
    const first = await call(tidegate, 'PlaceOrder', again);
    const second = await call(tidegate, 'PlaceOrder', again);
    assert.equal(first.verdict, 'VERDICT_ACCEPTED');
    assert.deepEqual([second.orderId, second.replayed], [first.orderId, true]);
});

await check('grpc-js: an order of a field that is wrong names it', async () => {
    const answer = await call(tidegate, 'PlaceOrder', order(11, { quantity: 0 }));
    assert.deepEqual([answer.verdict, answer.field], ['VERDICT_INVALID_ARGUMENT', 'quantity']);
});

await check('grpc-js: WatchItem tells of an order, and ends when cancelled', async () => {
    const stream = tidegate.WatchItem({ saleId, sku: 'A', intervalMs: 20 });
    const two = messages(stream, 2);
    await new Promise((resolve) => stream.once('data', resolve));
    await call(tidegate, 'PlaceOrder', order(20));
    const [before, after] = await two;
    assert.equal(before.state, 'SALE_STATE_ACTIVE');
    assert.equal(after.status.availableUnits, before.status.availableUnits - 1);
});

await check('grpc-js: WatchItem of nothing ends behind its verdict', async () => {
    const heard = [];
    await new Promise((resolve, reject) => {
        const stream = tidegate.WatchItem({ saleId: 999999, sku: 'A' });
        stream.on('data', (message) => heard.push(message.verdict));
        stream.on('end', resolve);
        stream.on('error', reject);
    });
    assert.deepEqual(heard, ['VERDICT_UNKNOWN_SALE']);
});

await check('grpc-js: SubscribeEvents brings events as they come', async () => {
    const group = `js-${saleId}`;
    const made = await call(tidegate, 'CreateGroup', { group, fromNow: true });
    assert.equal(made.verdict, 'VERDICT_OK');
    const first = messages(tidegate.SubscribeEvents({ group }), 1);
    const placed = await call(tidegate, 'PlaceOrder', order(30));
    const [page] = await first;
    assert.equal(page.events[0].orderId, placed.orderId);
    const acked = await call(tidegate, 'AckEvents', { group, sequence: page.nextSequence });
    assert.equal(acked.verdict, 'VERDICT_OK');
});

await check('grpc-js: a long poll is cut by its deadline', async () => {
    const group = `js-poll-${saleId}`;
    await call(tidegate, 'CreateGroup', { group, fromNow: true });
    const began = Date.now();
    await failsWith(
        grpc.status.DEADLINE_EXCEEDED,
        call(tidegate, 'ConsumeEvents', { group, waitMs: 30000 }, { deadline: began + 300 }),
    );
    assert.ok(Date.now() - began < 10000);
});

await check('grpc-js: a cancelled call is cancelled, and the channel goes on', async () => {
    const group = `js-poll-${saleId}`;
    const error = await new Promise((resolve) => {
        const pending = tidegate.ConsumeEvents({ group, waitMs: 30000 }, (caught) =>
            resolve(caught),
        );
        setTimeout(() => pending.cancel(), 100);
    });
    assert.equal(error.code, grpc.status.CANCELLED);
    await call(tidegate, 'GetServerTime', {});
});

await check('grpc-js: a batch of 4,096 orders', async () => {
    const orders = Array.from({ length: 4096 }, (_, i) => order(1000 + i));
    const answer = await call(tidegate, 'PlaceOrders', { orders });
    assert.equal(answer.verdict, 'VERDICT_OK');
    assert.equal(answer.results.length, 4096);
    const accepted = answer.results.filter((each) => each.verdict === 'VERDICT_ACCEPTED');
    assert.ok(accepted.length > 0 && accepted.length < 16);
});

await check('grpc-js: a message that is too large is RESOURCE_EXHAUSTED', async () => {
    const orders = Array.from({ length: 4096 }, (_, i) =>
        order(i + 1, { externalId: Buffer.alloc(300) }),
    );
    const error = await failsWith(
        grpc.status.RESOURCE_EXHAUSTED,
        call(tidegate, 'PlaceOrders', { orders }),
    );
    assert.ok(error.metadata.get('grpc-status-details-bin').length > 0);
});

await check('grpc-js: a method that is not there is UNIMPLEMENTED', async () => {
    const client = new grpc.Client(address, insecure);
    const same = (bytes) => bytes;
    await failsWith(
        grpc.status.UNIMPLEMENTED,
        new Promise((resolve, reject) =>
            client.makeUnaryRequest(
                '/tidegate.v1.TidegateService/SellEverything', same, same, Buffer.alloc(0),
                (error, answer) => (error ? reject(error) : resolve(answer)),
            ),
        ),
    );
});

await check('grpc-js: gzip is UNIMPLEMENTED', async () => {
    const compressed = new contract.tidegate.v1.TidegateService(address, insecure, {
        'grpc.default_compression_algorithm': 2,
    });
    await failsWith(
        grpc.status.UNIMPLEMENTED,
        call(compressed, 'PlaceOrder', order(40, { externalId: Buffer.alloc(32) })),
    );
});

if (extent !== 'fast')
    await check('grpc-js: 20,000 calls, 200 at a time', async () => {
        let left = 20000;
        const one = async () => {
            while (left-- > 0) await call(tidegate, 'GetItem', { saleId, sku: 'A' });
        };
        await Promise.all(Array.from({ length: 200 }, one));
    });

close();
