"use strict";
for (const table of document.querySelectorAll("table[data-sorts]")) {
  const heads = [...table.tHead.rows[0].cells];
  const micro = (text) => {
    const [whole, places = ""] = text.replace(/[^\d.-]/g, "").split(".");
    return BigInt(whole + places.padEnd(6, "0"));
  };
  const compare = (isFigure) => (a, b) => {
    if (!isFigure) return a.localeCompare(b, "en", { numeric: true });
    const [left, right] = [micro(a), micro(b)];
    return left < right ? -1 : left > right ? 1 : 0;
  };
  const sort = (column) => {
    const isDown = heads[column].getAttribute("aria-sort") === "ascending";
    const order = compare(heads[column].classList.contains("n"));
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [row.cells[column].textContent.trim(), row]);
    // What is not known has no place in an order: it comes last in both.
    const known = rows.filter(([text]) => text).sort(([a], [b]) => (isDown ? order(b, a) : order(a, b)));
    for (const [, row] of [...known, ...rows.filter(([text]) => !text)]) body.append(row);
    heads.forEach((head, at) => head.setAttribute("aria-sort", at !== column ? "none" : isDown ? "descending" : "ascending"));
  };
  heads.forEach((head, at) => head.querySelector("button").addEventListener("click", () => sort(at)));
}
