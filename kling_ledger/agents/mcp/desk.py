"""Desk: the tools' implementation without MCP: arguments in, an answer out.

A call blocks its thread. Errors are raised unchanged; the MCP server reports them.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Any

from kling_ledger.agents.mcp import arguments, asking
from kling_ledger.agents.mcp.following import Following
from kling_ledger.agents.mcp.settings import McpSettings
from kling_ledger.agents.mcp.told import Told, told_error
from kling_ledger.errors import (
    ApprovalNeededError,
    ConfigError,
    NoKeyError,
    NotFoundError,
    RefusedError,
    StateError,
    TokenError,
)
from kling_ledger.jobs.approving import approved
from kling_ledger.jobs.checking import Wish, check_by_book, check_by_meter, checked_dict
from kling_ledger.jobs.endings import is_charged_without_clip
from kling_ledger.jobs.fitting import would_fit
from kling_ledger.jobs.meter import Meter
from kling_ledger.ledger import Asked, Ledger, Reservation, State
from kling_ledger.ledger.tokens import Token
from kling_pricing.afford import afford
from kling_pricing.compare import compare
from kling_pricing.gateways import read_request
from kling_pricing.money import USD, Money


class Desk:
    """Answers tools from one ledger. Safe to share between threads; close it after use."""

    def __init__(self, ledger: Ledger, settings: McpSettings, following: Following) -> None:
        self._ledger = ledger
        self._settings = settings
        self._following = following
        self._meters: dict[tuple[str, str | None], Meter] = {}
        self._approved: dict[str, str] = {}
        self._lock = Lock()
        self._unit = ledger.wallets.get(settings.wallet).unit

    def close(self) -> None:
        """Close the connections to every provider."""
        for meter in self._meters.values():
            meter.provider.close()
        self._meters.clear()

    # --- questions --------------------------------------------------------------------------

    def quote(self, given: arguments.ClipOrBody) -> Told:
        """Price one clip at one provider."""
        quoted, assumptions = asking.quoted_for(given, self._settings, at=self._ledger.now())
        content = quoted.as_dict()
        content["assumptions"] = list(dict.fromkeys([*assumptions, *quoted.assumptions]))
        lines = [f"{asking.in_words(quoted)}: {quoted.amount}, {quoted.evidence}"]
        if quoted.hold != quoted.amount:
            lines.append(f"{quoted.hold} may be held, because its seller gives two figures")
        return Told(content, "\n".join([*lines, *quoted.warnings]))

    def compare(self, given: arguments.Look) -> Told:
        """Price one clip at every provider that makes it."""
        found = compare(
            asking.wanted(given),
            family=given.model,
            at=self._ledger.now(),
            library=self._settings.library,
        )
        offers = [asking.offer(quoted) for quoted in found.offers]
        unable = [
            {"provider": one.provider, "model": one.model, "reason": one.reason}
            for one in found.unable
        ]
        lines = [
            f"{one['provider']} {one['model']}: {one['amount']} {one['unit']}"
            + ("" if one["can_run"] else ", not through run")
            for one in offers
        ]
        text = "\n".join(lines) or "no provider can make this clip"
        return Told({"offers": offers, "unable": unable}, text)

    def afford(self, given: arguments.Afford) -> Told:
        """Return what a sum buys."""
        found = afford(
            Money.parse(given.budget, default_unit=USD),
            asking.wanted(given),
            family=given.model,
            at=self._ledger.now(),
            library=self._settings.library,
            provider=given.provider,
        )
        options = [asking.affordable(one) for one in found.options]
        lines = [
            f"{one['provider']}: {one['clips'] if one['clips'] is not None else '?'} clips,"
            f" the longest {one['longest_s'] or '?'} s"
            for one in options
        ]
        return Told(
            {"options": options},
            "\n".join(lines) or "no provider has a price, so what it buys is unknown",
        )

    def check(self, given: arguments.Check) -> Told:
        """Return whether a job would be admitted, and what would fit."""
        provider, body, action = asking.body_of(given, self._settings, any_prompt=True)
        ceiling, bound = self._ceiling(given.max_cost), partial(self._bounded, given)
        try:
            meter = self._meter(provider, given, ceiling)
        except NoKeyError:
            wish = Wish(self._settings.wallet, *self._place(given), ceiling)
            request = read_request(provider, body, action=action)
            at, library = self._ledger.now(), self._settings.library
            checked = check_by_book(
                self._ledger, request, wish, at=at, library=library, bound=bound
            )
        else:
            checked = check_by_meter(meter, body, action=action, bound=bound)
        content = checked_dict(checked, self._settings.hint_for)
        above = self._approve_above()
        content["needs_approval"] = above is not None and checked.asked.amount > above
        if checked.refusal is not None:
            told = told_error(checked.refusal, self._settings.hint_for, fit=checked.fit)
            return Told(content, f"it would be refused: {told.text}")
        needs = "; a person must approve it" if content["needs_approval"] else ""
        text = f"it would be admitted: {checked.asked.amount} would be held{needs}"
        return Told(content, f"{text}\nwould fit: {'; '.join(checked.fit.told)}")

    def spend(self, given: arguments.Spend) -> Told:
        """Return what was spent, by the requested columns."""
        content = self._settings.spent(given.by, given.where, given.since, given.until)
        rows = content["rows"]
        lines = [
            f"{' '.join(str(row.get(word) or '-') for word in given.by)}: {row['spent']}"
            f" {row['unit']} for {row['clips']} clips, {row['reserved']} {row['unit']} reserved"
            for row in rows[:20]
        ]
        return Told(content, "\n".join(lines) or "nothing was spent")

    # --- money ------------------------------------------------------------------------------

    def run(self, given: arguments.Run, *, approval: str | None = None) -> Told:
        """Reserve and submit one job, then follow it.

        Raises ApprovalNeededError if a person must approve it first.
        """
        provider, body, action = asking.body_of(given, self._settings)
        ceiling = self._ceiling(given.max_cost)
        if ceiling is None:  # a token's alone is not the word of who asks for this job
            raise ConfigError(
                "max_cost is missing",
                hint='give max_cost, such as "0.70 USD"; check tells what it would cost',
            )
        meter = self._meter(provider, given, ceiling)
        own = self._own_key(given.key)
        asked = meter.asked(body, action=action, key=self._approved.get(own, own))
        asked = self._bounded(given, asked)
        refusal = self._ledger.would_admit(asked).refusal
        if refusal is not None:
            return self._refused(refusal, meter, body, asked)
        if own not in self._approved:
            asked = self._approved_for(asked, approval or given.approval)
        try:
            reserved = meter.reserve_asked(asked)
        except RefusedError as error:
            return self._refused(error, meter, body, asked)
        self._remember(own, asked)
        begun = self._begun(meter, reserved, body)
        return self._followed(begun, meter)

    def status(self, given: arguments.Status) -> Told:
        """Return a job's state; a job that is not followed is followed again."""
        found = self._found(given)
        meter = None
        if found.is_open and found.task_id is not None and found.job.provider is not None:
            meter = self._connected(found.job.provider, found.job.address)
        return self._followed(found, meter)

    def is_followed(self, reservation_id: str) -> bool:
        """Whether a job may still change without further calls."""
        return self._following.is_followed(reservation_id)

    def job(self, reservation_id: str) -> Told:
        """Return a job's state."""
        return self._told(self._ledger.reservations.get(reservation_id))

    def question(self, needed: ApprovalNeededError) -> str:
        """Return the question for a person: the job, without its prompt, and its cost."""
        asked = self._ledger.approvals.get(needed.approval)
        project = f" for {asked.project}" if asked.project else ""
        return (
            f"An agent wants to make a clip{project}: {asked.said}. It costs {needed.asked}; "
            f"above {needed.above} a person must approve it ({asked.id}). Approve this one "
            "job?"
        )

    def decide(self, approval: str, *, granted: bool) -> None:
        """Record a person's decision, made through the client."""
        decide = self._ledger.approvals.grant if granted else self._ledger.approvals.deny
        decide(approval, reason="answered in the MCP client")

    # --- how --------------------------------------------------------------------------------

    def _approved_for(self, asked: Asked, approval: str | None) -> Asked:
        """Return the job under the key of its approval, if it needs one."""
        return approved(
            self._ledger,
            asked,
            above=self._approve_above(),
            asked_by=self._settings.asked_by,
            approval=approval,
        )

    def _remember(self, own: str, asked: Asked) -> None:
        """Remember the approval of a client's key: a repeated call is the same job."""
        if asked.key is not None and asked.key != own:
            self._approved[own] = asked.key

    def _begun(self, meter: Meter, reserved: Reservation, body: dict[str, Any]) -> Reservation:
        """Submit a job, unless another call is already sending it."""
        is_sent = reserved.state is State.SUBMITTING and not meter.provider.repeats_safely
        if reserved.is_open and reserved.task_id is None and not is_sent:
            # Another call with the same key may have it by now.
            with suppress(StateError):
                meter.submit(reserved, body)
        return self._ledger.reservations.get(reserved.id)

    def _followed(self, found: Reservation, meter: Meter | None) -> Told:
        if meter is not None and found.is_open and found.task_id is not None:
            self._following.expect(found, meter)
        return self._told(found)

    def _told(self, found: Reservation) -> Told:
        content = {**self._settings.describe(found), "is_over": not found.is_open}
        lines = [f"{found.id}: {found.state}"]
        if found.is_open:
            lines[0] += f", {found.held} held"
            lines.append("call status again; it is settled whether or not you ask")
        elif found.committed is not None:
            lines[0] += f", {found.spent} charged"
        else:
            lines[0] += ", nothing charged"
        lines += [f"video: {url}" for url in found.videos]
        if found.problem:
            lines.append(f"problem: {found.problem}")
        if is_charged_without_clip(found):
            lines.append("it was charged, but there is no clip")
        return Told(content, "\n".join(lines))

    def _refused(
        self, refusal: RefusedError, meter: Meter, body: dict[str, Any], asked: Asked
    ) -> Told:
        request = read_request(meter.provider.name, body, action=asked.job.action)
        fits = self._ledger.would_admit(asked).fits
        library, at = self._settings.library, self._ledger.now()
        fit = would_fit(request, fits, at=at, library=library, held=asked.amount)
        return told_error(refusal, self._settings.hint_for, fit=fit)

    def _found(self, given: arguments.Status) -> Reservation:
        if given.reservation is not None:
            found = self._ledger.reservations.get(given.reservation)
        elif given.key is not None:
            found = self._of_key(given.key)
        else:
            raise ConfigError(
                "reservation and key are both missing", hint="give its reservation, or its key"
            )
        is_other = self._settings.token not in {None, found.labels.get("token")}
        if found.wallet != self._settings.wallet or is_other:
            raise NotFoundError("reservation", found.id)
        return found

    def _of_key(self, key: str) -> Reservation:
        own = self._own_key(key)
        under = self._approved.get(own, own)
        found = self._ledger.reservations.of_keys([under]).get(under)
        if found is None:
            raise NotFoundError("job under the key", key)
        return found

    def _meter(self, provider: str, given: arguments.Check, ceiling: Money | None) -> Meter:
        project, labels = self._place(given)
        meter = self._connected(provider, None)
        return replace(meter, project=project, labels=labels, ceiling=ceiling)

    def _connected(self, provider: str, address: str | None) -> Meter:
        with self._lock:
            place = (provider, address)
            if place not in self._meters:
                self._meters[place] = self._settings.connect(provider, address)
            return self._meters[place]

    def _place(self, given: arguments.Check) -> tuple[str | None, dict[str, str]]:
        labels = {**(given.labels or {}), **self._settings.labels}
        return given.project or self._settings.project, labels

    def _bounded(self, given: arguments.Check, asked: Asked) -> Asked:
        """Return a job within the limits of the server's token. Raises TokenError."""
        token = self._token()
        if token is None:
            return asked
        project, labels = self._place(given)
        run = self._settings.run
        return self._ledger.tokens.bound(token, asked, project=project, labels=labels, run=run)

    def _token(self) -> Token | None:
        """Return the token in its current state: it may have been revoked since the start."""
        if self._settings.token is None:
            return None
        found = self._ledger.tokens.get(self._settings.token)
        if not found.is_in_force_at(self._ledger.now()):
            raise TokenError
        return found

    def _approve_above(self) -> Money | None:
        """Return the amount above which a person must approve: the server's or its token's."""
        token = self._token()
        both = (self._settings.approve_above, None if token is None else token.approve_above)
        return min((one for one in both if one is not None), default=None)

    def _own_key(self, key: str) -> str:
        """Return a client's key as stored in the ledger: other callers may use the same key."""
        return f"mcp/{self._settings.token or '-'}/{key}"

    def _ceiling(self, written: str | None) -> Money | None:
        """Return the lower of what the client and the server allow."""
        given = None if written is None else Money.parse(written, default_unit=self._unit)
        both = [one for one in (given, self._settings.ceiling) if one is not None]
        return min(both, default=None)
