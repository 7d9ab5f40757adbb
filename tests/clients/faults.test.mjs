// Faults in a storm of publications of three instances: nothing comes twice, each publisher's order is kept, and
// what clients miss is what the instances count.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Instance, Redis, connected, join, kind, pause, until } from "./harness.mjs";
import { Link } from "./link.mjs";

const PLACES = [0, 1, 2];
const CLIENTS = [kind(4, "websocket"), kind(2, "websocket"), kind(4, "polling")];

/** What memory may grow by: what the queues to Redis and the clients' outboxes held is given back. */
const MEMORY = 24 << 20;

/** Three instances, each with a link of its own to one Redis, clients in one room on each, and a storm. */
async function storm(t) {
  const redis = await Redis.start(t);
  const places = [];
  for (const place of PLACES) {
    const link = await Link.start(t, redis);
    const instance = await Instance.start(t, {}, { redis: link });
    const members = [];
    for (const which of CLIENTS) {
      const socket = await connected(t, which, instance.url, { reconnection: false });
      const member = { name: `${which.name} of ${place}`, socket, heard: PLACES.map(() => []) };
      socket.on("n", (from, number) => member.heard[from].push(number));
      await join(socket, "room");
      members.push(member);
    }
    places.push({ place, link, instance, members, sent: 0, isAlive: true });
  }
  await until("all know each other", async () => {
    const answers = await Promise.all(places.map(({ instance }) => instance.api("GET", "/api/rooms/room")));
    return answers.every(({ body }) => body.members.length === PLACES.length * CLIENTS.length);
  });
  const at = { redis, places, isOver: false };
  const publish = async (from) => {
    const args = [from.place, from.sent + 1];
    await from.instance.publish({ room: "room", event: "n", args });
    from.sent++;
  };
  at.alive = () => places.filter(({ isAlive }) => isAlive);
  at.running = places.map(async (from) => {
    while (!at.isOver && from.isAlive) {
      await publish(from).catch((error) => {
        if (from.isAlive) throw error;
      });
      await pause(2);
    }
  });
  /** One more of each. */
  at.more = () => Promise.all(at.alive().map(publish));
  await allHearAll(at);
  at.memory = await memory(at);
  return at;
}

const memory = ({ places }) => Promise.all(places.map(({ instance }) => instance.metric("process_resident_memory_bytes")));

/** Waits until every client hears something new of every instance that lives. */
async function allHearAll(at) {
  const marks = at.places.map(({ sent }) => sent);
  await until("all hear all", () => at.alive().every(({ members }) => {
    return members.every(({ heard }) => at.alive().every(({ place }) => (heard[place].at(-1) ?? 0) > marks[place]));
  }));
}

const isDown = (place) => place.instance.redisIs(0);
const isUp = (place) => place.instance.redisIs(1);

/** Ends the storm, and compares what was missed with what was counted; gives both. */
async function accounts(t, at) {
  await allHearAll(at);
  at.isOver = true;
  await Promise.all(at.running);
  // A gap is noticed by what comes after it.
  const isAllHeard = () => at.alive().every(({ members }) => {
    return members.every(({ heard }) => at.alive().every(({ place, sent }) => heard[place].at(-1) === sent));
  });
  await until("the last ones arrive", async () => {
    await at.more();
    for (let n = 0; n < 30 && !isAllHeard(); n++) await pause(100);
    return isAllHeard();
  });
  const counted = { gaps: 0, unsent: 0, repeats: 0, dropped: 0 };
  let missed = 0;
  for (const { place, instance, members } of at.alive()) {
    for (const { name, heard, socket } of members) {
      assert.ok(socket.connected, name);
      for (const from of PLACES) {
        const numbers = heard[from];
        assert.ok(numbers.every((n, index) => index === 0 || n > numbers[index - 1]), `${name}: once and in order of ${from}: ${numbers}`);
        assert.deepEqual(numbers, members[0].heard[from], `${name}: the clients of an instance hear the same of ${from}`);
      }
      assert.equal(heard[place].length, at.places[place].sent, `${name}: all of its own instance`);
    }
    for (const from of at.alive()) missed += from.sent - members[0].heard[from.place].length;
    for (const counter of Object.keys(counted)) counted[counter] += await instance.metric(`rookery_redis_${counter}_total`);
    await until(() => `the ledger of ${place} is balanced`, async () => {
      const [recipients, ended] = await Promise.all(["recipients", "deliveries"].map((name) => instance.metric(`rookery_${name}_total`)));
      return recipients === ended;
    });
    let now;
    await until(() => `memory is back: ${at.memory[place]} before, ${now} after`, async () => {
      now = await instance.metric("process_resident_memory_bytes");
      return now < at.memory[place] + MEMORY;
    });
  }
  t.diagnostic(`${at.places.map(({ sent }) => sent)} sent, ${missed} missed, ${JSON.stringify(counted)}`);
  assert.equal(counted.dropped, 0);
  return { missed, ...counted };
}

