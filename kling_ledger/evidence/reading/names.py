"""Names: what providers call the columns of their bills, whatever the case, language or unit."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

TASK_FOR_CERTAIN: Final = ("taskid", "任务id", "任务", "任务编号", "任务号")
"""Names of a column that names tasks and nothing else."""

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "task_id": (
        *TASK_FOR_CERTAIN,
        *("task", "taskuuid", "jobid", "job", "requestid", "request", "generationid", "generation"),
        *("predictionid", "prediction", "externaltaskid", "externalid", "videoid", "orderid"),
        *("id", "uuid", "reference", "referenceid", "ref", "请求id", "编号", "订单号"),
    ),
    "amount": (
        *("amount", "cost", "credits", "charge", "charged", "charges", "price", "fee"),
        *("fees", "total", "totalcost", "totalamount", "totalprice", "totalcharge", "totalcredits"),
        *("usagecost", "creditsused", "usedcredits", "creditscharged", "creditcost", "creditscost"),
        *("creditsconsumed", "consumedcredits", "creditusage", "consumed", "consumption", "spend"),
        *("spent", "deducted", "deduction", "amountcharged", "chargedamount", "billedamount"),
        *("amountbilled", "billedcost", "billed", "netamount", "finalcost", "finalamount"),
        *("actualcost", "taskcost", "jobcost", "costcredits", "finalprice"),
        *("金额", "费用", "消费", "消费金额", "扣费", "扣费金额", "扣费积分", "消耗", "消耗积分"),
        *("net", "gross", "grossamount", "paidamount", "amountpaid", "discountedamount", "payable"),
        *("change", "delta", "netchange", "unitdeduction", "finalunitdeduction"),
        *("积分", "价格", "花费", "实付", "实付金额", "应付金额", "变动", "变动金额"),
        *("变动积分", "积分变动", "betrag", "kosten", "montant", "importe"),
    ),
    "unit": (
        *("unit", "currency", "currencycode", "单位", "币种", "货币", "währung", "devise"),
        *("moneda", "valuta"),
    ),
    "state": (
        *("state", "status", "taskstatus", "taskstate", "jobstatus", "jobstate", "状态"),
        *("任务状态",),
    ),
    "kind": (
        *("kind", "type", "transactiontype", "txtype", "entrytype", "recordtype", "rowtype"),
        *("linetype", "event", "eventtype", "operation", "direction", "category", "action"),
        *("chargetype", "billingtype", "类型", "交易类型", "记录类型", "业务类型", "变动类型"),
    ),
    "created_at": (
        *("createdat", "created", "createtime", "createdtime", "creationtime", "submittedat"),
        *("submittime", "submitted", "startedat", "starttime", "date", "datetime", "time"),
        *("timestamp", "transactiondate", "usagedate", "usagetime", "chargedat", "billedat"),
        *("创建时间", "提交时间", "时间", "日期", "消费时间", "扣费时间", "交易时间"),
    ),
    "model": ("model", "modelname", "modelid", "模型", "模型名称"),
}
"""The fields of a row, each with the names of its column, likeliest first."""

BALANCES: Final = frozenset(
    {
        *("balance", "balanceafter", "balancebefore", "remaining", "remainingcredits"),
        *("remainingbalance", "creditsremaining", "creditsleft", "newbalance", "runningbalance"),
        *("余额", "剩余积分", "剩余"),
    }
)
"""Columns with the balance of an account: numbers, but never the amount of a row."""

ITEMS: Final = frozenset(
    {
        *("item", "lineitem", "itemname", "description", "component", "resource", "sku"),
        *("feature", "chargetype", "feetype", "costtype", "明细", "项目", "说明", "描述"),
    }
)
"""Columns that tell the parts of one charge apart."""

_UNIT_WORDS: Final = frozenset(
    {
        *("usd", "us$", "$", "dollar", "dollars", "美元", "eur", "euro", "euros", "€", "gbp", "£"),
        *("cny", "rmb", "yuan", "¥", "元", "人民币", "jpy", "hkd", "inr", "krw", "cent", "cents"),
        *("credit", "credits", "积分"),
    }
)
_CURRENCIES: Final = frozenset(
    {
        *("usd", "eur", "cny", "rmb", "gbp", "jpy", "hkd", "inr", "krw", "sgd", "aud", "cad"),
        *("chf", "rub", "brl", "twd", "mxn", "pln", "sek", "nok", "dkk", "nzd", "thb"),
    }
)
_CREDITS: Final = frozenset({"credit", "credits", "积分"})
_NO_NAMES: Final = _UNIT_WORDS | _CURRENCIES | {"utc", "gmt", "in"}
"""Words in a column's name that do not say which column it is."""
_ALIASES: Final[Mapping[str, frozenset[str]]] = {
    "usd": frozenset({"$", "us$", "dollar", "dollars", "usdollar", "usdollars", "usds", "美元"}),
    "cny": frozenset({"¥", "cn¥", "元", "rmb", "yuan", "人民币"}),
    "eur": frozenset({"€", "euro", "euros"}),
    "gbp": frozenset({"£", "pound", "pounds"}),
}
_PARTED: Final = re.compile(r"[\s_\-/#:.,]+")
_HUMPS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_BRACKETS: Final = re.compile(r"[(\[{]([^)\]}]*)[)\]}]")


