// Holds dashboards to Grafana's own types: node grafana/schema.mjs NODE_MODULES DASHBOARD.json…
//
// Grafana publishes its dashboard model as TypeScript (@grafana/schema), panels' options included. That is
// made into a JSON Schema here, and each dashboard held to it: a misspelt key, a wrong word or a wrong type
// is named with its place. grafana/check installs what it needs and calls it.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const [modules, ...files] = process.argv.slice(2);
const require = createRequire(join(modules, 'x.js'));
const { createGenerator } = require('ts-json-schema-generator');
const Ajv = require('ajv').default;

// Every kind of panel that the dashboards use.
const PANELS = { stat: 'Stat', table: 'Table', timeseries: 'TimeSeries', 'state-timeline': 'StateTimeline' };

const raw = '@grafana/schema/dist/esm/raw';
const imports = Object.values(PANELS).map((name) => {
  const path = `${raw}/composable/${name.toLowerCase()}/panelcfg/x/${name}PanelCfg_types.gen`;
  return `import type * as ${name} from '${path}';`;
});
// Settings of fields: a stat has none, a table those of all tables, the others their own.
const known = { Stat: '{}', Table: 'common.TableFieldOptions' };
const fields = (name) => known[name] ?? `${name}.FieldConfig`;
const panels = Object.entries(PANELS).map(
  ([type, name]) => `export type Panel${name} = Of<'${type}', ${name}.Options, ${fields(name)}>;`,
);
const source = `
${imports.join('\n')}
import type * as common from '@grafana/schema';
import type * as model from '${raw}/dashboard/x/Dashboard_types.gen';
interface Target { refId: string; expr: string; legendFormat?: string; format?: 'table'; instant?: boolean }
interface Of<T, O, C> extends Omit<model.Panel, 'type' | 'options' | 'fieldConfig' | 'targets'> {
  type: T; options: Partial<O>; targets: Target[];
  fieldConfig: { overrides: model.FieldConfigSource['overrides'];
    defaults: Omit<model.FieldConfig, 'custom'> & { custom?: Partial<C> } };
}
// What the plugin for Prometheus adds to an annotation; the model leaves that open.
interface Annotation extends model.AnnotationQuery {
  expr: string; step: string; titleFormat: string; textFormat: string;
}
export interface File extends Omit<model.Dashboard, 'panels' | 'annotations'> {
  annotations: { list: Annotation[] };
  panels: unknown[];
}
export type PanelRow = model.RowPanel;
${panels.join('\n')}
`;

const folder = mkdtempSync(join(modules, '..', 'types-'));
let schema;
try {
  const path = join(folder, 'file.ts');
  writeFileSync(path, source);
  const tsconfig = join(folder, 'tsconfig.json');
  const compilerOptions = { module: 'esnext', moduleResolution: 'bundler', strict: true };
  writeFileSync(tsconfig, JSON.stringify({ compilerOptions, files: ['file.ts'] }));
  schema = createGenerator({ path, tsconfig, type: '*', skipTypeCheck: true }).createSchema('*');
} finally {
  rmSync(folder, { recursive: true });
}

// Grafana fills in what is left out; what is there must be right.
const lax = (node) => {
  if (Array.isArray(node)) return node.map(lax);
  if (node === null || typeof node !== 'object') return node;
  const kept = Object.entries(node).filter(([key, value]) => key !== 'required' || !Array.isArray(value));
  return Object.fromEntries(kept.map(([key, value]) => [key, lax(value)]));
};
const ajv = new Ajv({ allErrors: true, strict: false });
ajv.addSchema(lax(schema), 'grafana');
const holds = (name) => ajv.getSchema(`grafana#/definitions/${name}`);

let code = 0;
for (const file of files) {
  const dashboard = JSON.parse(readFileSync(file, 'utf8'));
  const judge = (validate, value, place) => {
    if (validate(value)) return;
    code = 1;
    for (const { instancePath, message, params } of validate.errors) {
      console.error(`${file}: ${place}${instancePath} ${message} ${JSON.stringify(params)}`);
    }
  };
  judge(holds('File'), dashboard, '');
  for (const panel of dashboard.panels) {
    const name = panel.type === 'row' ? 'Row' : PANELS[panel.type];
    if (name) {
      judge(holds(`Panel${name}`), panel, `panel ${panel.id}`);
    } else {
      code = 1;
      console.error(`${file}: panel ${panel.id} is of a type that is not known here: ${panel.type}`);
    }
  }
}
process.exit(code);
