// A person before a page with captions of the microphone:
//
//   node page.mjs '{"url": "http://localhost:8000/captions.html", "port": 8443, "said": "said.wav", "until": "test"}'
//
// Chromium's microphone hears the recording once. When the page shows the words that are waited for, as
// final ones, Stop is pressed. Prints what the page shows in the end.

import { chromium } from "playwright-core";

const asked = JSON.parse(process.argv[2]);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  // The SDK takes port 8443 by itself; where nobody is root, the sandbox is there.
  args: [
    `--host-resolver-rules=MAP localhost:8443 127.0.0.1:${asked.port}`,
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    `--use-file-for-fake-audio-capture=${asked.said}%noloop`,
    ...(process.getuid() === 0 ? ["--no-sandbox"] : []),
  ],
});
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  page.on("console", (message) => console.error(message.text()));
  page.on("pageerror", (error) => console.error(error));
  await page.goto(asked.url);
  await page.getByText("Start").click();
  await page.locator("#finals").getByText(asked.until).waitFor();
  await page.getByText("Stop").click();
  await page.locator("#start:enabled").waitFor();
  console.log((await page.locator("#finals").innerText()).trim());
} finally {
  await browser.close();
}
