// Holds dashboards to Grafana's own types: those that its Foundation SDK is generated with from the
// schemas of the dashboard, of each kind of panel, and of Prometheus's queries. The compiler looks
// at the JSON itself, so that an unknown field, a missing one, or a value that is not among those
// allowed is an error, wherever it came from.
import { fileURLToPath } from "node:url";
import ts from "typescript";

const SDK = "@grafana/grafana-foundation-sdk";

/** The kinds of panels that there may be: each a module with `Options`, and perhaps `FieldConfig`. */
const KINDS = { timeseries: true, stat: false, table: true, bargauge: false, heatmap: true };

/** A type as JSON has it: enumerations are their values, methods are not there. */
const PLAIN = `
type Plain<T> = 0 extends 1 & T ? any
  : T extends string ? (string extends T ? string : \`\${T}\`)
  : T extends number ? (number extends T ? number : \`\${T}\` extends \`\${infer N extends number}\` ? N : never)
  : T extends boolean | null | undefined ? T
  : T extends (infer Item)[] ? Plain<Item>[]
  : { [K in keyof T as T[K] extends (...args: any[]) => any ? never : K]: Plain<T[K]> };
type Board = Omit<Plain<dashboard.Dashboard>, "panels">;
type Row = Plain<dashboard.RowPanel>;
type Shown<Kind, Options, Custom> = Omit<Plain<dashboard.Panel>, "type" | "targets" | "options" | "fieldConfig"> & {
  type: Kind;
  targets: Plain<prometheus.dataquery>[];
  options?: Partial<Plain<Options>>;
  fieldConfig: Omit<Plain<dashboard.FieldConfigSource>, "defaults"> & {
    defaults: Omit<Plain<dashboard.FieldConfig>, "custom"> & { custom?: Plain<Custom> };
  };
};`;

const kinds = Object.keys(KINDS);
const imports = ["dashboard", "prometheus", ...kinds].map((name) => `import * as ${name} from "${SDK}/${name}";`);
const types = kinds.map((kind) => `type In_${kind} = Shown<"${kind}", ${kind}.Options, ${KINDS[kind] ? `${kind}.FieldConfig` : "never"}>;`);

/** What is wrong with a dashboard: sentences of the compiler, each with the panel's title. */
export function complaints(dashboard) {
  const { panels, ...board } = dashboard;
  const unknown = panels.filter(({ type }) => type !== "row" && !(type in KINDS));
  const known = panels.filter((panel) => !unknown.includes(panel));
  const literals = [
    ["the dashboard", `const board: Board = ${JSON.stringify(board)};`],
    ...known.map((panel, index) => [
      `panel ${panel.title}`,
      `const panel${index}: ${panel.type === "row" ? "Row" : `In_${panel.type}`} = ${JSON.stringify(panel)};`,
    ]),
  ];
  const head = [...imports, PLAIN, ...types].join("\n").split("\n");
  const found = compiled([...head, ...literals.map(([, literal]) => literal)].join("\n"));
  return [
    ...unknown.map(({ title, type }) => `panel ${title}: ${type} is no kind of panel that is checked`),
    ...found.map(({ line, text }) => `${literals[line - head.length]?.[0] ?? "the types"}: ${text}`),
  ];
}

/** The compiler's errors in a program of one file, which lies beside this one. */
function compiled(source) {
  const file = fileURLToPath(new URL("./literal.ts", import.meta.url));
  const options = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: [],
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ES2022,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
  };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists, readFile } = host;
  host.fileExists = (name) => name === file || fileExists(name);
  host.readFile = (name) => (name === file ? source : readFile(name));
  host.getSourceFile = (name, ...rest) => (name === file ? ts.createSourceFile(name, source, options.target) : getSourceFile(name, ...rest));
  return ts.getPreEmitDiagnostics(ts.createProgram([file], options, host)).map(({ file: at, start, messageText }) => ({
    line: at === undefined ? -1 : at.getLineAndCharacterOfPosition(start).line,
    text: ts.flattenDiagnosticMessageText(messageText, " "),
  }));
}
