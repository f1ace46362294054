"""The run record: how it is written, checked against its schemas, and judged again."""
