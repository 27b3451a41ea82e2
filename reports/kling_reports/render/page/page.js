"use strict";
const all = (where, what) => [...where.querySelectorAll(what)];
const make = (name, properties = {}, ...inside) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...inside);
  return made;
};
const DRILLS = ["project", "user", "model", "provider", "wallet"];
const MOST_STOPS = 40;
const tables = all(document, "section > .scroll > table[data-gives]").map((table) => {
  const heads = [...table.tHead.rows[0].cells];
  const section = table.closest("section");
  return {
    table, heads, section, keys: heads.map((head) => head.dataset.key), rows: [...table.tBodies[0].rows],
    title: section.querySelector("h2").firstChild.textContent, isPart: "part" in table.dataset, gives: table.dataset.gives.split(" ").filter(Boolean),
  };
});

// Exact figures: a cell that was rounded has the exact one as its title; both trade places.
let isExact = false;
const exact = (cell) => (!isExact && cell.title) || cell.textContent.trim();
const trade = () => {
  isExact = !isExact;
  for (const one of all(document, ":is(tbody, tfoot) :is(td, th)[title], .tiles b[title]")) {
    if (!one.childElementCount) [one.textContent, one.title] = [one.title, one.textContent];
  }
  fitAll();
};
const micro = (text) => {
  const [whole, places = ""] = text.replace(/[^\d.-]/g, "").split(".");
  return BigInt(whole + places.padEnd(6, "0"));
};
const written = (value, kind) => {
  const sign = value < 0n ? "-" : "";
  const size = value < 0n ? -value : value;
  const whole = (size / 1000000n).toString().replace(/\B(?=(\d{3})+$)/g, ",");
  const places = (size % 1000000n).toString().padStart(6, "0");
  return sign + whole + (kind === "money" ? `.${places.replace(/0{1,4}$/, "")}` : "");
};

// Sorting.
const compare = (isFigure) => (a, b) => {
  if (!isFigure) return a.localeCompare(b, "en", { numeric: true });
  const [left, right] = [micro(a), micro(b)];
  return left < right ? -1 : left > right ? 1 : 0;
};
const sort = ({ table, heads, rows }, column) => {
  const isDown = heads[column].getAttribute("aria-sort") === "ascending";
  const order = compare(heads[column].classList.contains("n"));
  const found = rows.map((row) => [exact(row.cells[column]), row]);
  // What is not known has no place in an order: it comes last in both.
  const known = found.filter(([text]) => text).sort(([a], [b]) => (isDown ? order(b, a) : order(a, b)));
  for (const [, row] of [...known, ...found.filter(([text]) => !text)]) table.tBodies[0].append(row);
  heads.forEach((head, at) => head.setAttribute("aria-sort", at !== column ? "none" : isDown ? "descending" : "ascending"));
};
for (const one of tables) one.heads.forEach((head, at) => head.querySelector("button").addEventListener("click", () => sort(one, at)));

// Columns that give way where there is no room; a button brings them back.
const fit = (one) => {
  const box = one.table.parentElement;
  one.table.classList.remove(...one.gives.map((place) => `h${place}`));
  let gone = 0;
  if (!one.isWide) {
    const isTooWide = () => box.scrollWidth > box.clientWidth;
    const give = (at) => one.table.classList.add(`h${one.gives[at]}`);
    while (isTooWide() && gone < one.gives.length) give(gone++);
    // A wide column that gave way last may have made room for narrow ones: the most important first.
    for (let at = gone - 2; at >= 0; at--) {
      one.table.classList.remove(`h${one.gives[at]}`);
      if (isTooWide()) give(at); else gone--;
    }
  }
  one.more.hidden = !gone && !one.isWide;
  one.more.textContent = one.isWide ? "Fewer columns" : `Show ${gone} more column${gone > 1 ? "s" : ""}`;
  one.more.setAttribute("aria-expanded", String(Boolean(one.isWide)));
};
const fitAll = () => tables.forEach(fit);
for (const one of tables) {
  one.more = make("button", { type: "button", className: "more", hidden: true });
  one.more.setAttribute("aria-controls", one.table.id);
  one.more.addEventListener("click", () => { one.isWide = !one.isWide; fit(one); });
  one.table.parentElement.before(one.more);
}

