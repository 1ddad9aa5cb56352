// One stream from Node.js:  node node.mjs '{"endpoint": "https://localhost:8443", "audio": "said.pcm", …}'

import { readFileSync } from "node:fs";
import https from "node:https";
import { Transform } from "node:stream";
import tls from "node:tls";

import { TranscribeStreamingClient } from "@aws-sdk/client-transcribe-streaming";
import { eventStreamPayloadHandler } from "@aws-sdk/middleware-sdk-transcribe-streaming";
import { WebSocketFetchHandler } from "@aws-sdk/middleware-websocket";
import { EventStreamCodec } from "@smithy/core/event-streams";
import WebSocket from "ws";

import { stream } from "./stream.mjs";

const asked = JSON.parse(process.argv[2]);
const tell = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

// The SDK's WebSocket handler is for browsers: it wants the global, and takes port 8443 by itself.
class ToOurPort extends https.Agent {
  createConnection(options, connected) {
    return tls.connect({ ...options, port: asked.port }, connected);
  }
}
globalThis.WebSocket = class extends WebSocket {
  constructor(url) {
    super(url, { allowSynchronousEvents: false, agent: new ToOurPort({ ca: readFileSync(process.env.NODE_EXTRA_CA_CERTS) }) });
  }
};

const websocket = {
  requestHandler: WebSocketFetchHandler.create({}),
  // Signed messages are the SDK's default in Node.js; in a browser it signs none.
  ...(asked.transport === "websocket" && { eventStreamPayloadHandlerProvider: () => eventStreamPayloadHandler }),
};

const client = new TranscribeStreamingClient({
  region: "us-east-1",
  endpoint: asked.endpoint,
  maxAttempts: 1,
  ...(asked.fault === "old signature" && { systemClockOffset: -600_000 }),
  ...(asked.transport !== "http2" && websocket),
});

// Every message is changed after it was signed, and its checksums are made good.
function tamper() {
  const codec = new EventStreamCodec(
    (bytes) => Buffer.from(bytes).toString(),
    (text) => Buffer.from(text),
  );
  return new Transform({
    objectMode: true,
    transform(bytes, _, done) {
      const { headers, body } = codec.decode(bytes);
      body[body.length - 1] ^= 1;
      done(null, codec.encode({ headers, body }));
    },
  });
}
if (asked.fault === "tampered chunk") {
  client.middlewareStack.add((next) => (args) => next({ ...args, request: tampered(args.request) }), {
    step: "finalizeRequest",
    priority: "low",
  });
}
function tampered(request) {
  request.body = request.body.pipe(tamper());
  return request;
}

await stream(client, readFileSync(asked.audio), asked, tell);
client.destroy();
process.exit();
