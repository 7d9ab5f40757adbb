// Node Socket.IO servers and Rookery on one Redis Cluster, on either wire.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Instance, KINDS, collect, connected, join, kind, until } from "./harness.mjs";
import { nodeServer, shardedServer } from "./node_server.mjs";
import { RedisCluster } from "./redis_cluster.mjs";

const v4 = kind(4, "websocket");

const WIRES = [
  { wire: "classic", node: nodeServer, count: ["numsub", "socket.io-request#/#"] },
  { wire: "sharded", node: shardedServer, count: ["shardnumsub", "socket.io#/#"], options: { subscriptionMode: "dynamic" } },
];

/** Two instances of Rookery and a Node server on one Cluster. */
async function neighbours(t, { wire, node, count, options }) {
  const redis = await RedisCluster.start(t);
  const config = { redis: { url: redis.url, wire } };
  const [one, other] = [await Instance.start(t, config, { redis }), await Instance.start(t, config, { redis })];
  const { io, url } = await node(t, redis, options);
  await until("all three are there", async () => (await redis.count(...count)) === 3);
  await Promise.all([one.redisIs(1), other.redisIs(1)]);
  return { redis, one, other, io, url };
}

/** Waits until what `publish` sends to a room arrives at every one of `members`, and then at each exactly once more. */
async function arrives(members, publish) {
  const marks = members.map((socket) => collect(socket, "mark"));
  let number = 0;
  await until("the room is heard", async () => {
    await publish("mark", ++number);
    return marks.every((heard) => heard.length > 0);
  });
  const last = "last";
  await publish("mark", last);
  await until("the last one arrives", () => marks.every((heard) => heard.some(([value]) => value === last)));
  for (const heard of marks) {
    const values = heard.map(([value]) => value);
    assert.equal(new Set(values).size, values.length, `something came twice: ${values}`);
  }
  for (const socket of members) socket.off("mark");
}

for (const which of WIRES) {
  test(`clients of Rookery and of a Node server hear each other on a Cluster (${which.wire})`, async (t) => {
    const { one, other, io, url } = await neighbours(t, which);
    const members = [];
    for (const [index, client] of KINDS.entries()) {
      const socket = await connected(t, client, [one, other][index % 2].url);
      for (const room of ["all", `room ${index}`]) await join(socket, room);
      members.push(socket);
    }
    const atNode = await connected(t, v4, url);
    for (const room of ["all", "node"]) await join(atNode, room);

    const everyone = [...members, atNode];
    await arrives(everyone, (event, value) => one.publish({ room: "all", event, args: [value] }));
    await arrives(everyone, async (event, value) => void io.to("all").emit(event, value));
    await arrives(everyone, async (event, value) => void io.emit(event, value));
    await arrives([atNode], (event, value) => other.publish({ room: "node", event, args: [value] }));
    for (const [index, socket] of members.entries()) {
      await arrives([socket], async (event, value) => void io.to(`room ${index}`).emit(event, value));
    }
    const sockets = await io.in("all").fetchSockets();
    assert.equal(sockets.length, everyone.length);
    for (const instance of [one, other]) {
      assert.equal(await instance.metric("rookery_redis_unsent_total"), 0);
      assert.equal(await instance.metric("rookery_redis_gaps_total"), 0);
    }
  });

  test(`an id is delivered once, whichever instance gets it (${which.wire})`, async (t) => {
    const { one, other } = await neighbours(t, which);
    const socket = await connected(t, v4, one.url);
    await join(socket, "room");
    const heard = collect(socket, "n");
    for (let number = 0; number < 30; number++) {
      const publication = { room: "room", event: "n", args: [number], id: `id ${number}` };
      const answers = [await one.publish(publication), await other.publish(publication)];
      assert.deepEqual(answers[1], answers[0]);
    }
    await until("all arrive", () => heard.length >= 30);
    await other.publish({ room: "room", event: "n", args: ["last"] });
    await until("the last one arrives", () => heard.at(-1)[0] === "last");
    assert.equal(heard.length, 31);
  });
}

test("a room whose slot moves is heard by Rookery and by a Node server's publications again", async (t) => {
  const { redis, one, other, io } = await neighbours(t, WIRES[1]);
  const members = [await connected(t, v4, one.url), await connected(t, v4, other.url)];
  for (const socket of members) await join(socket, "room");
  await arrives(members, async (event, value) => void io.to("room").emit(event, value));
  for (let times = 0; times < 3; times++) {
    await redis.move("socket.io#/#room#");
    await arrives(members, async (event, value) => void io.to("room").emit(event, value));
    await arrives(members, (event, value) => one.publish({ room: "room", event, args: [value] }));
  }
});
