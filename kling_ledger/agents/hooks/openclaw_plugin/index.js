// The plugin of OpenClaw: asks `kling-ledger hook openclaw` before each call of a tool. Whatever
// goes wrong blocks the call: OpenClaw itself blocks on a hook that throws or takes too long.
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { definePluginEntry } from "openclaw/plugin-sdk/plugin-entry";

const TIMEOUT_MS = 12_000;

async function before(event, ctx) {
  const settings = JSON.parse(await readFile(new URL("./command.json", import.meta.url), "utf8"));
  if (settings.left_alone.includes(event.toolName)) return {};
  const cwd = ctx?.workspaceDir ?? process.cwd();
  const asked = JSON.stringify({ tool_name: event.toolName, tool_input: event.params ?? {}, cwd });
  const [program, ...words] = settings.command;
  return new Promise((resolve) => {
    const child = execFile(program, words, { timeout: TIMEOUT_MS }, (error, stdout, stderr) => {
      try {
        if (error) throw new Error(stderr.trim().slice(-500) || error.message);
        resolve(JSON.parse(stdout));
      } catch (problem) {
        resolve(blocked(problem));
      }
    });
    child.stdin.on("error", () => {}); // what the program said before it ended is told above
    child.stdin.end(asked);
  });
}

function blocked(problem) {
  const reason = `kling-ledger could not look at this call, so it does not run: ${problem.message}`;
  return { block: true, blockReason: reason };
}

export default definePluginEntry({
  id: "kling-ledger",
  name: "kling-ledger",
  description: "Blocks a tool call that would send a Kling job past the spending limits.",
  register(api) {
    api.on("before_tool_call", (event, ctx) => before(event, ctx).catch(blocked));
  },
});
