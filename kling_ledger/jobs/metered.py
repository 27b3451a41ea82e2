"""metered(): wraps a KlingClient, which then spends within a wallet.

    client = metered(KlingClient(), ledger, wallet="team")
    result = client.text_to_video.run(model="kling-3.0", prompt="...", duration_seconds=5, ...)

Each create is quoted and reserved before it is sent. Each get that sees the end of a job commits
its settled cost or rolls it back. Replies and errors are the client's own, except that a refusal is
a RefusedError: then nothing was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from runapi.core import RequestOptions, TaskTimeoutError
from runapi.core.resource import Resource
from runapi.kling import KlingClient

from kling_ledger.errors import ConfigError, KeyUsedError, NotFoundError, PollError, ProviderError
from kling_ledger.jobs.meter import Meter
from kling_ledger.jobs.watch import Watch, followed
from kling_ledger.ledger import Ledger, Reservation, State
from kling_ledger.ledger.reserving import check_payer
from kling_ledger.providers.base import TaskState
from kling_ledger.providers.runapi.dialect import ACTIONS, RunApi
from kling_pricing.library import Library, at_hand
from kling_pricing.money import Money


def metered(
    client: KlingClient,
    ledger: Ledger,
    *,
    wallet: str,
    project: str | None = None,
    labels: Mapping[str, str] | None = None,
    ceiling: Money | None = None,
    asks_estimate: bool = True,
    library: Library | None = None,
    account: str | None = None,
) -> MeteredKlingClient:
    """Return a client that meters every job against a wallet; `ceiling` bounds a single job.

    `account` is your name for the account of the client's key.

    RunAPI is asked for an estimate too, unless `asks_estimate` is off: jobs without a book price
    are held at that, and the log `kling_ledger.jobs` says so. `library` has the price books; by
    default all loaded ones. Raises at once what the first job would: ConfigError for another client
    or invalid labels, NotFoundError for the wallet, AmountError for the ceiling.
    """
    _check_is_plain(client)
    check_payer(wallet, ceiling, labels)
    ledger.wallets.get(wallet)
    meter = Meter(
        ledger,
        RunApi(client),
        wallet=wallet,
        project=project,
        labels=labels or {},
        ceiling=ceiling,
        asks_estimate=asks_estimate,
        library=library or at_hand(),
        account=account,
    )
    return MeteredKlingClient(client, meter)


def _check_is_plain(client: object) -> None:
    """Refuse anything but RunAPI's own client, and clients that wait in an event loop."""
    transport = getattr(client, "_http", client)
    is_async = any(
        iscoroutinefunction(getattr(type(one), name, None))
        for one in (client, transport, getattr(transport, "_client", None))
        for name in ("request", "send", "__aenter__")
    )
    if is_async or not isinstance(client, KlingClient):
        raise ConfigError(
            f"metered takes a KlingClient that waits itself, got {type(client).__name__}",
            hint="around any other client: `async with ledger.areserving(...)`, or"
            " `with ledger.reserving(...)`",
        )


@dataclass(frozen=True)
class MeteredKlingClient(KlingClient):
    """A KlingClient whose jobs are metered. Free calls are passed on unchanged.

    Type checkers see a KlingClient, with the same resources and methods.
    """

    client: KlingClient
    meter: Meter

    # Hidden from type checkers: they know the client's resources.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__") or name in {"client", "meter"}:
                # A copy in the making has neither yet.
                raise AttributeError(name)
            resource = getattr(self.client, name)
            if name in ACTIONS:
                return MeteredResource(name, resource, self.meter)
            if isinstance(resource, Resource) and hasattr(resource, "run"):
                # Passed on unmetered, it would spend without a reservation.
                raise ConfigError(
                    f"{name} is an unknown action of the client, so it is not metered",
                    hint=f"metered actions: {', '.join(ACTIONS)}",
                )
            return resource


@dataclass(frozen=True, slots=True)
class MeteredResource:
    """One action of a metered client: create, get and run as the client has them."""

    action: str
    resource: Any
    meter: Meter

    def create(self, options: RequestOptions | None = None, **params: Any) -> Any:
        """Reserve and submit a job; return the provider's reply.

        An `Idempotency-Key` in the options is the caller's own key: repeated with the same
        parameters, it returns the job that is already running.
        """
        meter = self._meter(options)
        body = {name: given for name, given in params.items() if not _is_blank(given)}
        key = _own_key(options)
        reservation = meter.reserve(body, action=self.action, key=key)
        if reservation.task_id is not None:
            return self.get(reservation.task_id, options)
        if key is not None and not reservation.is_open:
            raise KeyUsedError(key, reservation_id=reservation.id, state=reservation.state)
        try:
            return meter.submit(reservation, body).reply
        except ProviderError as error:
            raise error.__cause__ or error from None

    def get(self, id: str, options: RequestOptions | None = None) -> Any:  # noqa: A002
        """Poll a task, and settle its reservation if it has ended."""
        meter = self._meter(options)
        try:
            status = meter.provider.poll(self.action, id)
        except PollError as error:
            raise error.__cause__ or error from None
        reservation = _ours(meter, id)
        if reservation is not None and reservation.state is not State.COMMITTED:
            meter.observe(reservation, status)
        if status.reply is None:
            raise PollError(meter.provider.name, status.problem or "no reply")
        return status.reply

    def run(self, options: RequestOptions | None = None, **params: Any) -> Any:
        """Create a job and follow it until it ends; the reply is that of the client's own run."""
        task = self.create(options, **params)
        meter = self._meter(options)
        reserved = _ours(meter, task["id"])
        if reserved is None:
            raise NotFoundError("task", task["id"])
        watch = Watch(meter, reserved)
        for _ in followed([watch], stop=meter.stop):
            pass
        # The client's own code turns the end into its usual reply or error.
        longest_s = meter.patience.longest_s
        return self.resource._poll_until_complete(lambda: _last_reply(watch, task, longest_s))

    def _meter(self, options: RequestOptions | None) -> Meter:
        provider = self.meter.provider
        if options is None or not isinstance(provider, RunApi):
            return self.meter
        return replace(self.meter, provider=replace(provider, options=options))


def _ours(meter: Meter, task_id: str) -> Reservation | None:
    """Return the reservation of a task at the client's own account, None if it is not ours."""
    place = meter.place
    return meter.ledger.reservations.of_task(
        place.provider, task_id, address=place.address, account=place.account
    )


def _last_reply(watch: Watch, task: Any, longest_s: float) -> Any:
    """Return the last reply about a followed job, or raise the client's error if it did not end."""
    status = watch.status
    if watch.error is not None:
        raise watch.error.__cause__ or watch.error
    has_ended = status is not None and status.state in {TaskState.COMPLETED, TaskState.FAILED}
    if watch.reservation.is_open and not has_ended:
        why = f": {watch.unclear}" if watch.unclear else ""
        raise TaskTimeoutError(f"Task polling timed out after {longest_s:g}s{why}")
    if status is None:
        # Nothing was polled: the job under the caller's key had already ended.
        return task
    if status.reply is None:
        raise PollError(watch.provider, status.problem or "no reply")
    return status.reply


def _own_key(options: RequestOptions | None) -> str | None:
    headers = (options.headers or {}) if options else {}
    keys = [text.strip() for name, text in headers.items() if name.lower() == "idempotency-key"]
    return keys[0] if keys and keys[0] else None


def _is_blank(given: Any) -> bool:
    """Whether the client would leave a parameter out of the body."""
    return given is None or (isinstance(given, str) and not given.strip())
