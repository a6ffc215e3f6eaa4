// Runs compared. The address holds the whole comparison; the server reads, smooths and averages.
import { ask, repeat } from "./api.js";
import { Chart } from "./chart.js";
import { byId, el, note } from "./dom.js";
import { episode } from "./episode.js";

const FIELDS = ["curve", "axis", "smoothing", "seeds"];
const query = new URLSearchParams(location.search);
const chart = new Chart(byId("chart"), 420);
/** @type {Map<string, string>} */
const known = new Map();
let drawn = "";
let videos = "";

/** @returns {string[]} */
const runs = () => (query.get("runs") ?? "").split(",").filter(Boolean);

/** Change the comparison, and with it the address. @param {Record<string, string>} changes */
function change(changes) {
  for (const [name, value] of Object.entries(changes)) query.set(name, value);
  history.replaceState(null, "", `/compare?${query}`);
  update().catch((error) => note(error.message));
}

async function update() {
  for (const link of /** @type {NodeListOf<any>} */ (document.querySelectorAll(".save"))) link.href = `/compare/curves.${link.dataset.kind}?${query}`;
  const answer = await ask(`/api/compare?${query}`);
  const text = JSON.stringify(answer);
  if (text === drawn) return;
  drawn = text;
  byId("curve").replaceChildren(...answer.names.map((/** @type {string} */ name) => el("option", { value: name, selected: name === answer.curve }, name)));
  byId("chips").replaceChildren(...answer.runs.map((/** @type {any} */ run) => el("li", {},
    el("a", { href: `/runs/${run.id}` }, run.name), " ",
    el("button", { "aria-label": `Take ${run.name} out`, onclick: () => change({ runs: runs().filter((id) => id !== run.id).join(",") }) }, "✕"),
  )));
  byId("remarks").replaceChildren(...answer.notes.map((/** @type {string} */ line) => el("p", { class: "bad" }, line)),
    ...(answer.runs.length ? [] : [el("p", { class: "faint" }, "Choose runs in the list of runs, or add them here by name.")]));
  chart.draw(answer.lines.map((/** @type {any} */ line) => ({ label: line.label, x: line.x, y: line.mean, low: line.low, high: line.high })), answer.axis);
  byId("settings").replaceChildren(...(answer.settings.length ? [
    el("h2", {}, "Settings that differ"),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Settings that differ" }, el("table", {},
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Setting"), ...answer.runs.map((/** @type {any} */ run) => el("th", { scope: "col" }, run.name)))),
      el("tbody", {}, ...answer.settings.map((/** @type {any} */ row) => el("tr", {}, el("th", { scope: "row" }, row.name), ...row.values.map((/** @type {string} */ value) => el("td", {}, value))))),
    )),
  ] : []));
  showVideos(answer.runs.filter((/** @type {any} */ run) => run.video));
}

/** Newest episodes side by side, started together. @param {any[]} recorded */
function showVideos(recorded) {
  const text = JSON.stringify(recorded);
  if (text === videos) return;
  videos = text;
  const tiles = recorded.map((run) => {
    const tile = episode(`/runs/${run.id}/videos/`, run.video);
    tile.prepend(el("strong", {}, run.name));
    return tile;
  });
  const start = () => {
    for (const tile of tiles) {
      const video = tile.querySelector("video");
      video.currentTime = 0;
      video.play();
    }
  };
  byId("videos").replaceChildren(...(tiles.length ? [
    el("h2", {}, "Episodes"),
    el("p", {}, el("button", { id: "together", onclick: start }, "Start all together")),
    el("div", { class: "tiles" }, ...tiles),
  ] : []));
}

async function learnNames() {
  const answer = await ask("/api/runs");
  for (const row of answer.rows) known.set(row.path, row.id);
  byId("known").replaceChildren(...[...known.keys()].slice(0, 1000).map((path) => el("option", { value: path })));
  if (!answer.complete) setTimeout(learnNames, 300);
}

for (const name of FIELDS) {
  const field = byId(name);
  if (query.has(name) && name !== "curve") field.value = query.get(name);
  field.addEventListener("change", () => change({ [name]: field.value }));
}
byId("add").addEventListener("change", () => {
  const id = known.get(byId("add").value);
  if (id === undefined) return;
  byId("add").value = "";
  change({ runs: [...new Set([...runs(), id])].join(",") });
});
learnNames().catch((error) => note(error.message));
repeat(3, update, (error) => byId("remarks").replaceChildren(el("p", { class: "bad" }, error.message)));
