"""The views that programs of other people may read: version 1, see docs/reference/sql.md."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"

_SQLITE = r"""
CREATE VIEW v1_jobs AS SELECT
    job_id,
    wallet,
    state,
    project,
    provider,
    account,
    model,
    action,
    resolution,
    sound,
    billed_seconds,
    actor,
    COALESCE('{"' || replace(replace(trim(labels, ','), '=', '":"'), ',', '","') || '"}', '{}')
        AS labels,
    unit,
    substr('-', 1, quoted_micro < 0) || printf('%d.%06d', abs(quoted_micro) / 1000000,
        abs(quoted_micro) % 1000000) AS quoted,
    quoted_micro,
    substr('-', 1, estimated_micro < 0) || printf('%d.%06d', abs(estimated_micro) / 1000000,
        abs(estimated_micro) % 1000000) AS estimated,
    estimated_micro,
    substr('-', 1, reserved_micro < 0) || printf('%d.%06d', abs(reserved_micro) / 1000000,
        abs(reserved_micro) % 1000000) AS reserved,
    reserved_micro,
    substr('-', 1, held_micro < 0) || printf('%d.%06d', abs(held_micro) / 1000000,
        abs(held_micro) % 1000000) AS held,
    held_micro,
    substr('-', 1, settled_micro < 0) || printf('%d.%06d', abs(settled_micro) / 1000000,
        abs(settled_micro) % 1000000) AS settled,
    settled_micro,
    settled_by,
    substr('-', 1, refunded_micro < 0) || printf('%d.%06d', abs(refunded_micro) / 1000000,
        abs(refunded_micro) % 1000000) AS refunded,
    refunded_micro,
    substr('-', 1, spent_micro < 0) || printf('%d.%06d', abs(spent_micro) / 1000000,
        abs(spent_micro) % 1000000) AS spent,
    spent_micro,
    substr('-', 1, spent_usd_micro < 0) || printf('%d.%06d', abs(spent_usd_micro) / 1000000,
        abs(spent_usd_micro) % 1000000) AS spent_usd,
    spent_usd_micro,
    task_id,
    problem,
    strftime('%Y-%m-%d', day / 1000000, 'unixepoch') AS day,
    strftime('%Y-%m-%dT%H:%M:%S', created_at / 1000000, 'unixepoch') || printf('.%06dZ',
        created_at % 1000000) AS created_at,
    strftime('%Y-%m-%dT%H:%M:%S', updated_at / 1000000, 'unixepoch') || printf('.%06dZ',
        updated_at % 1000000) AS updated_at
FROM (SELECT
    reservation.id AS job_id,
    wallet.name AS wallet,
    reservation.state AS state,
    reservation.project AS project,
    reservation.provider AS provider,
    reservation.account AS account,
    reservation.model AS model,
    reservation.action AS action,
    reservation.resolution AS resolution,
    reservation.sound AS sound,
    reservation.billed_seconds AS billed_seconds,
    reservation.actor AS actor,
    reservation.labels AS labels,
    reservation.unit AS unit,
    CASE WHEN reservation.quoted_micro IS NOT NULL THEN reservation.quoted_micro WHEN
        reservation.estimated_micro IS NOT NULL THEN NULL WHEN reservation.provider_held_micro IS
        NULL THEN reservation.reserved_micro ELSE (SELECT first.amount_micro FROM transfer AS
        first WHERE first.reservation_id = reservation.id AND first.kind = 'reserve' ORDER BY
        first.id LIMIT 1) END AS quoted_micro,
    reservation.estimated_micro AS estimated_micro,
    reservation.reserved_micro AS reserved_micro,
    reservation.held_micro AS held_micro,
    reservation.committed_micro AS settled_micro,
    reservation.settled_by AS settled_by,
    reservation.refunded_micro AS refunded_micro,
    COALESCE(reservation.committed_micro, 0) - reservation.refunded_micro AS spent_micro,
    CASE WHEN reservation.unit = 'USD' THEN COALESCE(reservation.committed_micro, 0) -
        reservation.refunded_micro ELSE reservation.usd_spent_micro END AS spent_usd_micro,
    reservation.task_id AS task_id,
    reservation.problem AS problem,
    reservation.created_at AS day,
    reservation.created_at AS created_at,
    reservation.updated_at AS updated_at
FROM reservation LEFT JOIN wallet ON wallet.id = reservation.wallet_id
) AS known;
CREATE VIEW v1_spend AS SELECT
    transfer_id,
    job_id,
    kind,
    period,
    corrects,
    strftime('%Y-%m-%d', day / 1000000, 'unixepoch') AS day,
    strftime('%Y-%m-%dT%H:%M:%S', posted_at / 1000000, 'unixepoch') || printf('.%06dZ', posted_at
        % 1000000) AS posted_at,
    wallet,
    project,
    provider,
    account,
    model,
    action,
    resolution,
    sound,
    billed_seconds,
    actor,
    COALESCE('{"' || replace(replace(trim(labels, ','), '=', '":"'), ',', '","') || '"}', '{}')
        AS labels,
    unit,
    substr('-', 1, amount_micro < 0) || printf('%d.%06d', abs(amount_micro) / 1000000,
        abs(amount_micro) % 1000000) AS amount,
    amount_micro,
    strftime('%Y-%m-%dT%H:%M:%S', reserved_at / 1000000, 'unixepoch') || printf('.%06dZ',
        reserved_at % 1000000) AS reserved_at
