"""The journal of a month for an ERP, by a mapping file: docs/how-to/erp.md."""
