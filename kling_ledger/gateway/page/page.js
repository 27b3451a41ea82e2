// Keeps the figures fresh: fetches the part that changes and alters only what is different in it,
// so that scroll, focus and selection stay where they are.
"use strict";
(() => {
  const EVERY_MS = 3000, PATIENCE_MS = 10000;
  const state = document.getElementById("state");
  let timer = 0, isAsking = false, isOver = false;

  const say = (text, kind) => {
    if (state.textContent !== text) state.textContent = text;
    if (state.className !== kind) state.className = kind;
  };
  const shown = () => document.querySelector("#as-of time")?.textContent;
  const stale = () => (shown() ? ` The figures below are of ${shown()}.` : "");

  const keyOf = (node) => node.dataset?.key || node.id || undefined;
  const alike = (one, other) => one.nodeName === other.nodeName && keyOf(one) === keyOf(other);

  const without = (node) => {
    const next = node.nextSibling;
    node.remove();
    return next;
  };

  const renew = (old, fresh) => {
    if (old.isEqualNode(fresh)) return;
    if (!alike(old, fresh)) return old.replaceWith(fresh);
    if (old.nodeType !== Node.ELEMENT_NODE) return void (old.nodeValue = fresh.nodeValue);
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes)
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    renewChildren(old, fresh);
  };

  const renewChildren = (old, fresh) => {
    const wanted = new Set([...fresh.children].map(keyOf));
    const keyed = new Map();
    for (const child of [...old.children]) {
      const key = keyOf(child);
      if (!key) continue;
      // What is gone leaves first: then nothing that stays has to be moved, which would lose focus.
      if (wanted.has(key)) keyed.set(key, child); else child.remove();
    }
    let at = old.firstChild;
    for (const next of [...fresh.childNodes]) {
      const own = keyed.get(keyOf(next));
      if (own) {
        while (at && at !== own && !keyOf(at)) at = without(at);
        if (own === at) at = at.nextSibling; else old.insertBefore(own, at);
        renew(own, next);
      } else if (at && !keyOf(at) && alike(at, next)) {
        const here = at;
        at = at.nextSibling;
        renew(here, next);
      } else old.insertBefore(next, at);
    }
    while (at) at = without(at);
  };

  const ask = async () => {
    // Whole: an address may have been opened with a password in it, and no script may ask for that.
    const reply = await fetch(`${location.origin}/page/now`, {
      cache: "no-store", credentials: "same-origin", redirect: "error",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (reply.status === 503 && shown()) return say(`The ledger cannot be read right now.${stale()}`, "lost");
    if (reply.status === 401) {
      isOver = true;
      return say(`You are no longer let in: reload this page.${stale()}`, "lost");
    }
    if (!reply.ok && reply.status !== 503) return say(`The gateway answered ${reply.status}.${stale()}`, "lost");
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    const fresh = page.getElementById("live");
    if (!fresh) throw new Error("another page");
    renew(document.getElementById("live"), document.adoptNode(fresh));
    if (reply.ok) say("Live: refreshed every 3 seconds.", "live");
  };

  const refresh = async () => {
    clearTimeout(timer);
    if (isAsking || isOver || document.hidden) return;
    isAsking = true;
    try { await ask(); } catch { say(`No connection to the gateway.${stale()}`, "lost"); }
    isAsking = false;
    if (!document.hidden && !isOver) timer = setTimeout(refresh, EVERY_MS);
  };

  document.addEventListener("visibilitychange", refresh);
  refresh();
})();