/** What an instance did not send is missed by both others. What was on its way when a connection broke may be counted
 * as unsent although it arrived, or as unsent and as a gap. */
function assertCounted({ missed, gaps, unsent }, underWay) {
  const counted = gaps + 2 * unsent;
  assert.ok(missed <= counted && counted <= missed + 3 * underWay, `${missed} missed, ${counted} counted`);
}

test("Redis is killed and restarted", async (t) => {
  const at = await storm(t);
  await at.redis.kill();
  await Promise.all(at.places.map(isDown));
  await pause(200);
  await at.redis.run();
  await Promise.all(at.places.map(isUp));
  const found = await accounts(t, at);
  assert.ok(found.missed > 0, "nothing was missed");
  assertCounted(found, 50);
});

test("Redis hangs until the instances give it up", async (t) => {
  const at = await storm(t);
  at.redis.child.kill("SIGSTOP");
  await Promise.all(at.places.map(isDown));
  at.redis.child.kill("SIGCONT");
  await Promise.all(at.places.map(isUp));
  const found = await accounts(t, at);
  assert.ok(found.missed > 0, "nothing was missed");
  assertCounted(found, 50);
});

test("the link of one instance is cut without a FIN", async (t) => {
  const at = await storm(t);
  const [cut, ...others] = at.places;
  cut.link.cut();
  await isDown(cut);
  for (const { instance } of others) assert.equal(await instance.metric("rookery_redis_up"), 1);
  cut.link.mend();
  await isUp(cut);
  const found = await accounts(t, at);
  assert.ok(found.gaps > 0 && found.unsent > 0, JSON.stringify(found));
  assert.equal(found.repeats, 0);
  for (const { instance } of others) assert.equal(await instance.metric("rookery_redis_reconnects_total"), 0);
  assertCounted(found, 50);
});

test("the link of one instance becomes slow, by 200 ms: nothing is lost", async (t) => {
  const at = await storm(t);
  at.places[0].link.delay = 200;
  await allHearAll(at);
  await until("a while", () => at.places[0].sent > 500);
  const found = await accounts(t, at);
  assert.deepEqual(found, { missed: 0, gaps: 0, unsent: 0, repeats: 0, dropped: 0 });
  for (const { instance } of at.places) assert.equal(await instance.metric("rookery_redis_reconnects_total"), 0);
});

test("one of three instances is killed: the others miss nothing of each other", async (t) => {
  const at = await storm(t);
  const [killed, ...others] = at.places;
  killed.isAlive = false;
  killed.instance.child.kill("SIGKILL");
  await until("it is known to be gone", async () => {
    const { body } = await others[0].instance.api("GET", "/api/rooms/room");
    return body.unanswered.length === 0 && body.members.length === others.length * CLIENTS.length;
  });
  await until("a while", () => others[0].sent > 300);
  const found = await accounts(t, at);
  assert.deepEqual(found, { missed: 0, gaps: 0, unsent: 0, repeats: 0, dropped: 0 });
  // What the killed one published before came without a gap, to both.
  for (const { members } of others) {
    const numbers = members[0].heard[killed.place];
    assert.deepEqual(numbers, Array.from({ length: numbers.length }, (_, n) => n + 1));
    assert.ok(numbers.length > 0);
  }
});
