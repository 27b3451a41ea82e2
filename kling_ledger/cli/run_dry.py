"""`run --dry-run`: the transfers of a successful job; nothing is sent or polled."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kling_ledger.cli import EXIT_REFUSED
from kling_ledger.cli.dry_run import print_transfers
from kling_ledger.cli.output import say
from kling_ledger.cli.reservation_rows import say_warnings
from kling_ledger.config import actor

if TYPE_CHECKING:
    from kling_ledger.jobs.saved_quotes import SavedQuote
    from kling_ledger.ledger import Asked, Ledger
    from kling_pricing.gateways import Request
    from kling_pricing.library import Library
    from kling_pricing.money import Money


def rehearse(
    ledger: Ledger,
    request: Request,
    key: str | None,
    form: str,
    *,
    library: Library,
    saved: SavedQuote | None,
    approve_above: Money | None,
    **terms: Any,
) -> int:
    """Print the transfers of a job that ends at its book price; return the exit code.

    `terms` are its wallet, project and limits, as in a `Wish`. Raises what `run` would raise before
    sending anything, refusals included.
    """
    from kling_ledger.jobs.approving import needs_grant
    from kling_ledger.jobs.checking import Wish, check_by_book

    known = {} if key is None else ledger.reservations.of_keys([key])
    for one in known.values():
        say(f"note: this key belongs to {one.id}, which is {one.state}: no other job is started")
    if known:
        print_transfers(ledger, form)
        return 0
    at = datetime.now(UTC)
    checked = check_by_book(ledger, request, Wish(**terms, key=key), at=at, library=library)
    if saved is not None:
        book = library.book(request.clip.provider)
        saved.check(request, request.quote(at=at, book=book), at=at)
        saved.check_price(checked.asked.amount)
    _move(ledger, checked.asked, cost=None if checked.quoted is None else checked.quoted.amount)
    print_transfers(ledger, form)
    say("note: assumes that the job succeeds at the price books' price; the provider was not asked")
    if needs_grant(ledger, checked.asked, above=approve_above, asked_by=actor()):
        say("refused: a person must approve it first; no approval was requested yet")
        return EXIT_REFUSED
    return 0


def _move(ledger: Ledger, asked: Asked, *, cost: Money | None) -> None:
    made = ledger.reserve_many([asked])[0]
    say_warnings(made)
    ledger.mark_submitting(made.id)
    ledger.commit(made.id, cost)
