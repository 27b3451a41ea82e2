"""Words: what providers call the states of tasks and the kinds of rows, in any case."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from kling_ledger.evidence.entries import Kind
from kling_ledger.evidence.reading.names import NAMES, squeezed
from kling_ledger.providers.base import TaskState

IGNORE: Final = "ignore"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a word says about its row: its kind, the state of its task, or that it is ignored.

    `lets_go`: a reservation is released. `is_balance`: the row states the account's balance.
    """

    kind: Kind | None = None
    state: TaskState | None = None
    lets_go: bool = False
    is_balance: bool = False
    is_ignored: bool = False


_BY_MEANING: Final[Mapping[str, str]] = {
    "charge": "charge debit consume consumed consumption usage deduct deducted deduction spend"
    " expense 消费 扣费 扣除 扣款 消耗 支出",
    "charged": "charged billed settled paid 已扣费 已结算",
    "refund": "refund refunded reversal reversed returned refund_success 退款 已退款 退还"
    " 返还 退回",
    "credit": "credit",
    "adjustment": "adjustment adjust adjusted correction difference 差额 调整 补差 差价",
    "reservation": "reserve reserved reservation hold held freeze frozen preauth pre_authorization"
    " authorization authorized pre_deduct 预扣 冻结 预留",
    "release": "release released unfreeze unfrozen unhold hold_release 解冻 释放",
    "item": "item line_item component",
    "total": "total totals sum subtotal grand_total total_cost total_amount 合计 总计 小计 总额",
    "balance": "balance opening_balance closing_balance 余额 期初余额 期末余额",
    "payment": "topup top_up recharge recharged purchase payment deposit fund funding 充值 付款"
    " 购买",
    "completed": "completed complete success successful succeeded succeed done finished ok 成功"
    " 已完成 完成 已成功 生成成功",
    "failed": "failed fail failure error errored cancelled canceled cancel timeout timed_out"
    " expired rejected aborted 失败 已失败 生成失败 取消 已取消 超时 错误",
    "running": "pending running processing submitted queued in_progress in_queue queueing waiting"
    " created started generating not_start not_started 处理中 排队中 进行中 等待中 生成中 已提交"
    " 排队",
}
_MEANINGS: Final[Mapping[str, Meaning]] = {
    "charge": Meaning(Kind.CHARGE),
    "charged": Meaning(Kind.CHARGE, TaskState.COMPLETED),
    "refund": Meaning(Kind.REFUND),
    "credit": Meaning(Kind.REFUND),
    "adjustment": Meaning(Kind.ADJUSTMENT),
    "reservation": Meaning(Kind.RESERVATION, TaskState.RUNNING),
    "release": Meaning(Kind.RESERVATION, lets_go=True),
    "item": Meaning(Kind.ITEM),
    "total": Meaning(Kind.TOTAL),
    "balance": Meaning(Kind.TOTAL, is_balance=True),
    "payment": Meaning(Kind.PAYMENT),
    "completed": Meaning(state=TaskState.COMPLETED),
    "failed": Meaning(state=TaskState.FAILED),
    "running": Meaning(state=TaskState.RUNNING),
    IGNORE: Meaning(is_ignored=True),
}
_WORDS: Final[Mapping[str, str]] = {
    squeezed(word): name for name, words in _BY_MEANING.items() for word in words.split()
}
_TOTAL: Final = re.compile(
    r"(?:(?:grand )?totals?|subtotal|sum)(?:[\s:(].*)?|(?:合计|总计|小计|总额).*",
    re.IGNORECASE | re.DOTALL,
)
_MARKS: Final = re.compile(r"\W+")
_PREFIXES: Final = ("taskstatus", "taskstate", "task", "status", "state")

FAR_FROM_CERTAIN: Final = frozenset(
    {"credit", "balance", "purchase", "payment", "deposit", "hold", "item", "component", "error"}
)
"""Words that are clear only beside others: a way to pay may be called credit or balance too."""

PAYMENT_WORDS: Final = ("topup", "recharge", "充值", "deposit", "payment", "purchase", "付款")
"""If a cell of a row without a task contains one of these, money went into the account."""


def _key(word: str) -> str:
    """Return the key of a word: without punctuation, unless it is nothing else."""
    said = squeezed(word)
    return _MARKS.sub("", said) or said


class Words:
    """The words of one bill: those that we know, and those that a person explained.

    `said` maps a word to its meaning, one of `answers.MEANINGS`.
    """

    def __init__(self, said: Mapping[str, str]) -> None:
        self._said = {_key(word): _MEANINGS[meaning] for word, meaning in said.items()}

    def meaning(self, word: str) -> Meaning | None:
        """Return what a word means, None if unknown."""
        key = _key(word)
        found = self._said.get(key) or _known(key)
        if found is not None:
            return found
        before = next((one for one in _PREFIXES if key.startswith(one)), "")
        return _known(key.removeprefix(before)) if before else None

    def is_said(self, word: str) -> bool:
        """Whether a person explained a word."""
        return _key(word) in self._said

    def kind(self, word: str) -> Kind | None:
        """Return the kind of row that a word names, None if it names a state or nothing."""
        found = self.meaning(word)
        return None if found is None else found.kind

    def unknown(self, words: Iterable[str], *, as_kinds: bool = False) -> list[str]:
        """Return the words without a meaning; `as_kinds`: without a kind, unless ignored."""
        return [word for word in words if not self._says(word, as_kinds=as_kinds)]

    def _says(self, word: str, *, as_kinds: bool) -> bool:
        found = self.meaning(word)
        if found is None:
            return False
        return not as_kinds or found.kind is not None or found.is_ignored


def _known(word: str) -> Meaning | None:
    name = _WORDS.get(word)
    return None if name is None else _MEANINGS[name]


def is_total(text: str) -> bool:
    """Whether a cell says that its row is a sum of others."""
    return _TOTAL.fullmatch(text) is not None or _WORDS.get(_key(text)) == "total"


def is_certain(word: str) -> bool:
    """Whether a word is known and clear by itself, whatever is beside it."""
    return _key(word) in _WORDS and _key(word) not in FAR_FROM_CERTAIN


def is_payment(text: str) -> bool:
    """Whether a cell of a row without a task says that money went into the account."""
    said = squeezed(text)
    return any(word in said for word in PAYMENT_WORDS)


def is_chinese(text: str) -> bool:
    """Whether text contains Chinese words of bills: then it was decoded correctly."""
    return any(map(partial(str.__contains__, text), _CHINESE))


_CHINESE: Final = tuple(
    word
    for word in (*_WORDS, *(name for names in NAMES.values() for name in names))
    if not word.isascii() and len(word) > 1
)
