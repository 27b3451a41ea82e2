"""Server: speaks MCP for a desk, in the stateless version and the one before.

Refusals, bad input and unknown prices are answers with `isError`; protocol errors are only for
calls of unknown tools. Arguments and keys are never logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any, Final

import anyio
import anyio.to_thread
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError
from mcp_types.version import is_version_at_least
from pydantic import ValidationError

from kling_ledger.agents.mcp.arguments import Arguments
from kling_ledger.agents.mcp.desk import Desk
from kling_ledger.agents.mcp.schemas import OUTPUTS
from kling_ledger.agents.mcp.settings import McpSettings
from kling_ledger.agents.mcp.told import Told, told_error
from kling_ledger.agents.mcp.tools import INSTRUCTIONS, TOOLS, ToolFacts
from kling_ledger.errors import ApprovalNeededError, ConfigError
from kling_pricing.errors import KlingError

log: Final = logging.getLogger("kling_ledger.agents")

NAME: Final = "kling-ledger"
"""The name of the server."""

_ASKS_IN_ANSWERS: Final = "2026-07-28"
"""Since this version, a question to a person is the answer to a call, which is then repeated.
"""

_AT_ONCE: Final = 64
"""How many calls run at the same time; others wait."""

_LOOK_EVERY_S: Final = 0.1
_QUESTION: Final = "approval"
_FORM: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "approve": {
            "type": "boolean",
            "title": "Approve",
            "description": "Allow this one job to be run and charged.",
        }
    },
    "required": ["approve"],
}

_Context = ServerRequestContext[dict[str, Any], Any]
_Answer = types.CallToolResult | types.InputRequiredResult


def server_for(desk: Desk, settings: McpSettings) -> Server[dict[str, Any]]:
    """Return the MCP server that answers from a desk; it can be served over any transport."""
    served = _Served(desk, settings)
    server: Server[dict[str, Any]] = Server(
        NAME,
        version=version(NAME),
        title="kling-ledger",
        description="Prices of Kling clips, and spending within limits.",
        instructions=INSTRUCTIONS,
        on_list_tools=_listed,
        on_call_tool=served.called,
    )
    # State that a client carries from one round of a call to the next is sealed: it cannot be
    # forged.
    security = RequestStateSecurity.ephemeral()
    server.middleware.append(RequestStateBoundary(security, default_audience=NAME))
    return server


async def _listed(_: _Context, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[_tool(name, facts) for name, facts in TOOLS.items()])


def _tool(name: str, facts: ToolFacts) -> types.Tool:
    return types.Tool(
        name=name,
        title=facts.title,
        description=facts.description,
        input_schema=facts.takes.model_json_schema(),
        output_schema=OUTPUTS[name],
        annotations=types.ToolAnnotations(
            title=facts.title,
            read_only_hint=not facts.spends,
            destructive_hint=facts.spends,
            idempotent_hint=True,
            open_world_hint=facts.spends or name in {"check", "status"},
        ),
    )


class _Served:
    """Answers tool calls, and asks a person through the client if one must approve."""

    def __init__(self, desk: Desk, settings: McpSettings) -> None:
        self._desk = desk
        self._settings = settings
        self._limiter = anyio.CapacityLimiter(_AT_ONCE)

    async def called(self, context: _Context, params: types.CallToolRequestParams) -> _Answer:
        """Answer one call."""
        facts = TOOLS.get(params.name)
        if facts is None:
            raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown tool: {params.name[:60]}")
        try:
            given = facts.takes.model_validate(params.arguments or {})
        except ValidationError as error:
            return self._error(_input_error(error))
        try:
            return await self._answered(partial(facts.answer, self._desk, given), given)
        except ApprovalNeededError as needed:
            return await self._asked_a_person(context, params, given, needed)
        except KlingError as error:
            return self._error(error)
        except Exception as error:  # noqa: BLE001 - an answer that does not come is the worst
            # The error's own message may contain the arguments: neither is logged.
            kind = type(error).__name__
            log.error("tool %s failed: %s", params.name, kind)  # noqa: TRY400
            return self._error(KlingError(f"{params.name} failed: {kind}"))

    async def _answered(self, work: Callable[[], Told], given: Arguments) -> types.CallToolResult:
        """Run a tool, and wait for the end of its job for as long as requested."""
        told = await anyio.to_thread.run_sync(work, limiter=self._limiter)
        wait_s = getattr(given, "wait_s", 0)
        if wait_s and told.content.get("is_over") is False:
            job: str = told.content["id"]
            # No thread waits: many calls may wait, and one whose client leaves ends at once.
            with anyio.move_on_after(wait_s):
                while self._desk.is_followed(job):
                    await anyio.sleep(_LOOK_EVERY_S)
            told = await anyio.to_thread.run_sync(self._desk.job, job, limiter=self._limiter)
        return _result(told)

    async def _asked_a_person(
        self,
        context: _Context,
        params: types.CallToolRequestParams,
        given: Any,
        needed: ApprovalNeededError,
    ) -> _Answer:
        """Ask through the client whether a job may be made; refuse if it cannot ask."""
        if not _can_ask(context):
            return self._error(needed)
        message = await anyio.to_thread.run_sync(self._desk.question, needed)
        question = types.ElicitRequestFormParams(message=message, requested_schema=_FORM)
        if is_version_at_least(context.protocol_version, _ASKS_IN_ANSWERS):
            said = (params.input_responses or {}).get(_QUESTION)
            if params.request_state != needed.approval or not isinstance(said, types.ElicitResult):
                return types.InputRequiredResult(
                    input_requests={_QUESTION: types.ElicitRequest(params=question)},
                    request_state=needed.approval,
                )
        else:
            said = await context.session.elicit_form(
                question.message, question.requested_schema, context.request_id
            )
        return await self._decided(given, needed, said)

    async def _decided(
        self, given: Any, needed: ApprovalNeededError, said: types.ElicitResult
    ) -> _Answer:
        if said.action == "cancel":
            return self._error(needed)
        is_granted = said.action == "accept" and (said.content or {}).get("approve") is True
        try:
            decide = partial(self._desk.decide, needed.approval, granted=is_granted)
            await anyio.to_thread.run_sync(decide)
            # If denied, the ledger itself refuses it, with a message.
            run = partial(self._desk.run, given, approval=needed.approval)
            return await self._answered(run, given)
        except KlingError as error:
            return self._error(error)

    def _error(self, error: KlingError) -> types.CallToolResult:
        return _result(told_error(error, self._settings.hint_for))


def _can_ask(context: _Context) -> bool:
    capabilities = context.session.client_capabilities
    return capabilities is not None and capabilities.elicitation is not None


def _input_error(error: ValidationError) -> ConfigError:
    """Say what is wrong with a call's arguments, field by field, without their values."""
    told = [
        f"{'.'.join(map(str, one['loc'])) or 'arguments'}: {one['msg']}"
        for one in error.errors(include_input=False, include_url=False)
    ]
    return ConfigError("; ".join(told[:8]), hint="see the tool's input schema")


def _result(told: Told) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=told.text)],
        structured_content=told.content,
        is_error=told.is_error,
    )
