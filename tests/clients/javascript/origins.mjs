// What web pages can do to servers, in Chromium:  node origins.mjs '{"site": 8000, "page": "…", …}'
//
// Pages are on SITE, under the name of this machine and under one of elsewhere, once without an origin of their
// own; and one is under a name that resolves to the server itself (DNS rebinding). Each tries, for each of `servers`,
// to read, upload and delete recordings, to play one, and to open WebSockets; and links to one. Prints what each could.

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

import { chromium } from "playwright-core";

const asked = JSON.parse(process.argv[2]);
const said = readFileSync(asked.recording).toString("base64");
const html = "<!doctype html><meta charset=utf-8><title>A page</title><iframe name=frame></iframe>";

const site = createServer((request, answer) => {
  answer.setHeader("content-type", "text/html");
  if (request.url === "/opaque") answer.setHeader("content-security-policy", "sandbox allow-scripts allow-forms");
  answer.end(html);
});
await once(site.listen(asked.site, "127.0.0.1"), "listening");

// Runs in the page. Its own recording is `own`, which is there; `planted` and `posted` are not.
async function tryAll({ server, own, planted, posted, said }) {
  const seen = {};
  const attempts = [];
  const attempt = (name, act) => {
    const late = new Promise((done) => setTimeout(done, 10_000, false));
    attempts.push(Promise.race([act().catch(() => false), late]).then((could) => { seen[name] = could; }));
  };
  const bytes = Uint8Array.from(atob(said), (character) => character.charCodeAt(0));
  const event = (target, yes) =>
    new Promise((done) => {
      target.addEventListener(yes, () => done(true));
      target.addEventListener("error", () => done(false));
    });
  const played = (crossOrigin) => {
    const player = new Audio();
    if (crossOrigin) player.crossOrigin = "anonymous";
    player.src = `${server}/audio/${own}`;
    return event(player, "loadedmetadata");
  };
  attempt("list", async () => (await (await fetch(`${server}/audio`)).text()).includes(own));
  attempt("read", async () => (await (await fetch(`${server}/audio/${own}`)).arrayBuffer()).byteLength === bytes.length);
  attempt("play", () => played(false));
  attempt("play as CORS", () => played(true));
  for (const path of ["/stream", "/vosk", "/", "/stream-transcription-websocket"])
    attempt(`socket ${path}`, () => {
      const socket = new WebSocket(server.replace("http", "ws") + path);
      return event(socket, "open").finally(() => socket.close());
    });
  const file = (name) => new File([bytes], name, { type: "audio/wav" });
  attempt("upload", async () => {
    const form = new FormData();
    form.append("file", file(planted));
    await fetch(`${server}/audio`, { method: "POST", body: form, mode: "no-cors" });
    return true;
  });
  attempt("post a form", async () => {
    const form = document.createElement("form");
    Object.assign(form, { action: `${server}/audio`, method: "post", enctype: "multipart/form-data", target: "frame" });
    const input = document.createElement("input");
    Object.assign(input, { type: "file", name: "file" });
    const transfer = new DataTransfer();
    transfer.items.add(file(posted));
    input.files = transfer.files;
    form.append(input);
    document.body.append(form);
    const answered = event(document.querySelector("iframe"), "load");
    form.submit();
    return await answered;
  });
  await Promise.all(attempts);
  attempt("delete", async () => (await fetch(`${server}/audio/${own}`, { method: "DELETE" })).ok);
  await Promise.all(attempts);
  return seen;
}

const names = `MAP ${asked.elsewhere} 127.0.0.1,MAP ${asked.rebound} 127.0.0.1`;
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: [
    `--host-resolver-rules=${names}`,
    // Chromium itself keeps pages of elsewhere from this machine; other browsers do not.
    "--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets",
    ...(process.getuid() === 0 ? ["--no-sandbox"] : []),
  ],
});
try {
  const told = {};
  const visit = async (kind, name, url, target) => {
    const page = await browser.newPage();
    page.on("console", (message) => console.error(kind, name, message.text()));
    // It came from elsewhere, when its name still meant that.
    if (name === "rebound") await page.route(url, (route) => route.fulfill({ contentType: "text/html", body: html }));
    // A link to a recording, of which the browser makes a page with a player.
    const linked = `${target}/audio/${name}.wav`;
    await page.goto(url);
    const [answer] = await Promise.all([
      page.waitForResponse(linked),
      page.waitForURL(linked, { waitUntil: "commit" }),
      page.evaluate((to) => { location.href = to; }, linked),
    ]);
    const plays = () => document.querySelector("video")?.duration > 1;
    const link = answer.ok() && (await page.waitForFunction(plays, null, { timeout: 10_000 }).then(() => true, () => false));
    await page.goto(url);
    const files = { own: `${name}.wav`, planted: `${name}-planted.wav`, posted: `${name}-posted.wav` };
    told[kind][name] = { link, ...(await page.evaluate(tryAll, { server: target, said, ...files })) };
    await page.close();
  };
  for (const [kind, server] of Object.entries(asked.servers)) {
    const rebound = `http://${asked.rebound}:${new URL(server).port}`;
    told[kind] = {};
    await Promise.all([
      visit(kind, "neighbour", `http://localhost:${asked.site}/`, server),
      visit(kind, "elsewhere", `http://${asked.elsewhere}:${asked.site}/`, server),
      visit(kind, "opaque", `http://localhost:${asked.site}/opaque`, server),
      visit(kind, "rebound", `${rebound}/page`, rebound),
    ]);
  }
  process.stdout.write(JSON.stringify(told));
} finally {
  await browser.close();
  site.close();
}