def squeezed(text: str) -> str:
    """Return a name or a word as one: `Task ID`, `task_id` and `taskId` are all `taskid`."""
    return _PARTED.sub("", unicodedata.normalize("NFKC", text)).lower()


@lru_cache(maxsize=4096)
def names_of(column: str) -> tuple[str, ...]:
    """Return the names that a column may be known by: whole, without its unit, without its path."""
    plain = _BRACKETS.sub(" ", unicodedata.normalize("NFKC", column))
    found: dict[str, None] = {}
    for text in (plain, plain.rpartition(".")[2]):
        tokens = _tokens(text)
        found[squeezed(text)] = None
        found["".join(token for token in tokens if token not in _NO_NAMES)] = None
        # `amount (credits)` is an amount; `credits` alone is one too.
        found["".join(token for token in tokens if token not in _NO_NAMES - _CREDITS)] = None
    return tuple(name for name in found if name)


def _tokens(text: str) -> list[str]:
    return [token.lower() for token in _PARTED.split(_HUMPS.sub(" ", text)) if token]


def means(column: str, ours: str) -> bool:
    """Whether the name of a column is one that we know for a field."""
    return any(name in NAMES[ours] for name in names_of(column))


def is_known(column: str) -> bool:
    """Whether the name of a column is one that we know for any field."""
    return any(means(column, ours) for ours in NAMES)


def by_name(columns: Sequence[str], ours: str) -> list[str]:
    """Return the columns whose names we know for a field, likeliest first."""
    ranks = {name: rank for rank, name in enumerate(NAMES[ours])}

    def rank(column: str) -> int:
        return min((ranks[name] for name in names_of(column) if name in ranks), default=len(ranks))

    found = [column for column in columns if rank(column) < len(ranks)]
    return sorted(found, key=rank)


def other_unit(column: str, unit: str) -> str | None:
    """Return the unit in the name of a column, if it is not this one.

    For example `Amount (USD)`, `cost_usd`, `credits`.
    """
    text = unicodedata.normalize("NFKC", column)
    told = [token for inner in _BRACKETS.findall(text) for token in _tokens(inner)]
    tokens = [*told, *_tokens(_BRACKETS.sub(" ", text))]
    units = [one for one in tokens if one in _UNIT_WORDS | _CURRENCIES]
    return None if any(is_unit(one, unit) for one in units) else next(iter(units), None)


def is_currency(text: str) -> bool:
    """Whether a cell is the name of any currency: `EUR`, `¥`."""
    return squeezed(text) in _CURRENCIES | (_UNIT_WORDS - _CREDITS)


def is_credits(told: str) -> bool:
    """Whether a unit is just `credits`, without saying whose."""
    return squeezed(told) in _CREDITS


def is_unit(told: str, unit: str) -> bool:
    """Whether a bill's name for a unit means this one; plain `credits` are the provider's own."""
    said, own = squeezed(told), squeezed(unit)
    if said in {own, f"{own}s"} or said in _ALIASES.get(own, ()):
        return True
    return own.endswith("credit") and is_credits(told)
