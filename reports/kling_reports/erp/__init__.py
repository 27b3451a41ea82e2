"""The journal of a month for an ERP: double-entry lines as a mapping file says (docs/erp.md)."""
