"""Guards: what the database itself refuses, and how a statement refuses itself."""

from __future__ import annotations

from typing import Final

from kling_ledger.ledger.schema import EXPECTATION_FAILED

_APPEND_ONLY: Final = (
    "transfer",
    "purchase_lot",
    "job_event",
    "budget_event",
    "budget_raise",
    "sealed_transfer",
    "provider_balance",
)
_KEPT: Final = (
    "reservation",
    "idempotency",
    "budget",
    "budget_window",
    "token",
    "approval",
)
_FORBIDDEN: Final = (
    *((table, verb, "") for table in _APPEND_ONLY for verb in ("UPDATE", "DELETE")),
    *((table, "DELETE", "") for table in _KEPT),
    # Foreign keys ensure that nothing else belongs to a wallet that is deleted.
    (
        "wallet",
        "DELETE",
        "WHEN (OLD.funded_micro <> 0 OR OLD.adjusted_micro <> 0 OR OLD.reserved_micro <> 0)",
    ),
    *(("period", verb, "WHEN (OLD.state = 'hard')") for verb in ("UPDATE", "DELETE")),
)
"""What the database itself refuses, no matter who asks: (table, verb, condition)."""

_REFUSE_FUNCTION: Final = """
CREATE FUNCTION kling_ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = 'restrict_violation'; END $$
"""
_LABEL_FUNCTION: Final = """
CREATE FUNCTION kling_ledger_label() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO reservation_label (label, created_at, reservation_id)
    SELECT label, NEW.created_at, NEW.id
    FROM unnest(string_to_array(trim(both ',' FROM NEW.labels), ',')) AS label;
    RETURN NULL;
END $$
"""
_LABEL_TRIGGER: Final = (
    "CREATE TRIGGER reservation_labels AFTER INSERT ON reservation FOR EACH ROW "
    "WHEN (NEW.labels IS NOT NULL) EXECUTE FUNCTION kling_ledger_label()"
)
_LABEL_TRIGGER_OF_A_FILE: Final = (
    "CREATE TRIGGER reservation_labels AFTER INSERT ON reservation WHEN (NEW.labels IS NOT NULL) "
    "BEGIN INSERT INTO reservation_label (label, created_at, reservation_id) "
    "SELECT value, NEW.created_at, NEW.id "
    """FROM json_each('["' || replace(trim(NEW.labels, ','), ',', '","') || '"]'); END"""
)
"""Keeps each label of a reservation as a row: labels are words without quotes or commas."""

_EXPECT_FUNCTION: Final = f"""
CREATE FUNCTION kling_ledger_expect(changed bigint, expected bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    IF changed <> expected THEN
        RAISE EXCEPTION USING ERRCODE = '{EXPECTATION_FAILED}',
            MESSAGE = 'changed ' || changed || ' rows, expected ' || expected;
    END IF;
    RETURN true;
END $$
"""


def guards(dialect: str) -> tuple[str, ...]:
    """Return the statements that make the database refuse changes to history.

    They also keep the labels of reservations, and on PostgreSQL create the function by which a
    statement refuses its own transaction.
    """
    if dialect == "sqlite":
        return (
            *(
                f"CREATE TRIGGER {table}_never_{verb.lower()} BEFORE {verb} ON {table} {condition} "
                f"BEGIN SELECT RAISE(ABORT, '{_refusal(table, verb)}'); END"
                for table, verb, condition in _FORBIDDEN
            ),
            _LABEL_TRIGGER_OF_A_FILE,
        )
    return (
        _REFUSE_FUNCTION,
        *(
            f"CREATE TRIGGER {table}_never_{verb.lower()} BEFORE {verb} ON {table} FOR EACH ROW "
            f"{condition} EXECUTE FUNCTION kling_ledger_refuse('{_refusal(table, verb)}')"
            for table, verb, condition in _FORBIDDEN
        ),
        *(
            f"CREATE TRIGGER {table}_never_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT "
            f"EXECUTE FUNCTION kling_ledger_refuse('{_refusal(table, 'TRUNCATE')}')"
            for table in (*_APPEND_ONLY, "wallet", *_KEPT, "period")
        ),
        _EXPECT_FUNCTION,
        _LABEL_FUNCTION,
        _LABEL_TRIGGER,
    )


def _refusal(table: str, verb: str) -> str:
    if table == "wallet":
        return "a wallet is never deleted once it was used"
    if table in _KEPT:
        return f"a {table} is never deleted"
    if table == "period":
        return "a period that is closed hard stays as it is"
    return f"{table} is append-only: no {verb}, post a correction instead"