// Filtering: words of a box, and chosen values (chips), in every table that has their column.
const chips = new Map();
const box = make("input", { type: "search", id: "filter", autocomplete: "off", placeholder: "film, kling-3.0 …" });
const said = make("p", { id: "said" });
said.setAttribute("role", "status");
said.setAttribute("aria-live", "polite");
const chosen = make("span", { className: "chips" });
const found = make("p", { className: "found" });
const sums = (one, rows) => {
  for (const row of all(one.table.tFoot, ".shown")) row.remove();
  const isWhole = rows.length === one.rows.length;
  for (const row of one.table.tFoot.rows) row.hidden = !isWhole;
  const unit = one.keys.indexOf("unit");
  if (isWhole || unit < 0 || !one.heads.some((head) => "adds" in head.dataset)) return;
  const units = [...new Set(rows.map((row) => row.cells[unit].textContent))].sort();
  for (const name of units) {
    const row = make("tr", { className: "shown" });
    one.heads.forEach((head, at) => {
      const cell = make(at ? "td" : "th", { className: head.classList.contains("n") ? "n" : "" });
      if (!at) cell.scope = "row";
      const own = rows.filter((each) => each.cells[unit].textContent === name).map((each) => exact(each.cells[at]));
      if (at === unit) cell.textContent = name;
      else if (!at) cell.textContent = one.isPart ? "Shown, of those listed" : "Shown";
      else if ("adds" in head.dataset && own.every(Boolean)) cell.textContent = written(own.map(micro).reduce((a, b) => a + b, 0n), head.dataset.kind);
      row.append(cell);
    });
    one.table.tFoot.append(row);
  }
};
const filter = () => {
  const asked = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  const links = [];
  let [kept, whole] = [0, 0];
  for (const one of tables) {
    const own = [...chips].map(([key, value]) => [one.keys.indexOf(key), value]).filter(([at]) => at >= 0);
    const isAsked = asked.length || own.length;
    const rows = one.rows.filter((row) => {
      const text = row.textContent.toLowerCase();
      row.hidden = !(asked.every((word) => text.includes(word)) && own.every(([at, value]) => row.cells[at].textContent.trim() === value));
      return !row.hidden;
    });
    sums(one, rows);
    one.section.classList.toggle("filtered", Boolean(isAsked));
    one.section.classList.toggle("none", !rows.length);
    if (!isAsked) continue;
    kept += rows.length;
    whole += one.rows.length;
    if (rows.length) links.push(make("a", { href: `#${one.section.id}` }, `${one.title.trim()} (${rows.length})`), " ");
  }
  const isFiltered = asked.length || chips.size;
  said.textContent = isFiltered ? `${kept.toLocaleString("en")} of ${whole.toLocaleString("en")} rows` : "";
  found.replaceChildren(...(isFiltered ? links : []));
  chosen.replaceChildren(...[...chips].map(([key, value]) => {
    const chip = make("button", { type: "button", className: "chip" }, `${key}: ${value}`, make("span", { className: "hidden" }, ", remove"), make("span", { className: "x" }, " ×"));
    chip.lastChild.setAttribute("aria-hidden", "true");
    chip.addEventListener("click", () => { chips.delete(key); filter(); box.focus(); });
    return chip;
  }));
  clear.hidden = !isFiltered;
  for (const one of all(document, "button.drill")) one.setAttribute("aria-pressed", String(chips.get(one.dataset.key) === one.textContent));
};
const clear = make("button", { type: "button", className: "clear", hidden: true }, "Show all");
const reset = () => { chips.clear(); box.value = ""; filter(); };
clear.addEventListener("click", () => { reset(); box.focus(); });
box.addEventListener("input", filter);
const drill = (key, value) => {
  if (chips.get(key) === value) chips.delete(key); else chips.set(key, value);
  filter();
  chosen.querySelector("button")?.focus();
};
for (const one of tables) {
  const key = one.keys[0];
  const names = one.rows.map((row) => row.cells[0].textContent);
  // Where a name has many rows each would be a stop for the keyboard: the shorter tables have them.
  if (!DRILLS.includes(key) || (names.length > MOST_STOPS && new Set(names).size < names.length)) continue;
  for (const row of one.rows) {
    const text = row.cells[0].textContent.trim();
    if (!text || /^\([\d,]+ others\)$/.test(text)) continue;
    const button = make("button", { type: "button", className: "drill", title: `Show ${key} ${text} in all tables` }, text);
    button.dataset.key = key;
    button.addEventListener("click", () => drill(key, text));
    row.cells[0].replaceChildren(button);
  }
}
// What a link leads to may be filtered away.
addEventListener("hashchange", () => {
  const row = document.getElementById(location.hash.slice(1));
  if (row?.hidden) { reset(); row.scrollIntoView(); }
});

const toggle = make("input", { type: "checkbox", id: "exact" });
toggle.addEventListener("change", trade);
const tools = make("form", { className: "tools" },
  make("label", { htmlFor: "filter" }, "Filter all tables "), box, chosen, clear, said, make("label", { className: "exact" }, toggle, " Exact figures"), found);
tools.setAttribute("role", "search");
tools.setAttribute("aria-label", "Filter");
tools.addEventListener("submit", (event) => event.preventDefault());
document.getElementById("tables").before(tools);
filter();
fitAll();
let isWaiting = false;
addEventListener("resize", () => {
  if (isWaiting) return;
  isWaiting = true;
  requestAnimationFrame(() => { isWaiting = false; fitAll(); });
});
