"""The row engine: staged text to plans, payloads, outcomes and snapshots; columnar, on DuckDB and Arrow."""
