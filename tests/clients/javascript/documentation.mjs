// What a page of the server's loads and shows in Chromium:  node documentation.mjs '{"url": "http://…/docs", "until": "…"}'
//
// Waits until the page shows some words, then prints them all, and the addresses that were asked for and not kept
// back by the page's own policy.

import { chromium } from "playwright-core";

const asked = JSON.parse(process.argv[2]);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: process.getuid() === 0 ? ["--no-sandbox"] : [],
});
try {
  const page = await browser.newPage();
  const requested = [];
  // What the policy keeps back never gets here.
  await page.route("**/*", (route) => {
    requested.push(route.request().url());
    return route.continue();
  });
  await page.goto(asked.url);
  await page.getByText(asked.until).filter({ visible: true }).first().waitFor({ timeout: 20_000 });
  process.stdout.write(JSON.stringify({ requested, text: await page.innerText("body") }));
} finally {
  await browser.close();
}
