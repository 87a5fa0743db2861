"""The stations staging, core and features, and the marts downstream of the models: dbt's part of the graph."""
