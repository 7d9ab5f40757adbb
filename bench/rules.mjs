// The cost of room rules: CPU time of an event from the only member of a room, with no rule, with a rule
// without an expression, and with a CEL expression for `publish`.

import { decimal, spread, summarise } from "./draw.mjs";
import { ROWS } from "./rows.mjs";
import { generate, start } from "./servers.mjs";
import { credentials } from "./tokens.mjs";

const DEFAULT = "no room rules";
const RULES = {
  [DEFAULT]: "",
  "a rule without an expression": `rooms: [{ match: "bench-{n}" }]`,
  "a rule with a CEL expression for publish": `rooms: [{ match: "bench-{n}", publish: "'bench' in claims.workspaces && 'editor' in claims.roles" }]`,
};

export const rules = {
  key: "rule-cel",
  async measure(time, { against }) {
    const jwt = credentials("HS256");
    const { args } = ROWS.find((row) => row.key === "one-member");
    const measured = {};
    for (const system of against ? ["rookery", "before"] : ["rookery"]) {
      measured[system] = {};
      for (const [name, more] of Object.entries(RULES)) {
        const server = await start[system]({ cores: "0", jwt, more });
        try {
          const report = await generate("1", [server], [...time, ...args, "--token", jwt.token]);
          measured[system][name] = 1e9 / report.deliveriesPerCpuSecond;
        } finally {
          await server.stop();
        }
      }
    }
    return measured;
  },
  line(rounds) {
    const systems = Object.keys(rounds[0]);
    return Object.keys(RULES).map((name) => {
      const row = { key: this.key, name: `CPU of an event and its delivery, one member a room, ${name}`, systems };
      const line = summarise({ ...row, metric: (report) => report[name], unit: "ns", digits: 0 }, rounds);
      const more = (system) => rounds.map((round) => round[system][name] - round[system][DEFAULT]);
      const cells = Object.fromEntries(systems.map((system) => [system, spread(more(system), decimal(0), " ns")]));
      return name === DEFAULT ? line : { ...line, details: [{ name: `more than with ${DEFAULT}`, cells }] };
    });
  },
};
