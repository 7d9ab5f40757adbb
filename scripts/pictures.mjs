// Draws the pictures of the dashboards in docs/pictures: `node scripts/pictures.mjs`, after
// tests/setup.sh and a build. Two servers, a Redis and a real Prometheus run for three minutes, with
// clients that come, go and fall behind, and a Redis that is away for a moment; then the panels' own
// queries are asked, and what they give is drawn. A test holds the pictures to the panels' queries.
import { writeFile } from "node:fs/promises";
import { connected, join, kind, pause } from "../tests/clients/harness.mjs";
import { members, refused, slow, stage } from "../tests/monitoring/stage.mjs";
import { dashboards } from "../dashboards/generate.mjs";
import { PICTURES, figuresOf } from "./pictures/panels.mjs";
import { picture } from "./pictures/draw.mjs";

const SECONDS = 180;
const ROOMS = { "board:news": 4, "acme:app-0": 6, "acme:app-1": 3, "acme:app-2": 2, "acme:app-3": 1 };

const ends = [];
const t = { after: (end) => ends.push(end) };
try {
  await main();
} finally {
  for (const end of ends.reverse()) await end();
}

async function main() {
  const { redis, servers, prometheus } = await stage(t);
  const start = Date.now() / 1000;
  const passed = () => Date.now() / 1000 - start;
  const until = (seconds) => pause(Math.max(0, (seconds - passed()) * 1000));
  let more = true;
  const story = play({ redis, servers, until });
  const traffic = Promise.all(servers.map((server, index) => publish(server, index, passed, () => more)));
  await until(SECONDS);
  more = false;
  await Promise.all([story, traffic]);
  const end = start + SECONDS;
  const { version } = (await prometheus.query("rookery_build_info"))[0].metric;
  const caption = `Drawn from what a Prometheus answers to the panels' queries · Rookery ${version}, two servers, ${new Date().toISOString().slice(0, 10)}`;
  for (const [file, { dashboard, titles }] of Object.entries(PICTURES)) {
    const board = dashboards[dashboard];
    const panels = await Promise.all(titles.map((title) => figuresOf(board, title, prometheus, { start, end })));
    await writeFile(new URL(`../docs/pictures/${file}`, import.meta.url), picture(board.title, caption, panels, { start, end }));
  }
}

/** Who comes and goes, and what breaks. */
async function play({ redis, servers, until }) {
  await Promise.all(servers.map((server) => members(t, server, 2)));
  const crowd = [];
  for (let wave = 1; wave <= 8; wave++) {
    await until(wave * 8);
    for (const [index, server] of servers.entries()) {
      for (let n = 0; n < 3 + index; n++) {
        const client = await connected(t, kind(4, n === 0 ? "polling" : "websocket"), server.url);
        await Promise.all(["board:news", `acme:app-${n % 2}`].map((room) => join(client, room)));
        crowd.push(client);
      }
    }
    await refused(t, servers[wave % 2]);
  }
  await until(80);
  for (let n = 0; n < 4; n++) await slow(t, servers[n % 2]);
  await until(110);
  await redis.kill();
  await until(120);
  await redis.run();
  await until(140);
  for (const client of crowd.splice(0, 30)) {
    client.close();
    await pause(150);
  }
}

/** Publishes by the API to every room, the more the higher the tide. */
async function publish(server, index, passed, more) {
  for (let round = 0; more(); round++) {
    const tide = 1 + Math.sin((passed() / SECONDS) * 3 * Math.PI + index);
    const rooms = Object.entries(ROOMS).flatMap(([room, weight]) => Array(Math.round(weight * tide)).fill(room));
    const batch = rooms.map((room) => ({ room, event: "n", args: [round] }));
    if (batch.length > 0) await server.api("POST", "/api/publish/batch", batch);
    await pause(120);
  }
}
