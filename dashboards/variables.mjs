// The variables at the top of a dashboard, and the matchers that apply them to queries.
import {
  DashboardBuilder,
  DashboardLinkBuilder,
  DashboardLinkType,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  VariableRefresh,
  VariableSort,
} from "@grafana/grafana-foundation-sdk/dashboard";

/** The selected Prometheus data source. */
export const SOURCE = { type: "prometheus", uid: "${datasource}" };

/** A pod is named after its service, followed by a hash and five characters. */
const HASH = "-[a-z0-9]+-[a-z0-9]{5}";

/** Matchers for every series: the selected values, or all. */
export const CHOSEN = `namespace=~"\${namespace}",pod=~"\${service}(${HASH})?",pod=~"\${pod}"`;

/** A dashboard with the common variables, and `more`. */
export function dashboard({ uid, title, description, more = [] }) {
  const made = new DashboardBuilder(title)
    .uid(uid)
    .description(description)
    .tags(["rookery"])
    .timezone("browser")
    .time({ from: "now-1h", to: "now" })
    .refresh("30s")
    .link(new DashboardLinkBuilder("Rookery").type(DashboardLinkType.Dashboards).tags(["rookery"]).asDropdown(false).includeVars(true).keepTime(true))
    .withVariable(new DatasourceVariableBuilder("datasource").label("Prometheus").type("prometheus"))
    .withVariable(values("namespace", "Namespace", "label_values(rookery_connections, namespace)"))
    .withVariable(values("service", "Service", 'label_values(rookery_connections{namespace=~"${namespace}"}, pod)').regex(`/^(.+)${HASH}$/`))
    .withVariable(values("pod", "Pod", `label_values(rookery_connections{namespace=~"\${namespace}",pod=~"\${service}(${HASH})?"}, pod)`));
  more.forEach((variable) => made.withVariable(variable));
  return made;
}

/** A variable whose values come from a query; initially all are selected. */
export function values(name, label, query) {
  return new QueryVariableBuilder(name)
    .label(label)
    .query({ query, refId: name, qryType: 5 })
    .datasource(SOURCE)
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc)
    .multi(true)
    .includeAll(true)
    .allValue(".*")
    .current({ selected: true, text: ["All"], value: ["$__all"] });
}
