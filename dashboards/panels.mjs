// What panels of both dashboards have in common. Every panel has a description that says what is
// good, a unit, and its width in the 24 columns of a dashboard.
import { PanelBuilder as BarGauge } from "@grafana/grafana-foundation-sdk/bargauge";
import {
  BarGaugeDisplayMode,
  BigValueColorMode,
  BigValueGraphMode,
  GraphThresholdsStyleConfigBuilder,
  GraphThresholdsStyleMode,
  LegendDisplayMode,
  LegendPlacement,
  ReduceDataOptionsBuilder,
  ScaleDistribution,
  ScaleDistributionConfigBuilder,
  SortOrder,
  StackingConfigBuilder,
  StackingMode,
  TooltipDisplayMode,
  VisibilityMode,
  VizLegendOptionsBuilder,
  VizOrientation,
  VizTooltipOptionsBuilder,
} from "@grafana/grafana-foundation-sdk/common";
import { RowBuilder, ThresholdsConfigBuilder, ThresholdsMode } from "@grafana/grafana-foundation-sdk/dashboard";
import { HeatmapColorMode, HeatmapColorOptionsBuilder, PanelBuilder as Heatmap, YAxisConfigBuilder } from "@grafana/grafana-foundation-sdk/heatmap";
import { DataqueryBuilder, PromQueryFormat } from "@grafana/grafana-foundation-sdk/prometheus";
import { PanelBuilder as Stat } from "@grafana/grafana-foundation-sdk/stat";
import { PanelBuilder as Table } from "@grafana/grafana-foundation-sdk/table";
import { PanelBuilder as TimeSeries } from "@grafana/grafana-foundation-sdk/timeseries";
import { SOURCE } from "./variables.mjs";

/** A row that panels follow. */
export const row = (title) => new RowBuilder(title);

/**
 * Lines over time: `queries` are pairs of a legend and an expression. `limit` is the value from
 * which on it is bad, `stack` piles the lines up, `log` makes the axis logarithmic.
 */
export function lines({ title, good, unit, queries, width = 8, limit, stack, log, max, colors = {} }) {
  const panel = described(new TimeSeries(), { title, good, unit, width, height: 8 })
    .lineWidth(1)
    .fillOpacity(stack ? 40 : 8)
    .showPoints(VisibilityMode.Never)
    .legend(new VizLegendOptionsBuilder().showLegend(true).displayMode(LegendDisplayMode.List).placement(LegendPlacement.Bottom).calcs([]))
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi).sort(SortOrder.Descending));
  if (stack) panel.stacking(new StackingConfigBuilder().mode(StackingMode.Normal).group("A"));
  if (log) panel.scaleDistribution(new ScaleDistributionConfigBuilder().type(ScaleDistribution.Log).log(10));
  else panel.min(0);
  if (max !== undefined) panel.max(max);
  if (limit !== undefined) {
    panel.thresholds(steps(["green", null], ["red", limit])).thresholdsStyle(new GraphThresholdsStyleConfigBuilder().mode(GraphThresholdsStyleMode.Dashed));
  }
  for (const [name, color] of Object.entries(colors)) {
    panel.overrideByName(name, [{ id: "color", value: { mode: "fixed", fixedColor: color } }]);
  }
  return asking(panel, queries, (query) => query.range());
}

/** One figure, now; `levels` are pairs of a colour and the value from which on it holds. */
export function figure({ title, good, unit, query, levels = [["blue", null]], decimals, none, mappings }) {
  const panel = described(new Stat(), { title, good, unit, width: 3, height: 4 })
    .thresholds(steps(...levels))
    .colorMode(BigValueColorMode.Value)
    .graphMode(BigValueGraphMode.Area)
    .reduceOptions(new ReduceDataOptionsBuilder().calcs(["lastNotNull"]).values(false));
  if (decimals !== undefined) panel.decimals(decimals);
  if (none) panel.noValue(none);
  if (mappings) panel.mappings(mappings);
  return asking(panel, [["", query]], (one) => one.range());
}

/** Rows of names and figures, the largest first. */
export function ranking({ title, good, unit, name, value, query, width = 8 }) {
  const panel = described(new Table(), { title, good, unit, width, height: 10 })
    .filterable(false)
    .withTransformation({ id: "organize", options: { excludeByName: { Time: true }, renameByName: { namespace: "Namespace", [name]: capital(name), Value: value } } })
    .withTransformation({ id: "sortBy", options: { fields: {}, sort: [{ field: value, desc: true }] } });
  return asking(panel, [["", query]], (one) => one.instant().format(PromQueryFormat.Table));
}

/** The same as bars. */
export function bars({ title, good, unit, query, legend, width = 8 }) {
  const panel = described(new BarGauge(), { title, good, unit, width, height: 10 })
    .displayMode(BarGaugeDisplayMode.Gradient)
    .orientation(VizOrientation.Horizontal)
    .min(0)
    .thresholds(steps(["blue", null]))
    .reduceOptions(new ReduceDataOptionsBuilder().calcs(["lastNotNull"]).values(false))
    .withTransformation({ id: "sortBy", options: { fields: {}, sort: [{ field: "Value", desc: true }] } });
  return asking(panel, [[legend, query]], (one) => one.instant());
}

/** How often each bucket of a histogram was hit, over time; one such panel for each value of `repeat`. */
export function heatmap({ title, good, unit, query, repeat, width = 24 }) {
  const panel = described(new Heatmap(), { title, good, unit, width, height: 9 })
    .calculate(false)
    .color(new HeatmapColorOptionsBuilder().mode(HeatmapColorMode.Scheme).scheme("Turbo").steps(64).fill("dark-orange").exponent(0.5).reverse(false))
    .yAxis(new YAxisConfigBuilder().unit(unit))
    .cellGap(1)
    .showLegend()
    .repeat(repeat)
    .repeatDirection("h")
    .maxPerRow(2);
  return asking(panel, [["{{le}}", query]], (one) => one.range().format(PromQueryFormat.Heatmap));
}

function described(panel, { title, good, unit, width, height }) {
  return panel.title(title).description(good).unit(unit).span(width).height(height).datasource(SOURCE);
}

function asking(panel, queries, kind) {
  queries.forEach(([legend, expr], index) => {
    const query = new DataqueryBuilder().refId(String.fromCharCode(65 + index)).expr(expr).datasource(SOURCE);
    if (legend !== "") query.legendFormat(legend);
    panel.withTarget(kind(query));
  });
  return panel;
}

function steps(...levels) {
  return new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps(levels.map(([color, value]) => ({ color, value })));
}

const capital = (word) => word[0].toUpperCase() + word.slice(1);