FROM (SELECT
    transfer.id AS transfer_id,
    transfer.reservation_id AS job_id,
    transfer.kind AS kind,
    transfer.period AS period,
    transfer.corrects AS corrects,
    transfer.created_at AS day,
    transfer.created_at AS posted_at,
    wallet.name AS wallet,
    reservation.project AS project,
    reservation.provider AS provider,
    reservation.account AS account,
    reservation.model AS model,
    reservation.action AS action,
    reservation.resolution AS resolution,
    reservation.sound AS sound,
    reservation.billed_seconds AS billed_seconds,
    reservation.actor AS actor,
    reservation.labels AS labels,
    transfer.unit AS unit,
    transfer.amount_micro * CASE WHEN transfer.kind = 'refund' THEN -1 ELSE 1 END AS amount_micro,
    reservation.created_at AS reserved_at
FROM transfer LEFT JOIN reservation ON reservation.id = transfer.reservation_id LEFT JOIN wallet
        ON wallet.id = transfer.wallet_id WHERE transfer.kind IN ('commit', 'overrun',
        'late_commit', 'refund')
) AS known;
CREATE VIEW v1_transfers AS SELECT
    transfer_id,
    kind,
    period,
    corrects,
    strftime('%Y-%m-%d', day / 1000000, 'unixepoch') AS day,
    strftime('%Y-%m-%dT%H:%M:%S', posted_at / 1000000, 'unixepoch') || printf('.%06dZ', posted_at
        % 1000000) AS posted_at,
    wallet,
    unit,
    substr('-', 1, amount_micro < 0) || printf('%d.%06d', abs(amount_micro) / 1000000,
        abs(amount_micro) % 1000000) AS amount,
    amount_micro,
    debit_account,
    credit_account,
    job_id,
    actor,
    reason
