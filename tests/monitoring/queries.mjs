// Queries of dashboards and alerts, as a test asks them.

/** Alerts about something that is not there: in a healthy system it is, and so what they look for is asked. */
const ABSENT = ["RookeryAbsent", "RookeryOperatorAbsent"];

/** A query as Grafana would ask it: with everything chosen, but what `chosen` says. */
export function asked(expr, dashboard, chosen = {}) {
  const all = dashboard.templating.list.map(({ name, allValue }) => [name, allValue]);
  const values = { ...Object.fromEntries(all), __rate_interval: "1m", ...chosen };
  return expr.replace(/\$\{?([a-z_]+)\}?/g, (_, name) => {
    if (values[name] === undefined) throw new Error(`$${name} has no value`);
    return values[name];
  });
}

/** An alert's condition as figures: comparisons answer 0 or 1 instead of leaving out what is not so. */
export function figures(alert, condition) {
  if (ABSENT.includes(alert)) return condition.replace(/^absent\((.*)\)$/, "$1");
  return condition.replace(/\s(>|!=|==) (?=[0-9])/g, " $1 bool ");
}
