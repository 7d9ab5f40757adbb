// Rooms work for every stock client, whichever instance its members are on and whoever publishes.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "redis";
import { KINDS, ask, atEnd, collect, connected, join, kind, pair, until } from "./harness.mjs";
import { PYTHON_KINDS, connectedPython } from "./python.mjs";

const v4 = kind(4, "websocket");

/** Two instances, and a backend's connection to their Redis. */
async function cluster(t) {
  const { redis, one, other } = await pair(t);
  const backend = await createClient({ url: redis.url }).connect();
  atEnd(t, () => backend.destroy());
  return { one, other, backend };
}

function arrive(t, which, instance) {
  return which.python ? connectedPython(t, which, instance.url) : connected(t, which, instance.url);
}

/** Asks as the first example does; gives the answer. */
async function operation(socket, event, payload) {
  const answers = collect(socket, "application_response");
  socket.emit("application", { event, payload });
  await until(`${event} is answered`, () => answers.length > 0);
  assert.equal(answers.length, 1);
  return answers[0];
}

/** The public id of the only member of a room. */
async function onlyMember(instance, room) {
  const { body } = await instance.api("GET", `/api/rooms/${encodeURIComponent(room)}`);
  assert.equal(body.members.length, 1, JSON.stringify(body));
  return body.members[0].id;
}

let rooms = 0;

test("clients of two instances with one Redis receive every kind of publication", async (t) => {
  const { one, other, backend } = await cluster(t);

  for (const which of [...KINDS, ...PYTHON_KINDS]) {
    await t.test(`${which.name}: a subscriber receives from three kinds of publisher until it unsubscribes`, async (t) => {
      const ids = { workspaceId: `w${++rooms}`, appId: 7 };
      const room = `${ids.workspaceId}:7`;
      const members = [await arrive(t, which, one), await arrive(t, which, other)];
      const sender = await connected(t, v4, other.url);
      for (const member of members) {
        assert.deepEqual(await operation(member, "SUBSCRIBE", ids), [
          { status: "SUCCESS", event: "SUBSCRIBE", payload: ids },
        ]);
      }
      const heard = members.map((member) => collect(member, "application_event"));
      for (const n of [1, 2, 3]) {
        const answer = await one.publish({ room, event: "application_event", args: [{ http: n }] });
        assert.equal(answer.scope, "cluster");
        assert.equal(answer.members, 1);
        await backend.publish("rookery:publish", JSON.stringify({ ...ids, payload: { bridge: n } }));
        const said = { room, event: "application_event", data: { client: n } };
        assert.equal((await ask(sender, "publish", said)).status, "SUCCESS");
      }
      for (const arrived of heard) {
        await until(`the last of each publisher in ${JSON.stringify(arrived)}`, () =>
          ["http", "bridge", "client"].every((by) => arrived.some(([payload]) => payload[by] === 3)),
        );
        assert.equal(arrived.length, 9);
        for (const by of ["http", "bridge", "client"]) {
          const numbers = arrived.map(([payload]) => payload[by]).filter((n) => n !== undefined);
          assert.deepEqual(numbers, [1, 2, 3], by);
        }
      }

      const witnesses = [await connected(t, v4, one.url), await connected(t, v4, other.url)];
      const witnessed = witnesses.map((witness) => collect(witness, "application_event"));
      for (const witness of witnesses) await join(witness, room);
      for (const member of members) {
        assert.deepEqual(await operation(member, "UNSUBSCRIBE", ids), [
          { status: "SUCCESS", event: "UNSUBSCRIBE", payload: ids },
        ]);
      }
      await one.publish({ room, event: "application_event", args: [{ missed: 1 }] });
      await backend.publish("rookery:publish", JSON.stringify({ ...ids, payload: { missed: 2 } }));
      for (const arrived of witnessed) await until("the witnesses hear it", () => arrived.length === 2);
      for (const [index, member] of members.entries()) {
        await join(member, room);
        await one.publish({ room, event: "application_event", args: [{ back: index }] });
        await until("it is heard again", () => heard[index].some(([p]) => p.back === index));
        assert.ok(!heard[index].some(([payload]) => payload.missed), "nothing after UNSUBSCRIBE");
      }
    });

    await t.test(`${which.name}: publications to several rooms, with exceptions, Unicode and binary, arrive intact`, async (t) => {
      const own = [`solo ${++rooms} 🐦 ä/b?c`, `solo ${++rooms}`];
      const [a, b] = [`a${rooms}`, `b${rooms}`];
      const members = [await arrive(t, which, one), await arrive(t, which, other)];
      const heard = members.map((member) => collect(member, "news"));
      for (const [index, member] of members.entries()) {
        for (const room of [own[index], a, b]) await join(member, room);
      }
      const everywhere = async (publication, expected) => {
        const before = heard.map((arrived) => arrived.length);
        await other.publish({ event: "news", ...publication });
        // In the same rooms, from the same publisher: whatever was to come has come before it.
        await other.publish({ rooms: [a, b], event: "news", args: ["end"] });
        for (const [index, arrived] of heard.entries()) {
          await until("the end", () => arrived.at(-1)?.[0] === "end" && arrived.length > before[index]);
          assert.deepEqual(arrived.slice(before[index], -1), expected[index]);
        }
      };
      await everywhere({ rooms: [a, b], args: ["once"] }, [[["once"]], [["once"]]]);
      await everywhere({ rooms: [a, b], except: [own[0]], args: [1] }, [[], [[1]]]);
      const id = await onlyMember(one, own[1]);
      await everywhere({ rooms: [a, b], except: [id], args: [2] }, [[[2]], []]);
      const unicode = ["zażółć", { "gęślą 🐦": ["\u2028\u0000", "𝄞", "\"\\"] }, 0.1, -7, null, true];
      await everywhere({ rooms: [a, b], args: unicode }, [[unicode], [unicode]]);
      const bytes = Buffer.from([0, 1, 2, 254, 255]);
      const sent = { deep: [{ bytes: { $binary: bytes.toString("base64") } }, "x"] };
      const got = [{ deep: [{ bytes }, "x"] }, Buffer.alloc(0)];
      await everywhere({ rooms: [a, b], args: [sent, { $binary: "" }] }, [[got], [got]]);

      const data = { list: [1, { bytes, more: [Buffer.from("ü")] }] };
      for (const arrived of heard) arrived.length = 0;
      assert.equal((await ask(members[0], "publish", { room: a, event: "news", data })).status, "SUCCESS");
      for (const arrived of heard) {
        await until("binary of a client", () => arrived.length > 0);
        assert.deepEqual(arrived, [[data]]);
      }
      await other.publish({ room: own[0], event: "news", args: ["to one"] });
      await until("a room with a name that needs encoding", () => heard[0].length === 2);
      assert.deepEqual(heard[0][1], ["to one"]);
    });
  }
});