FROM (SELECT
    transfer.id AS transfer_id,
    transfer.kind AS kind,
    transfer.period AS period,
    transfer.corrects AS corrects,
    transfer.created_at AS day,
    transfer.created_at AS posted_at,
    wallet.name AS wallet,
    transfer.unit AS unit,
    transfer.amount_micro AS amount_micro,
    replace(transfer.debit_account, wallet.id, wallet.name) AS debit_account,
    replace(transfer.credit_account, wallet.id, wallet.name) AS credit_account,
    transfer.reservation_id AS job_id,
    transfer.actor AS actor,
    transfer.reason AS reason
FROM transfer LEFT JOIN wallet ON wallet.id = transfer.wallet_id
) AS known;
CREATE VIEW v1_budgets AS SELECT
    budget,
    mode,
    wallet,
    project,
    provider,
    model,
    label,
    repeats,
    timezone,
    strftime('%Y-%m-%dT%H:%M:%S', starts_at / 1000000, 'unixepoch') || printf('.%06dZ', starts_at
        % 1000000) AS starts_at,
    strftime('%Y-%m-%dT%H:%M:%S', ends_at / 1000000, 'unixepoch') || printf('.%06dZ', ends_at %
        1000000) AS ends_at,
    unit,
    substr('-', 1, base_limit_micro < 0) || printf('%d.%06d', abs(base_limit_micro) / 1000000,
        abs(base_limit_micro) % 1000000) AS base_limit,
    base_limit_micro,
    substr('-', 1, spent_micro < 0) || printf('%d.%06d', abs(spent_micro) / 1000000,
        abs(spent_micro) % 1000000) AS spent,
    spent_micro,
    substr('-', 1, reserved_micro < 0) || printf('%d.%06d', abs(reserved_micro) / 1000000,
        abs(reserved_micro) % 1000000) AS reserved,
    reserved_micro,
    strftime('%Y-%m-%dT%H:%M:%S', created_at / 1000000, 'unixepoch') || printf('.%06dZ',
        created_at % 1000000) AS created_at,
    strftime('%Y-%m-%dT%H:%M:%S', removed_at / 1000000, 'unixepoch') || printf('.%06dZ',
        removed_at % 1000000) AS removed_at
FROM (SELECT
    budget.name AS budget,
    budget.mode AS mode,
    wallet.name AS wallet,
    budget.project AS project,
    budget.provider AS provider,
    budget.model AS model,
    budget.label AS label,
    budget.repeats AS repeats,
    budget.timezone AS timezone,
    CASE WHEN budget.repeats <> 'none' THEN budget_window.starts_at END AS starts_at,
    CASE WHEN budget.repeats <> 'none' THEN budget_window.ends_at END AS ends_at,
    budget.unit AS unit,
    budget.limit_micro AS base_limit_micro,
    budget_window.spent_micro AS spent_micro,
    budget_window.held_micro AS reserved_micro,
    budget.created_at AS created_at,
    budget.removed_at AS removed_at
FROM budget LEFT JOIN (
SELECT budget_id, starts_at, ends_at,
       held_micro - COALESCE((SELECT CAST(SUM(share_micro + spent_micro) AS BIGINT) FROM slot
        WHERE slot.owner_id = budget_id AND slot.starts_at = budget_window.starts_at), 0) AS
        held_micro,
       spent_micro + COALESCE((SELECT CAST(SUM(spent_micro) AS BIGINT) FROM slot WHERE
        slot.owner_id = budget_id AND slot.starts_at = budget_window.starts_at), 0)
       AS spent_micro
FROM budget_window) AS budget_window ON budget_window.budget_id = budget.id LEFT JOIN wallet ON
        wallet.id = budget.wallet_id
) AS known;
CREATE VIEW v1_wallets AS SELECT
    wallet,
    unit,
    substr('-', 1, funded_micro < 0) || printf('%d.%06d', abs(funded_micro) / 1000000,
        abs(funded_micro) % 1000000) AS funded,
    funded_micro,
    substr('-', 1, adjusted_micro < 0) || printf('%d.%06d', abs(adjusted_micro) / 1000000,
        abs(adjusted_micro) % 1000000) AS adjusted,
    adjusted_micro,
    substr('-', 1, spent_micro < 0) || printf('%d.%06d', abs(spent_micro) / 1000000,
        abs(spent_micro) % 1000000) AS spent,
    spent_micro,
    substr('-', 1, posted_micro < 0) || printf('%d.%06d', abs(posted_micro) / 1000000,
        abs(posted_micro) % 1000000) AS posted,
    posted_micro,
    substr('-', 1, reserved_micro < 0) || printf('%d.%06d', abs(reserved_micro) / 1000000,
        abs(reserved_micro) % 1000000) AS reserved,
    reserved_micro,
    substr('-', 1, available_micro < 0) || printf('%d.%06d', abs(available_micro) / 1000000,
        abs(available_micro) % 1000000) AS available,
    available_micro,
    actor,
    strftime('%Y-%m-%dT%H:%M:%S', created_at / 1000000, 'unixepoch') || printf('.%06dZ',
        created_at % 1000000) AS created_at
