"""What each documented answer of each provider means: every row of the tables, over real HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from kling_ledger.errors import JobInDoubtError, JobRefusedError, PollError
from kling_ledger.providers import replies
from kling_ledger.providers.base import TaskState
from kling_ledger.providers.crun import dialect as crun
from kling_ledger.providers.evolink import dialect as evolink
from kling_ledger.providers.runapi import dialect as runapi
from kling_ledger.providers.uniall import dialect as uniall
from tests.loopback import HANG_UP, Answer
from tests.providers import NAMES, Rig, created, speaking, task

REFUSED: Final = "refused"
LATER: Final = "later"
IN_DOUBT: Final = "in doubt"
TAKEN: Final = "taken"

REFUSING_STATUSES: Final = (
    *(300, 301, 302, 305, 307, 308),
    *(400, 401, 402, 403, 404, 405, 407, 410, 411, 413, 414, 415, 416, 417),
    *(421, 422, 426, 428, 431, 451, 511),
)
DOUBTFUL_STATUSES: Final = (
    *(303, 306, 406, 408, 409, 412, 418, 423, 424, 425, 499),
    *(500, 501, 502, 503, 504, 505, 507, 508, 520, 524),
)
EVOLINK_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large_error",
    429: "rate_limit_error",
    500: "internal_server_error",
    502: "upstream_error",
    503: "service_unavailable_error",
}
CRUN_CODES: Final = {
    200: TAKEN,
    401: REFUSED,
    402: REFUSED,
    404: REFUSED,
    422: REFUSED,
    429: LATER,
    455: LATER,
    500: IN_DOUBT,
    501: IN_DOUBT,
    505: REFUSED,
}

CRUN_OTHER_CODES: Final = {
    **dict.fromkeys((400, 403, 405, 406, 407, 410, 413, 415, 451, 498), REFUSED),
    **dict.fromkeys((100, 302, 408, 409, 425, 499, 502, 503, 504, 600), IN_DOUBT),
}


def expected_of_status(status: int) -> str:
    if status == 429:
        return LATER
    return REFUSED if status in REFUSING_STATUSES else IN_DOUBT


def rows_by_status(name: str) -> list[tuple[str, Answer, str]]:
    body = {"error": {"message": "not this one"}}
    statuses = (*REFUSING_STATUSES, 429, *DOUBTFUL_STATUSES)
    return [(name, (status, body), expected_of_status(status)) for status in statuses]


SUBMISSIONS: Final[list[tuple[str, Answer, str]]] = [
    *((name, (200, created(name)), TAKEN) for name in NAMES),
    *(row for name in ("runapi", "evolink", "uniall") for row in rows_by_status(name)),
    *(
        ("crun", (status, {"code": code, "message": "said", "data": data}), expected)
        for code, expected in CRUN_CODES.items()
        for data in ({"task_id": "t"} if code == 200 else None,)
        for status in (200, 400, 500)
    ),
    *(
        ("crun", (200, {"code": code, "message": "undocumented"}), expected)
        for code, expected in CRUN_OTHER_CODES.items()
    ),
    # What has no code of Crun's is a page of HTTP's.
    *(
        ("crun", (status, body), expected_of_status(status))
        for status in (*REFUSING_STATUSES, 429, *DOUBTFUL_STATUSES)
        for body in ("<html>no</html>", {"message": "no code"})
    ),
    *(
        ("crun", (200, {"code": code, "data": {"task_id": "t"}}), TAKEN)
        for code in (200, "200", " 200 ", 200.0, "200.0")
    ),
    *(
        ("crun", (status, {"code": code, "message": "no"}), expected)
        for status, code, expected in (
            *((200, "402", REFUSED), (200, 402.0, REFUSED), (500, "429", LATER)),
            *((200, True, IN_DOUBT), (200, 299, IN_DOUBT), (200, 0, IN_DOUBT)),
            *((402, True, REFUSED), (402, [], REFUSED), (200, 200, IN_DOUBT)),
        )
    ),
    *(
        (
            "evolink",
            (status, {"error": {"type": word, "message": "said"}}),
            expected_of_status(status),
        )
        for status, word in EVOLINK_TYPES.items()
    ),
    ("evolink", (400, {"error": {"type": "upstream_error"}}), IN_DOUBT),
    ("evolink", (500, {"error": {"type": "invalid_request_error"}}), IN_DOUBT),
]


Rigs = Callable[..., AbstractContextManager[Rig]]


@pytest.fixture(scope="module")
def rigs() -> Iterator[Rigs]:
    """Yield one rig per provider for all rows: a rig takes longer to set up than a row to walk."""
    with ExitStack() as stack:
        opened = {name: stack.enter_context(speaking(name, HANG_UP)) for name in NAMES}

        @contextmanager
        def answering_now(name: str, *answers: Answer) -> Iterator[Rig]:
            rig = opened[name]
            rig.server.answers[:] = answers
            rig.server.seen.clear()
            yield rig

        yield answering_now


def outcome_of_submission(rigs: Rigs, name: str, answer: Answer) -> tuple[str, int]:
    with rigs(name, answer) as rig:
        try:
            rig.submit()
            outcome = TAKEN
        except JobRefusedError as error:
            outcome = LATER if error.retryable else REFUSED
        except JobInDoubtError:
            outcome = IN_DOUBT
        return outcome, len(rig.server.seen)


@pytest.mark.parametrize(("name", "answer", "expected"), SUBMISSIONS)
def test_what_an_answer_to_a_submission_means(rigs: Rigs, name: str, answer: Answer, expected: str):
    outcome, times = outcome_of_submission(rigs, name, answer)
    assert outcome == expected
    # Only who takes an Idempotency-Key may be asked a second time for the same job.
    assert times == 1 or name == "runapi"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize(
    "body",
    [
        *("", "<html>hello</html>", "null", "[]", '"t"', "{", '{"id": NaN}', b"\xff\xfe", {}),
        *({"request_id": "t"}, {"error": {"id": "t", "task": "t"}}, {"id": True}, {"id": 1.5}),
        *({"data": []}, {"data": [{"id": "a"}, {"id": "b"}]}, {"data": {"id": {"id": "t"}}}),
    ],
)
def test_a_success_that_names_no_task_leaves_the_job_in_doubt(
    rigs: Rigs, name: str, status: int, body: Any
):
    assert outcome_of_submission(rigs, name, (status, body))[0] == IN_DOUBT


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "task_id",
    ["", " ", "a\nb", "a\x7f", "a\u2028b", "x" * 513, 10**513, None, True, False, 1.5, ["t"], {}],
)
def test_a_task_whose_name_is_none_leaves_the_job_in_doubt(rigs: Rigs, name: str, task_id: object):
    assert outcome_of_submission(rigs, name, (200, created(name, task_id)))[0] == IN_DOUBT


LONG_NAME: Final = "x" * 512
NAMED: Final[list[object]] = [
    *(0, 7, 10**30, "a/b+c=1", "../../me?x=1#", "..", ".", "a b", "ü→猫", "%2F", "a%20b", LONG_NAME)
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("task_id", NAMED)
def test_a_task_keeps_its_name_and_is_asked_for_by_it(rigs: Rigs, name: str, task_id: object):
    with rigs(name, (200, created(name, task_id))) as rig:
        assert rig.submit().task_id == str(task_id)
    reply = task(name, "pending")
    (reply["data"] if name == "crun" else reply)["task_id" if name == "crun" else "id"] = task_id
    with rigs(name, (200, reply)) as rig:
        status = rig.provider.poll("text_to_video", str(task_id))
        asked = rig.server.seen[0].path
    assert status.state is RUNNING
    in_query = parse_qs(urlsplit(asked).query).get("task_id", [""])[0]
    assert in_query or unquote(asked.rpartition("/")[2]) == str(task_id)
    assert in_query in {"", str(task_id)}


PLACES: Final[list[dict[str, Any]]] = [
    {"data": {"task_id": "t"}},
    {"data": [{"task_id": "t"}]},
    {"data": {"id": "t"}},
    {"task_id": "t"},
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("status", "more"),
    [
        (200, {"code": 200}),
        (500, {"code": 500, "error": {"message": "broken", "type": "internal_server_error"}}),
        (402, {"code": 402, "error": "no"}),
        (409, {"code": 409, "message": "there is one"}),
        (307, {}),
    ],
)
def test_a_task_that_a_reply_names_was_made_whatever_else_it_says(
    rigs: Rigs, name: str, place: dict[str, Any], status: int, more: dict[str, Any]
):
    with rigs(name, (status, {**more, **place})) as rig:
        submission = rig.submit()
        assert len(rig.server.seen) == 1
    assert submission.task_id == "t"


@pytest.mark.parametrize("name", ["runapi", "evolink", "uniall"])
@pytest.mark.parametrize(
    ("body", "is_task"),
    [
        ({"id": "task-1", "error": {"message": "no"}}, True),
        ({"id": 987, "error": {"message": "no"}}, True),
        ({"id": "req_7", "error": {"message": "no"}}, False),
        ({"id": "error-7", "error": {"message": "no"}}, False),
        ({"id": "a7", "request_id": "a7", "error": {"message": "no"}}, False),
        ({"id": "a7", "error": {"message": "no", "request_id": "a7"}}, False),
        ({"id": "a7", "object": "error"}, False),
        ({"error": {"id": "a7", "message": "no"}}, False),
        ({"request_id": "a7", "error": {"message": "no"}}, False),
        ({"error": {"task_id": "a7", "message": "no"}}, False),
    ],
)
def test_the_id_of_an_error_or_of_a_request_is_no_task(
    rigs: Rigs, name: str, body: dict[str, Any], is_task: bool
):
    expected = TAKEN if is_task else REFUSED
    assert outcome_of_submission(rigs, name, (422, body))[0] == expected


def test_the_id_of_a_request_may_stand_in_a_header(rigs: Rigs):
    answer = (422, {"id": "a7"}, {"X-Request-Id": "a7"})
    assert outcome_of_submission(rigs, "evolink", answer)[0] == REFUSED


@pytest.mark.parametrize("status", [402, 409, 500])
def test_runapi_may_name_a_task_in_a_header(rigs: Rigs, status: int):
    answer = (status, {"error": "no"}, {"X-RunAPI-Task-Id": "task-9"})
    with rigs("runapi", answer) as rig:
        submission = rig.submit()
    assert submission.task_id == "task-9"
    assert submission.reply["id"] == "task-9"


def test_the_walk_covers_every_row_of_every_table():
    assert set(crun.VERDICTS) == set(CRUN_CODES)
    assert set(evolink.TYPES) == set(EVOLINK_TYPES.values())
    walked = {*REFUSING_STATUSES, 429, *DOUBTFUL_STATUSES}
    assert {*replies.HTTP_VERDICTS, *runapi.VERDICTS, *evolink.VERDICTS} <= walked
    stated = {(name, word) for name, word, _ in STATES if isinstance(word, str)}
    for module in (runapi, crun, evolink, uniall):
        name = module.__name__.split(".")[2]
        assert {(name, word) for word in module.STATES} <= stated


RUNNING, COMPLETED = TaskState.RUNNING, TaskState.COMPLETED
FAILED, UNKNOWN = TaskState.FAILED, TaskState.UNKNOWN
ODD_WORDS: Final[list[object]] = ["paused", "", " ", None, 7, [], {}]
STATES: Final[list[tuple[str, object, TaskState]]] = [
    ("runapi", "pending", RUNNING),
    ("runapi", "processing", RUNNING),
    ("runapi", "completed", COMPLETED),
    ("runapi", "failed", FAILED),
    ("runapi", "succeeded", UNKNOWN),
    ("runapi", "cancelled", UNKNOWN),
    ("crun", "pending", RUNNING),
    ("crun", "running", RUNNING),
    ("crun", "success", COMPLETED),
    ("crun", "failed", FAILED),
    ("crun", "completed", UNKNOWN),
    ("crun", "cancelled", UNKNOWN),
    ("evolink", "pending", RUNNING),
    ("evolink", "processing", RUNNING),
    ("evolink", "completed", COMPLETED),
    ("evolink", "failed", FAILED),
    ("evolink", "cancelled", FAILED),
    ("evolink", "success", UNKNOWN),
    ("uniall", "queued", RUNNING),
    ("uniall", "pending", RUNNING),
    ("uniall", "submitted", RUNNING),
    ("uniall", "running", RUNNING),
    ("uniall", "processing", RUNNING),
    ("uniall", "in_progress", RUNNING),
    ("uniall", "completed", COMPLETED),
    *(
        ("uniall", word, FAILED)
        for word in ("failed", "failure", "error", "cancelled", "canceled", "expired", "timeout")
    ),
    ("uniall", "aborted", UNKNOWN),
    *((name, " Processing\n", RUNNING) for name in ("runapi", "evolink", "uniall")),
    ("crun", "SUCCESS ", COMPLETED),
    *((name, word, UNKNOWN) for name in NAMES for word in ODD_WORDS),
]


@pytest.mark.parametrize(("name", "word", "expected"), STATES)
def test_what_a_state_means(rigs: Rigs, name: str, word: object, expected: TaskState):
    with rigs(name, (200, task(name, word))) as rig:
        assert rig.poll().state is expected


@pytest.mark.parametrize("name", NAMES)
def test_a_running_or_unknown_task_has_no_cost_and_no_links(rigs: Rigs, name: str):
    more = {"credits": 1, "usage": {"cost": 1}, "videos": [{"url": "https://v/1.mp4"}]}
    links = {
        "results": ["https://v"],
        "video_url": "https://v",
        "result": {"media_urls": ["https://v"]},
    }
    for word in ("pending", "nobody knows"):
        with rigs(name, (200, task(name, word, **more, **links))) as rig:
            status = rig.poll()
        assert (status.cost, status.videos, status.videos_expire_at) == (None, (), None)


@pytest.mark.parametrize("name", NAMES)
def test_a_reply_about_another_task_is_no_verdict(rigs: Rigs, name: str):
    reply = task(name, "completed")
    (reply["data"] if name == "crun" else reply).update(
        {"task_id" if name == "crun" else "id": "other", "status": "success"}
    )
    with rigs(name, (200, reply)) as rig:
        assert rig.poll().state is UNKNOWN


POLLS: Final[list[tuple[str, Answer, bool]]] = [
    *(
        (
            name,
            (status, {"error": {"message": "no"}}),
            status in REFUSING_STATUSES and status != 404,
        )
        for name in ("runapi", "evolink", "uniall")
        for status in (*REFUSING_STATUSES, 408, 429, 500, 502, 503, 504)
    ),
    *(
        ("crun", (200, {"code": code, "message": "no"}), expected == REFUSED and code != 404)
        for code, expected in CRUN_CODES.items()
        if expected != TAKEN
    ),
    *(
        (name, (200, body), False)
        for name in NAMES
        for body in ("", "<html>", "[]", "null", b"\xff", "[" * 100_000)
    ),
    ("crun", (404, "<html>404</html>"), False),
    ("crun", (401, "<html>401</html>"), True),
]


@pytest.mark.parametrize(("name", "answer", "is_final"), POLLS)
def test_a_poll_without_an_answer_says_whether_asking_again_may_help(
    rigs: Rigs, name: str, answer: Answer, is_final: bool
):
    with rigs(name, answer) as rig, pytest.raises(PollError) as error:
        rig.poll()
    assert error.value.is_final is is_final
    assert error.value.retryable is not is_final
    says_404 = answer is not None and "404" in f"{answer[0]} {answer[1]}"
    assert error.value.is_missing is says_404


def test_a_task_that_failed_by_code_and_not_by_state_is_no_verdict(rigs: Rigs):
    with rigs("crun", (200, {"code": 501, "message": "failed"})) as rig:
        with pytest.raises(PollError, match="501 failed"):
            rig.poll()
        assert len(rig.server.seen) == 3
