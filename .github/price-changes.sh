#!/usr/bin/env bash
# The GitHub Action's pricing: what differs between the base and HEAD, as JSON and as Markdown.
set -eo pipefail

words=()
while IFS= read -r line; do
  [ -z "$line" ] || words+=(--manifest "$line")
done <<<"$MANIFESTS"
while IFS= read -r line; do
  [ -z "$line" ] || words+=(--request "$line")
done <<<"$REQUESTS"
while IFS= read -r line; do
  [ -z "$line" ] || words+=("$line")
done <<<"$OPTIONS"

# For a pull request GitHub checks out the commit that merging would make. Its first parent is what
# it would be merged into, so exactly the change is between the two.
if [ -z "$BASE" ]; then
  if [ "$GITHUB_EVENT_NAME" = pull_request_target ] ||
    { [ "$GITHUB_EVENT_NAME" = pull_request ] && [ "$(git rev-parse HEAD)" != "$GITHUB_SHA" ]; }; then
    echo "::error::this is not the merge commit of a pull request: say what to compare with (base)"
    exit 2
  fi
  base=HEAD^1
  git rev-parse --quiet --verify "$base^{commit}" >/dev/null ||
    git fetch --quiet --no-tags --depth=2 origin "$GITHUB_SHA"
else
  base=$BASE
  if ! git rev-parse --quiet --verify --end-of-options "$base^{commit}" >/dev/null; then
    git fetch --quiet --no-tags --depth=1 origin -- "$base"
    base=$(git rev-parse FETCH_HEAD)
  fi
fi

code=0
kling-ledger changes "${words[@]}" --format json -- "$base" HEAD >"$RUNNER_TEMP/changes.json" || code=$?
kling-ledger changes "${words[@]}" --format markdown -- "$base" HEAD \
  >"$RUNNER_TEMP/changes.md" 2>/dev/null || true
# What cannot be read at all has no answer, and nothing to tell.
[ -s "$RUNNER_TEMP/changes.md" ] || exit "$code"
echo "code=$code" >>"$GITHUB_OUTPUT"
