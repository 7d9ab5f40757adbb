// Faults of one Redis, of the way to it and of an instance, in a storm of publications of three instances.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Instance, Redis, pause, until } from "./harness.mjs";
import { Link } from "./link.mjs";
import { Storm } from "./storm.mjs";

const NOTHING = { missed: 0, gaps: 0, unsent: 0, repeats: 0, dropped: 0 };

/** Three instances, each with a link of its own to one Redis, in a storm. */
async function stormy(t) {
  const redis = await Redis.start(t);
  const [links, instances] = [[], []];
  for (let n = 0; n < 3; n++) {
    links.push(await Link.start(t, redis));
    instances.push(await Instance.start(t, {}, { redis: links[n] }));
  }
  return { redis, links, instances, storm: await Storm.start(t, instances) };
}

const isDown = (instance) => instance.redisIs(0);
const isUp = (instance) => instance.redisIs(1);

async function keptTheirConnections(instances) {
  for (const instance of instances) assert.equal(await instance.metric("rookery_redis_reconnects_total"), 0);
}

test("Redis is killed and restarted", async (t) => {
  const { redis, instances, storm } = await stormy(t);
  await redis.kill();
  await Promise.all(instances.map(isDown));
  await pause(200);
  await redis.run();
  await Promise.all(instances.map(isUp));
  const { missed } = await storm.accounts();
  assert.ok(missed > 0, "nothing was missed");
});

test("Redis hangs until the instances give it up", async (t) => {
  const { redis, instances, storm } = await stormy(t);
  redis.child.kill("SIGSTOP");
  await Promise.all(instances.map(isDown));
  redis.child.kill("SIGCONT");
  await Promise.all(instances.map(isUp));
  const { missed } = await storm.accounts();
  assert.ok(missed > 0, "nothing was missed");
});

test("the link of one instance is cut without a FIN", async (t) => {
  const { links: [link], instances: [cut, ...others], storm } = await stormy(t);
  link.cut();
  await isDown(cut);
  for (const instance of others) assert.equal(await instance.metric("rookery_redis_up"), 1);
  link.mend();
  await isUp(cut);
  const { gaps, unsent, repeats } = await storm.accounts();
  assert.ok(gaps > 0 && unsent > 0, `${gaps} gaps, ${unsent} unsent`);
  assert.equal(repeats, 0);
  await keptTheirConnections(others);
});

test("the link of one instance becomes slow, by 200 ms: nothing is lost", async (t) => {
  const { links: [link], instances, storm } = await stormy(t);
  link.delay = 200;
  await storm.allHearAll();
  await storm.more(300);
  assert.deepEqual(await storm.accounts(), NOTHING);
  await keptTheirConnections(instances);
});

test("one of three instances is killed: the others miss nothing of each other", async (t) => {
  const { instances: [killed, ...others], storm } = await stormy(t);
  storm.loses(killed);
  killed.child.kill("SIGKILL");
  const living = storm.alive().flatMap(({ members }) => members);
  await until("it is known to be gone", async () => {
    const { body } = await others[0].api("GET", "/api/rooms/room");
    return body.unanswered.length === 0 && body.members.length === living.length;
  });
  await storm.more(300);
  assert.deepEqual(await storm.accounts(), NOTHING);
  // What the killed one published before came without a gap, to both.
  for (const numbers of living.flatMap(({ heard: [ofKilled] }) => ofKilled)) {
    assert.deepEqual(numbers, Array.from({ length: numbers.length }, (_, n) => n + 1));
    assert.ok(numbers.length > 0);
  }
});
