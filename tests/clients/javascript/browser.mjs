// One stream from a page in Chromium:  node browser.mjs '{"endpoint": "https://localhost", "site": 8000, …}'
//
// The page holds Amazon's SDK as its bundler takes it for browsers, and trusts the authority that is in the
// certificate store of $HOME. The server must allow its origin, http://localhost:SITE.

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";
import { chromium } from "playwright-core";

const asked = JSON.parse(process.argv[2]);
const tell = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

const page_source = `
  import { TranscribeStreamingClient } from "@aws-sdk/client-transcribe-streaming";
  import { stream } from "./stream.mjs";

  window.run = async (asked, credentials, audio) => {
    const bytes = Uint8Array.from(atob(audio), (character) => character.charCodeAt(0));
    const client = new TranscribeStreamingClient({
      region: "us-east-1",
      endpoint: asked.endpoint,
      credentials,
      maxAttempts: 1,
      ...(asked.fault === "old signature" && { systemClockOffset: -600_000 }),
    });
    await stream(client, bytes, asked, window.tell);
    client.destroy();
  };
`;
const bundle = await build({
  stdin: { contents: page_source, resolveDir: dirname(fileURLToPath(import.meta.url)) },
  bundle: true,
  platform: "browser",
  format: "iife",
  write: false,
  logLevel: "error",
});

// A page of this machine: Chromium lets no other reach a server of this machine without asking its user.
const site = createServer((_, answer) => {
  answer.setHeader("content-type", "text/html; charset=utf-8");
  answer.end("<!doctype html><title>A page</title>");
});
await once(site.listen(asked.site, "127.0.0.1"), "listening");

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  // The SDK takes port 8443 by itself; where nobody is root, the sandbox is there.
  args: [
    `--host-resolver-rules=MAP localhost:8443 127.0.0.1:${asked.port}`,
    ...(process.getuid() === 0 ? ["--no-sandbox"] : []),
  ],
});
try {
  const page = await browser.newPage();
  page.on("console", (message) => console.error(message.text()));
  await page.exposeFunction("tell", tell);
  await page.goto(`http://localhost:${asked.site}/`);
  await page.addScriptTag({ content: bundle.outputFiles[0].text });
  const credentials = {
    accessKeyId: process.env.AWS_ACCESS_KEY_ID,
    secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY,
  };
  await page.evaluate(([asked, credentials, audio]) => window.run(asked, credentials, audio), [
    asked,
    credentials,
    readFileSync(asked.audio).toString("base64"),
  ]);
} finally {
  await browser.close();
  site.close();
}
