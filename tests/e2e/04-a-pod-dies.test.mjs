// A pod is killed: its clients reconnect by themselves, other clients are not affected, and requests
// that wait for it end.
import assert from "node:assert/strict";
import * as api from "./harness/api.mjs";
import { kubectl } from "./harness/kubectl.mjs";
import * as nodes from "./harness/nodes.mjs";
import * as operator from "./harness/operator.mjs";
import { scenario } from "./harness/scenario.mjs";
import { ROOM } from "./harness/swarm.mjs";
import { until, within } from "./harness/until.mjs";

const CLIENTS = 90;

scenario("a pod is killed", async (s) => {
  await operator.ensure();
  const release = await api.install(s, "death", {
    replicas: { min: 3, max: 3 },
    // The pod that replaces it would get clients of the others.
    rebalance: { mode: "manual" },
  });
  const pods = await release.ready(3);
  const swarm = release.swarm(s);
  await swarm.grow(CLIENTS);

  const [victim, witness] = pods;
  const gone = await victim.id();
  const orphans = swarm.members.filter((member) => member.pod === gone);
  const others = swarm.members.filter((member) => member.pod !== gone);
  assert.ok(orphans.length > 0 && others.length > 0, `the pods hold ${[...swarm.byPod().values()]}`);
  const said = [];
  const say = async () => {
    said.push(said.length);
    await api.ask(witness, "/api/publish", { room: ROOM, event: "tick", args: [said.at(-1)] });
  };
  const heardLast = (members) =>
    until(`${members.length} clients hear what was said`, () => members.every(({ heard }) => heard.includes(said.at(-1))));

  await s.step("all members received the messages before the kill", async () => {
    await say();
    await heardLast(swarm.members);
  });

  await s.step("a request that waits for the killed pod ends at its deadline and names it", async () => {
    const closed = await nodes.closed();
    if (closed) {
      s.note(`the pod is deleted by force, not killed: ${closed}`);
      await kubectl("delete", "pod", "-n", release.namespace, victim.name, "--force", "--grace-period=0");
      await within("the members of a room", api.ask(witness, `/api/rooms/${ROOM}`), 15_000);
      return;
    }
    // Stopped first, so that the request is asked of a process that will never answer it.
    await nodes.signal(victim.object, "rookery", "STOP");
    const waiting = api.ask(witness, `/api/rooms/${ROOM}`);
    await nodes.signal(victim.object, "rookery", "KILL");
    const answer = await within("the members of a room", waiting, 15_000);
    assert.deepEqual(answer.unanswered, [gone]);
    assert.deepEqual(answer.members.map(({ id }) => id).sort(), others.map(({ socket }) => socket.id).sort());
  });

  await s.step("members on other pods receive messages meanwhile", async () => {
    await say();
    await heardLast(others);
  });

  await s.step("its clients reconnect to other pods by themselves", async () => {
    await swarm.settled();
    for (const { connects, disconnects } of orphans) {
      assert.equal(disconnects.length, 1, JSON.stringify(disconnects));
      assert.notEqual(connects.at(-1).pod, gone);
    }
  });

  await s.step("messages to the room reach all members again, each once", async () => {
    await say();
    await heardLast(swarm.members);
    for (const { heard } of others) assert.deepEqual(heard, said);
    for (const { heard } of orphans) assert.equal(new Set(heard).size, heard.length);
  });

  await s.step("a new pod replaces it, and no other client was disconnected", async () => {
    await release.ready(3);
    assert.deepEqual(others.filter(({ disconnects }) => disconnects.length > 0), []);
    await until("the room's members are known by all", async () => {
      const { members, unanswered } = await api.ask(witness, `/api/rooms/${ROOM}`);
      return members.length === CLIENTS && unanswered.length === 0;
    });
  });
});
