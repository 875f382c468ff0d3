"use strict";
const value = (row, index) => {
  const cell = row.cells[index];
  return "v" in cell.dataset ? (cell.dataset.v === "" ? null : Number(cell.dataset.v)) : cell.textContent.trim();
};
const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
function sort(table, index, direction) {
  const body = table.tBodies[0];
  const sign = direction === "descending" ? -1 : 1;
  const rows = [...body.rows].map((row) => [value(row, index), row]);
  rows.sort(([a, one], [b, two]) => {
    if (direction !== "none" && (a === null) !== (b === null)) return a === null ? 1 : -1;
    const order = direction === "none" || a === null ? 0 : sign * compare(a, b);
    return order || one.dataset.order - two.dataset.order;
  });
  body.append(...rows.map(([, row]) => row));
  [...table.tHead.rows[0].cells].forEach((head, at) => head.setAttribute("aria-sort", at === index ? direction : "none"));
}
for (const table of document.querySelectorAll("table[data-name]")) {
  [...table.tHead.rows[0].cells].forEach((head, index) => {
    head.querySelector("button").addEventListener("click", () => {
      const first = head.dataset.better === "1" || head.dataset.key === "seeds" ? "descending" : "ascending";
      const second = first === "descending" ? "ascending" : "descending";
      const next = { none: first, [first]: second, [second]: "none" }[head.getAttribute("aria-sort")];
      sort(table, index, next);
      const hash = next === "none" ? "#tables" : `#sort=${table.dataset.name}:${head.dataset.key}:${next}`;
      try { history.replaceState(null, "", hash); } catch (refused) { /* a page from a file may not */ }
    });
  });
}
function follow() {
  const hash = decodeURIComponent(location.hash);
  const source = hash.startsWith("#source-") && document.getElementById(hash.slice(1));
  if (source) {
    source.open = true;
    source.scrollIntoView();
  }
  const wanted = /^#sort=([^:]+):([^:]+):(ascending|descending)$/.exec(hash);
  if (!wanted) return;
  const table = document.querySelector(`table[data-name="${CSS.escape(wanted[1])}"]`);
  const index = table ? [...table.tHead.rows[0].cells].findIndex((head) => head.dataset.key === wanted[2]) : -1;
  if (index >= 0) sort(table, index, wanted[3]);
}
addEventListener("hashchange", follow);
follow();
for (const input of document.querySelectorAll("[data-filter]")) {
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const table = document.querySelector(`table[data-name="${CSS.escape(input.dataset.filter)}"]`);
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
}
const drawer = document.getElementById("drawer");
document.addEventListener("click", (event) => {
  if (event.target === drawer) drawer.close();
  const link = event.target.closest('a[href^="#source-"]');
  const source = link && document.getElementById(link.getAttribute("href").slice(1));
  if (!source || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const title = document.createElement("h3");
  title.textContent = source.querySelector("summary").textContent;
  const copies = [...source.children].slice(1).map((child) => child.cloneNode(true));
  const letters = new Set([...source.querySelectorAll('a[href^="#environment-"]')].map((each) => each.hash.slice(1)));
  const environments = document.createElement("div");
  environments.className = "protocol wide";
  environments.append(...[...letters].map((id) => document.getElementById(id).cloneNode(true)));
  const heading = document.createElement("h4");
  heading.textContent = "Environment";
  const parts = letters.size ? [heading, environments] : [];
  drawer.lastElementChild.replaceChildren(title, ...copies, ...parts);
  for (const each of drawer.querySelectorAll("[id]")) each.removeAttribute("id");
  for (const each of drawer.querySelectorAll('a[href^="#environment-"]')) each.replaceWith(each.textContent);
  drawer.showModal();
  drawer.scrollTop = 0;
});
