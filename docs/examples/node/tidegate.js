// What both examples need of gRPC: a client made of the .proto alone, and calls that end with an answer.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const grpc = require('@grpc/grpc-js');
const { loadSync } = require('@grpc/proto-loader');

const PROTO = process.env.TIDEGATE_PROTO || path.join(__dirname, '../../../proto');

// Numbers of 64 bits (ids, money) come as strings, enums by name, bytes as Buffers.
const contract = grpc.loadPackageDefinition(
  loadSync('tidegate/v1/service.proto', { includeDirs: [PROTO], longs: String, enums: String, defaults: true }),
).tidegate.v1;

// TLS when TIDEGATE_CA names the authority that the server's certificate is from.
function connect(server = '127.0.0.1:7413') {
  const ca = process.env.TIDEGATE_CA;
  const credentials = ca ? grpc.credentials.createSsl(fs.readFileSync(ca)) : grpc.credentials.createInsecure();
  return new contract.TidegateService(server, credentials);
}

// The token of the caller, when the server asks for one.
function metadata() {
  const metadata = new grpc.Metadata();
  if (process.env.TIDEGATE_TOKEN) metadata.set('authorization', `Bearer ${process.env.TIDEGATE_TOKEN}`);
  return metadata;
}

function call(client, method, request, deadline) {
  return new Promise((resolve, reject) => {
    client[method](request, metadata(), { deadline }, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

// What a network does: the request may have been done, or not.
const UNKNOWN = new Set([grpc.status.UNAVAILABLE, grpc.status.DEADLINE_EXCEEDED, grpc.status.ABORTED]);
// BUSY: nothing was done. Its RetryInfo asks for some milliseconds, which no pause here is below.
const BUSY = grpc.status.RESOURCE_EXHAUSTED;

// Sends a request that is safe to repeat until it is answered: after a lost connection, a restart of the
// server, and BUSY, with pauses that grow and are not the same for all. When patience ends it is BUSY if
// every try was; else the last error is thrown, and nobody knows.
async function untilAnswered(client, method, request, patienceMs) {
  const end = Date.now() + patienceMs;
  let known = true;
  for (let pause = 20; ; pause = Math.min(2 * pause, 1000)) {
    try {
      return await call(client, method, request, new Date(Math.min(end, Date.now() + 5000)));
    } catch (error) {
      if (UNKNOWN.has(error.code)) known = false;
      else if (error.code !== BUSY) throw error;
      const wait = pause * (0.5 + Math.random());
      if (Date.now() + wait > end) {
        if (known) return { verdict: 'VERDICT_BUSY' };
        throw error;
      }
      await sleep(wait);
    }
  }
}

module.exports = { connect, metadata, untilAnswered, grpc };
