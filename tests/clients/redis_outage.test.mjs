// Redis is killed and comes back: clients stay connected, local delivery continues, and rooms span
// instances again.
import assert from "node:assert/strict";
import { test } from "node:test";
import { collect, connected, join, kind, pair, pause, until } from "./harness.mjs";

/** How soon after Redis accepts connections again rooms must cross instances again. */
const BACK = 5_000;

const CLIENTS = [kind(4, "websocket"), kind(3, "polling"), kind(2, "websocket"), kind(2, "polling")];

async function members(t, instance) {
  const arrived = [];
  for (const which of CLIENTS) {
    const socket = await connected(t, which, instance.url);
    const member = { socket, which, heard: collect(socket, "n"), disconnects: [] };
    socket.on("disconnect", (reason) => member.disconnects.push(reason));
    await join(socket, "room");
    arrived.push(member);
  }
  return arrived;
}

test("clients stay connected while Redis is killed under traffic, and rooms span instances again when it is back", async (t) => {
  const { redis, one, other } = await pair(t);
  const [here, there] = [await members(t, one), await members(t, other)];
  const answers = [];
  let goesOn = true;
  let numbers = 0;
  const traffic = (async () => {
    while (goesOn) {
      answers.push(await one.publish({ room: "room", event: "n", args: [numbers++] }));
      await pause(2);
    }
  })();
  const everyone = [...here, ...there];
  await until("traffic crosses", () => everyone.every((member) => member.heard.length > 50));

  await redis.kill();
  await Promise.all([one.redisIs(0), other.redisIs(0)]);
  const down = numbers;
  await until("local delivery goes on", () => here.every((member) => member.heard.length > down + 50));
  assert.equal(answers.at(-1).scope, "local");
  const { scope, members: reached } = await other.publish({ room: "room", event: "n", args: ["other"] });
  assert.equal(scope, "local");
  assert.equal(reached, CLIENTS.length);
  // A member that joins while Redis is away is answered at once, and hears what is local.
  const late = await connected(t, kind(4, "websocket"), other.url);
  await join(late, "late");
  const lateHeard = collect(late, "n");
  assert.ok((await one.metric("rookery_redis_unsent_total")) > 0);

  await redis.run();
  const up = Date.now();
  const counts = there.map((member) => member.heard.length);
  await until(
    "rooms cross instances again, both ways",
    async () => {
      await other.publish({ room: "room", event: "n", args: ["back"] });
      return (
        there.every((member, index) => member.heard.length > counts[index] && crossed(member, down)) &&
        here.every((member) => member.heard.some(([n]) => n === "back"))
      );
    },
    BACK,
  );
  const took = Date.now() - up;
  t.diagnostic(`rooms crossed instances again ${took} ms after Redis was back`);
  assert.ok(took <= BACK, `${took} ms`);
  await Promise.all([one.redisIs(1), other.redisIs(1)]);
  await until("a room that was joined meanwhile crosses too", async () => {
    await one.publish({ room: "late", event: "n", args: ["late"] });
    return lateHeard.length > 0;
  });

  goesOn = false;
  await traffic;
  await until("the last number", () => here.every((member) => member.heard.some(([n]) => n === numbers - 1)));
  for (const { which, heard, disconnects } of everyone) {
    assert.deepEqual(disconnects, [], which.name);
    const counted = heard.map(([n]) => n).filter(Number.isInteger);
    assert.deepEqual(counted, [...new Set(counted)].sort((a, b) => a - b), `${which.name}: in order, once`);
  }
  for (const { which, heard } of here) {
    const counted = heard.map(([n]) => n).filter(Number.isInteger);
    assert.equal(counted.length, numbers, `${which.name}: nothing that is local is missed`);
  }
  assert.ok((await one.metric("rookery_redis_reconnects_total")) >= 1);
  assert.ok((await other.metric("rookery_redis_reconnects_total")) >= 1);
});

/** Whether a number that was published after the outage came to another instance's member. */
function crossed({ heard }, down) {
  return heard.some(([n]) => Number.isInteger(n) && n > down);
}
