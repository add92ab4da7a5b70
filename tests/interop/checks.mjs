// What the clients in JavaScript share: named checks, their count, and the closing line.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';

const MINUTE_MS = 60_000;
let passed = 0;
let failed = 0;

// Runs one check; one that does not end in time has failed.
export async function check(name, body) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error('it takes longer than 20 s')), 20_000);
    });
    try {
        await Promise.race([body(), late]);
        passed++;
        console.log(`ok    ${name}`);
    } catch (error) {
        failed++;
        console.log(`FAIL  ${name}\n      ${error.stack ?? error}`);
    } finally {
        clearTimeout(timer);
    }
}

export function close() {
    console.log(`${passed} passed, ${failed} failed`);
    process.exit(failed === 0 ? 0 : 1);
}

export const requestId = () => randomBytes(16);

// A sale that is open now, with one item of that stock.
export function saleOf(id, stock, nowMs = Date.now()) {
    return {
        saleId: id,
        name: 'interop',
        currency: 'CNY',
        startsAtMs: nowMs - MINUTE_MS,
        endsAtMs: nowMs + 60 * MINUTE_MS,
        stock,
    };
}

export { assert };
