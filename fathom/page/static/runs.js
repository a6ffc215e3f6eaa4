// The list of runs: live, searched, sorted and filtered here, drawn a hundred rows at a time.
import { ask, repeat } from "./api.js";
import { ago, byId, clock, el, interval, note, number, stateOf } from "./dom.js";

const STEP = 100;

/** @type {Map<string, any>} */
const rows = new Map();
/** @type {Map<string, {version: number, node: any}>} */
const drawn = new Map();
/** @type {Set<string>} */
const chosen = new Set();
let version = 0;
let shown = STEP;
let complete = false;
let sorting = { key: "changed", down: true };

const body = document.querySelector("#runs tbody");

/** What a row is sorted by. @param {any} row @param {string} key */
function value(row, key) {
  if (key === "score") return row.score === null ? -Infinity : row.score.mean;
  return row[key];
}

/** The rows that fit the search and the filters, in order. */
function wanted() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const state = byId("state").value;
  const kind = byId("kind").value;
  const fitting = [...rows.values()].filter((row) => {
    if ((state && row.state !== state) || (kind && row.kind !== kind)) return false;
    const text = `${row.path} ${row.learner} ${row.source} ${row.state} ${row.why}`.toLowerCase();
    return words.every((/** @type {string} */ word) => text.includes(word));
  });
  const sign = sorting.down ? -1 : 1;
  return fitting.sort((left, right) => {
    const [a, b] = [value(left, sorting.key), value(right, sorting.key)];
    return a < b ? -sign : a > b ? sign : left.path < right.path ? -1 : 1;
  });
}

/** @param {any} row */
function draw(row) {
  const known = drawn.get(row.id);
  if (known !== undefined && known.version === row.version) return known.node;
  const box = el("input", {
    type: "checkbox", "aria-label": `Choose ${row.path}`,
    onchange: () => {
      if (box.checked) chosen.add(row.id);
      else chosen.delete(row.id);
      byId("compare").disabled = chosen.size === 0;
    },
  });
  box.checked = chosen.has(row.id);
  const share = row.total > 0 ? Math.min(1, row.steps / row.total) : 0;
  const node = el("tr", {},
    el("td", {}, box),
    el("td", {}, el("a", { href: `/runs/${row.id}` }, row.path)),
    el("td", {}, ...stateOf(row)),
    el("td", {}, row.learner),
    el("td", {}, row.source),
    el("td", { class: "number" }, number(row.steps), el("progress", { max: 1, value: share, "aria-label": `${Math.round(100 * share)} % of ${row.path}` })),
    el("td", { class: "number" }, row.score === null ? "" : interval(row.score)),
    el("td", { class: "number" }, row.seconds ? clock(row.seconds) : ""),
    el("td", { class: "number" }, ago(row.changed)),
  );
  drawn.set(row.id, { version: row.version, node });
  return node;
}

function show() {
  const fitting = wanted();
  const active = /** @type {any} */ (document.activeElement);
  const focused = body?.contains(active) ? { row: active.closest("tr"), name: active.localName } : null;
  const nodes = fitting.slice(0, shown).map(draw);
  const before = [...(body?.children ?? [])];
  if (before.length !== nodes.length || before.some((node, index) => node !== nodes[index])) {
    const id = focused && [...drawn].find(([, known]) => known.node === focused.row)?.[0];
    body?.replaceChildren(...nodes);
    if (focused && !body?.contains(active)) drawn.get(id ?? "")?.node.querySelector(focused.name)?.focus();
    else if (focused) active.focus();
  }
  const all = rows.size.toLocaleString("en");
  byId("count").textContent = complete
    ? fitting.length === rows.size ? `${all} runs` : `${fitting.length.toLocaleString("en")} of ${all} runs`
    : `${all} runs so far …`;
  byId("more").textContent = fitting.length > shown ? "More appear as you scroll." : "";
}

async function update() {
  do {
    const answer = await ask(`/api/runs?since=${version}`);
    if (answer.all) rows.clear();
    for (const row of answer.rows) rows.set(row.id, row);
    for (const id of answer.removed) {
      if (rows.delete(id) && chosen.delete(id)) note("A run that you chose was removed.");
      drawn.delete(id);
    }
    const changed = answer.all || answer.rows.length || answer.removed.length || complete !== answer.complete;
    version = answer.version;
    complete = answer.complete;
    if (changed) show();
  } while (!complete);
}

for (const id of ["search", "state", "kind"]) byId(id).addEventListener("input", () => { shown = STEP; show(); });
for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("button.sort"))) {
  button.addEventListener("click", () => {
    const key = button.dataset.key ?? "";
    const numeric = ["steps", "score", "seconds", "changed"].includes(key);
    sorting = { key, down: sorting.key === key ? !sorting.down : numeric };
    for (const head of document.querySelectorAll("th[aria-sort]")) head.removeAttribute("aria-sort");
    button.closest("th")?.setAttribute("aria-sort", sorting.down ? "descending" : "ascending");
    show();
  });
}
byId("compare").addEventListener("click", () => { location.href = `/compare?runs=${[...chosen].join(",")}`; });
new IntersectionObserver((entries) => {
  if (entries.some((entry) => entry.isIntersecting) && shown < rows.size) { shown += STEP; show(); }
}, { rootMargin: "600px" }).observe(byId("more"));
repeat(2, update, (error) => { byId("count").textContent = `${error.message}; trying again`; });