FROM (SELECT
    wallet.name AS wallet,
    wallet.unit AS unit,
    wallet.funded_micro AS funded_micro,
    wallet.adjusted_micro AS adjusted_micro,
    wallet.funded_micro + wallet.adjusted_micro - wallet.posted_micro AS spent_micro,
    wallet.posted_micro AS posted_micro,
    wallet.reserved_micro AS reserved_micro,
    wallet.posted_micro - wallet.reserved_micro AS available_micro,
    wallet.actor AS actor,
    wallet.created_at AS created_at
FROM (
SELECT id, name, unit, funded_micro, adjusted_micro, actor, created_at, costing,
       posted_micro - COALESCE((SELECT CAST(SUM(spent_micro) AS BIGINT) FROM slot WHERE
        slot.owner_id = wallet.id AND slot.starts_at = 0), 0) AS posted_micro,
       reserved_micro - COALESCE((SELECT CAST(SUM(share_micro + spent_micro) AS BIGINT) FROM slot
        WHERE slot.owner_id = wallet.id AND slot.starts_at = 0), 0) AS reserved_micro
FROM wallet) AS wallet
) AS known
"""
_POSTGRES = r"""
CREATE VIEW v1_jobs AS SELECT
    job_id,
    wallet,
    state,
    project,
    provider,
    account,
    model,
    action,
    resolution,
    CAST(sound AS integer) AS sound,
    billed_seconds,
    actor,
    COALESCE('{"' || replace(replace(trim(labels, ','), '=', '":"'), ',', '","') || '"}', '{}')
        AS labels,
    unit,
    quoted_micro * 0.000001 AS quoted,
    quoted_micro,
    estimated_micro * 0.000001 AS estimated,
    estimated_micro,
    reserved_micro * 0.000001 AS reserved,
    reserved_micro,
    held_micro * 0.000001 AS held,
    held_micro,
    settled_micro * 0.000001 AS settled,
    settled_micro,
    settled_by,
    refunded_micro * 0.000001 AS refunded,
    refunded_micro,
    spent_micro * 0.000001 AS spent,
    spent_micro,
    spent_usd_micro * 0.000001 AS spent_usd,
    spent_usd_micro,
    task_id,
    problem,
    to_char(timestamp '1970-01-01' + day * interval '1 microsecond', 'YYYY-MM-DD') AS day,
    to_char(timestamp '1970-01-01' + created_at * interval '1 microsecond',
        'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS created_at,
    to_char(timestamp '1970-01-01' + updated_at * interval '1 microsecond',
        'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS updated_at
FROM (SELECT
    reservation.id AS job_id,
    wallet.name AS wallet,
    reservation.state AS state,
    reservation.project AS project,
    reservation.provider AS provider,
    reservation.account AS account,
    reservation.model AS model,
    reservation.action AS action,
    reservation.resolution AS resolution,
    reservation.sound AS sound,
    reservation.billed_seconds AS billed_seconds,
    reservation.actor AS actor,
    reservation.labels AS labels,
    reservation.unit AS unit,
    CASE WHEN reservation.quoted_micro IS NOT NULL THEN reservation.quoted_micro WHEN
        reservation.estimated_micro IS NOT NULL THEN NULL WHEN reservation.provider_held_micro IS
        NULL THEN reservation.reserved_micro ELSE (SELECT first.amount_micro FROM transfer AS
        first WHERE first.reservation_id = reservation.id AND first.kind = 'reserve' ORDER BY
        first.id LIMIT 1) END AS quoted_micro,
    reservation.estimated_micro AS estimated_micro,
    reservation.reserved_micro AS reserved_micro,
    reservation.held_micro AS held_micro,
    reservation.committed_micro AS settled_micro,
    reservation.settled_by AS settled_by,
    reservation.refunded_micro AS refunded_micro,
    COALESCE(reservation.committed_micro, 0) - reservation.refunded_micro AS spent_micro,
    CASE WHEN reservation.unit = 'USD' THEN COALESCE(reservation.committed_micro, 0) -
        reservation.refunded_micro ELSE reservation.usd_spent_micro END AS spent_usd_micro,
    reservation.task_id AS task_id,
    reservation.problem AS problem,
    reservation.created_at AS day,
    reservation.created_at AS created_at,
    reservation.updated_at AS updated_at
FROM reservation LEFT JOIN wallet ON wallet.id = reservation.wallet_id
) AS known;
CREATE VIEW v1_spend AS SELECT
    transfer_id,
    job_id,
    kind,
    period,
    corrects,
    to_char(timestamp '1970-01-01' + day * interval '1 microsecond', 'YYYY-MM-DD') AS day,
    to_char(timestamp '1970-01-01' + posted_at * interval '1 microsecond',
        'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS posted_at,
    wallet,
    project,
    provider,
    account,
    model,
    action,
    resolution,
    CAST(sound AS integer) AS sound,
    billed_seconds,
    actor,
    COALESCE('{"' || replace(replace(trim(labels, ','), '=', '":"'), ',', '","') || '"}', '{}')
        AS labels,
    unit,
    amount_micro * 0.000001 AS amount,
    amount_micro,
    to_char(timestamp '1970-01-01' + reserved_at * interval '1 microsecond',
        'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS reserved_at
FROM (SELECT
    transfer.id AS transfer_id,
    transfer.reservation_id AS job_id,
    transfer.kind AS kind,
    transfer.period AS period,
    transfer.corrects AS corrects,
    transfer.created_at AS day,
    transfer.created_at AS posted_at,
    wallet.name AS wallet,
    reservation.project AS project,
    reservation.provider AS provider,
    reservation.account AS account,
    reservation.model AS model,
    reservation.action AS action,
    reservation.resolution AS resolution,
    reservation.sound AS sound,
    reservation.billed_seconds AS billed_seconds,
    reservation.actor AS actor,
    reservation.labels AS labels,
    transfer.unit AS unit,
    transfer.amount_micro * CASE WHEN transfer.kind = 'refund' THEN -1 ELSE 1 END AS amount_micro,
    reservation.created_at AS reserved_at
FROM transfer LEFT JOIN reservation ON reservation.id = transfer.reservation_id LEFT JOIN wallet
        ON wallet.id = transfer.wallet_id WHERE transfer.kind IN ('commit', 'overrun',
        'late_commit', 'refund')
) AS known;
CREATE VIEW v1_transfers AS SELECT
    transfer_id,
    kind,
    period,
    corrects,
    to_char(timestamp '1970-01-01' + day * interval '1 microsecond', 'YYYY-MM-DD') AS day,
    to_char(timestamp '1970-01-01' + posted_at * interval '1 microsecond',
        'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS posted_at,
    wallet,
    unit,
    amount_micro * 0.000001 AS amount,
    amount_micro,
    debit_account,
    credit_account,
    job_id,
    actor,
    reason
FROM (SELECT
    transfer.id AS transfer_id,
    transfer.kind AS kind,
    transfer.period AS period,
    transfer.corrects AS corrects,
    transfer.created_at AS day,
    transfer.created_at AS posted_at,
    wallet.name AS wallet,
    transfer.unit AS unit,
    transfer.amount_micro AS amount_micro,
    replace(transfer.debit_account, wallet.id, wallet.name) AS debit_account,
    replace(transfer.credit_account, wallet.id, wallet.name) AS credit_account,
    transfer.reservation_id AS job_id,
    transfer.actor AS actor,
    transfer.reason AS reason
FROM transfer LEFT JOIN wallet ON wallet.id = transfer.wallet_id
) AS known;
CREATE VIEW v1_budgets AS SELECT
    budget,
    mode,
    wallet,
    project,
    provider,
    model,
    label,
    repeats,
    timezone,
    to_char(timestamp '1970-01-01' + starts_at * interval '1 microsecond',
        'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS starts_at,
    to_char(timestamp '1970-01-01' + ends_at * interval '1 microsecond',
        'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS ends_at,
    unit,
    base_limit_micro * 0.000001 AS base_limit,
    base_limit_micro,
    spent_micro * 0.000001 AS spent,
    spent_micro,
    reserved_micro * 0.000001 AS reserved,
    reserved_micro,
    to_char(timestamp '1970-01-01' + created_at * interval '1 microsecond',
        'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS created_at,
    to_char(timestamp '1970-01-01' + removed_at * interval '1 microsecond',
        'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS removed_at
FROM (SELECT
    budget.name AS budget,
    budget.mode AS mode,
    wallet.name AS wallet,
    budget.project AS project,
    budget.provider AS provider,
    budget.model AS model,
    budget.label AS label,
    budget.repeats AS repeats,
    budget.timezone AS timezone,
    CASE WHEN budget.repeats <> 'none' THEN budget_window.starts_at END AS starts_at,
    CASE WHEN budget.repeats <> 'none' THEN budget_window.ends_at END AS ends_at,
    budget.unit AS unit,
    budget.limit_micro AS base_limit_micro,
    budget_window.spent_micro AS spent_micro,
    budget_window.held_micro AS reserved_micro,
    budget.created_at AS created_at,
    budget.removed_at AS removed_at
FROM budget LEFT JOIN (
SELECT budget_id, starts_at, ends_at,
       held_micro - COALESCE((SELECT CAST(SUM(share_micro + spent_micro) AS BIGINT) FROM slot
        WHERE slot.owner_id = budget_id AND slot.starts_at = budget_window.starts_at), 0) AS
        held_micro,
       spent_micro + COALESCE((SELECT CAST(SUM(spent_micro) AS BIGINT) FROM slot WHERE
        slot.owner_id = budget_id AND slot.starts_at = budget_window.starts_at), 0)
       AS spent_micro
FROM budget_window) AS budget_window ON budget_window.budget_id = budget.id LEFT JOIN wallet ON
        wallet.id = budget.wallet_id
) AS known;
CREATE VIEW v1_wallets AS SELECT
    wallet,
    unit,
    funded_micro * 0.000001 AS funded,
    funded_micro,
    adjusted_micro * 0.000001 AS adjusted,
    adjusted_micro,
    spent_micro * 0.000001 AS spent,
    spent_micro,
    posted_micro * 0.000001 AS posted,
    posted_micro,
    reserved_micro * 0.000001 AS reserved,
    reserved_micro,
    available_micro * 0.000001 AS available,
    available_micro,
    actor,
    to_char(timestamp '1970-01-01' + created_at * interval '1 microsecond',
        'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS created_at
FROM (SELECT
    wallet.name AS wallet,
    wallet.unit AS unit,
    wallet.funded_micro AS funded_micro,
    wallet.adjusted_micro AS adjusted_micro,
    wallet.funded_micro + wallet.adjusted_micro - wallet.posted_micro AS spent_micro,
    wallet.posted_micro AS posted_micro,
    wallet.reserved_micro AS reserved_micro,
    wallet.posted_micro - wallet.reserved_micro AS available_micro,
    wallet.actor AS actor,
    wallet.created_at AS created_at
FROM (
SELECT id, name, unit, funded_micro, adjusted_micro, actor, created_at, costing,
       posted_micro - COALESCE((SELECT CAST(SUM(spent_micro) AS BIGINT) FROM slot WHERE
        slot.owner_id = wallet.id AND slot.starts_at = 0), 0) AS posted_micro,
       reserved_micro - COALESCE((SELECT CAST(SUM(share_micro + spent_micro) AS BIGINT) FROM slot
        WHERE slot.owner_id = wallet.id AND slot.starts_at = 0), 0) AS reserved_micro
FROM wallet) AS wallet
) AS known
"""


def upgrade() -> None:
    """Make the views; no table is touched."""
    connection = op.get_bind()
    written = _SQLITE if connection.dialect.name == "sqlite" else _POSTGRES
    for statement in written.strip().split(";\n"):
        connection.exec_driver_sql(statement)
