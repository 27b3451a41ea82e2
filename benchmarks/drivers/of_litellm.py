"""LiteLLM's BudgetManager: the cost so far is looked at, the call is made, its cost is added."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

import litellm
from litellm import BudgetManager, ModelResponse, Usage

CAP, PRICE, FIFTY = 5.0, 0.10, 50
MODEL, USER = "bench-video", "team"
CALL_S = 0.001
"""How long the call between look and record takes: far less than a real one."""

litellm.register_model(
    {
        MODEL: {
            "input_cost_per_token": PRICE,
            "output_cost_per_token": 0.0,
            "litellm_provider": "openai",
            "mode": "chat",
        }
    }
)


def manager(place: str) -> BudgetManager:
    Path(place).mkdir(exist_ok=True)
    os.chdir(place)
    return BudgetManager(project_name="bench", client_type="local")


def answer() -> ModelResponse:
    usage = Usage(prompt_tokens=1, completion_tokens=0, total_tokens=1)
    return ModelResponse(model=MODEL, usage=usage)


def attempt(budget: BudgetManager) -> bool:
    if budget.get_current_cost(USER) + PRICE > budget.get_total_budget(USER) + 1e-9:
        return False
    time.sleep(CALL_S)
    budget.update_cost(completion_obj=answer(), user=USER)
    return True


def prepare(budget: BudgetManager) -> object:
    budget.create_budget(total_budget=CAP, user=USER)
    budget.save_data()
    return {}


def rush(budget: BudgetManager, attempts: int) -> object:
    told: list[bool] = []
    begin = threading.Event()

    def one() -> None:
        begin.wait()
        told.append(attempt(budget))

    threads = [threading.Thread(target=one) for _ in range(attempts)]
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    begin.set()
    for thread in threads:
        thread.join()
    return {"admitted": sum(told), "seconds": time.perf_counter() - began, "errors": 0}


def room(budget: BudgetManager) -> int:
    left = float(budget.get_total_budget(USER) - budget.get_current_cost(USER))
    return round(left / PRICE)


def crash(budget: BudgetManager) -> object:
    budget.get_current_cost(USER)
    print("reserved", flush=True)
    time.sleep(60)
    return {}


def crashed(budget: BudgetManager) -> object:
    return {"room": room(budget)}


def late(budget: BudgetManager) -> object:
    between = room(budget)
    budget.update_cost(completion_obj=answer(), user=USER)
    return {"between": between, "room": room(budget)}


def lost(budget: BudgetManager) -> object:
    return {"room": room(budget)}


if __name__ == "__main__":
    trial, place, *rest = sys.argv[1:]
    print(json.dumps(globals()[trial](manager(place), *map(int, rest))), flush=True)
