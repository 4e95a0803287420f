// What a generated dashboard has to be, in Grafana's own types. The test writes each dashboard as a literal of this type
// beside this file, so that the compiler refuses unknown fields, wrong enum values and missing options at every depth.

import type {
  Dashboard,
  DataQuery,
  FieldColor,
  FieldConfig,
  GraphFieldConfig,
  MatcherConfig,
  Panel,
  RowPanel,
  ValueMapping,
} from "@grafana/schema";
import type { Options as StatOptions } from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type { Options as TimeSeriesOptions } from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

/** A type as JSON writes it: an enum of strings is the strings themselves. */
type Wire<T> = unknown extends T
  ? T
  : T extends string
    ? `${T}`
    : T extends object
      ? { [K in keyof T]: Wire<T[K]> }
      : T;

/** Grafana's schema has no type for the queries of its InfluxDB datasource; these are the fields that it reads. */
interface InfluxQLQuery extends Omit<DataQuery, "datasource"> {
  datasource: { type: "influxdb"; uid: string };
  query: string;
  rawQuery: true;
  resultFormat: "time_series" | "table";
  alias: string;
}

interface Override {
  matcher: MatcherConfig & { id: "byFrameRefID"; options: string };
  properties: Array<
    | { id: "mappings"; value: ValueMapping[] }
    | { id: "color"; value: FieldColor }
    | { id: "custom.spanNulls"; value: boolean | number }
  >;
}

interface Typed<Kind extends string, Options, Custom>
  extends Omit<Panel, "type" | "options" | "fieldConfig" | "targets" | "description" | "title" | "gridPos"> {
  type: Kind;
  title: string;
  description: string;
  gridPos: { x: number; y: number; w: number; h: number };
  options: Options;
  fieldConfig: { defaults: Omit<FieldConfig, "custom"> & Custom; overrides: Override[] };
  targets: InfluxQLQuery[];
}

type Stat = Typed<"stat", StatOptions, object>;
type TimeSeries = Typed<"timeseries", TimeSeriesOptions, { custom: GraphFieldConfig }>;

export type GeneratedDashboard = Wire<
  Omit<Dashboard, "panels" | "schemaVersion"> & {
    schemaVersion: 42;
    uid: string;
    title: string;
    panels: Array<Stat | TimeSeries | RowPanel>;
  }
>;
