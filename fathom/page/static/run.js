// One run: state, curves, episodes, checkpoints, pictures, commands, settings; live while it is trained.
import { ask, repeat } from "./api.js";
import { figure } from "./chart.js";
import { byId, clock, copying, el, interval, note, number, stateOf } from "./dom.js";
import { episode } from "./episode.js";
import { jobNode } from "./jobs.js";

const place = byId("run");
const id = place.dataset.id;
const readOnly = "readOnly" in place.dataset;
/** What each section shows now, so that nothing is drawn again that did not change. @type {Map<string, string>} */
const shown = new Map();
/** @type {Map<string, {figure: any, chart: import("./chart.js").Chart}>} */
const charts = new Map();
/** @type {any} */
let curves = null;
let version = "";

/** Draw a section where its content changed. @param {string} name @param {any} content @param {() => (Node|string|null)[]} draw */
function section(name, content, draw) {
  const text = JSON.stringify(content);
  if (shown.get(name) === text) return;
  shown.set(name, text);
  byId(name).replaceChildren(...draw().filter((node) => node !== null));
}

/** @param {string} path @param {object} body @param {string} done */
async function post(path, body, done) {
  try {
    await ask(path, body);
    note(done);
    await update();
  } catch (error) {
    note(/** @type {Error} */ (error).message);
  }
}

/** @param {Record<string, string>} table */
function table(table) {
  return el("dl", { class: "facts" }, ...Object.entries(table).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

/** A video or a picture of one of the run's folders. @param {string} folder @param {any} one */
function tile(folder, one) {
  const address = `/runs/${id}/${folder}/`;
  if (one.name.endsWith(".mp4")) return episode(address, one);
  return el("figure", {}, el("img", { src: `${address}${encodeURIComponent(one.name)}?${one.changed}`, alt: `Picture ${one.name} of the run`, loading: "lazy" }), el("figcaption", {}, one.name));
}

/** The trials of a sweep, the best first. @param {any} sweep */
function trials(sweep) {
  if (!sweep.trials.length) return el("p", { class: "faint" }, "Its table and pictures appear when it is done.");
  const names = Object.keys(sweep.trials[0].settings);
  return el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, ...["Trial", ...names, sweep.score, "95 % interval", "IQM", "Runs", ""].map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, ...sweep.trials.map((/** @type {any} */ one) => el("tr", {},
      el("td", {}, one.name),
      ...names.map((name) => el("td", {}, one.settings[name])),
      el("td", {}, one.mean === null ? "" : number(one.mean)),
      el("td", {}, one.interval ? `${number(one.interval[0])} to ${number(one.interval[1])}` : ""),
      el("td", {}, one.iqm === null ? "" : number(one.iqm)),
      el("td", {}, ...one.runs.flatMap((/** @type {any} */ run) => [run.id === id ? run.name : el("a", { href: `/runs/${run.id}` }, run.name), " "])),
      el("td", {}, one.why),
    )))));
}

/** @param {any} run */
function showFacts(run) {
  section("state", [run.state, run.why], () => stateOf(run));
  section("actions", [run.state, run.rooms], () => [
    run.state === "paused" && !readOnly ? el("button", { onclick: () => post(`/api/runs/${id}/resume`, {}, "It goes on from its last checkpoint.") }, "Resume") : null,
    el("a", { class: "button", href: `/compare?runs=${id}` }, "Compare"),
    ...(run.rooms ?? []).map((/** @type {string[]} */ [room, title]) => el("a", { class: "button", href: `/play/${room}/${id}` }, title)),
  ]);
  section("facts", [run.steps, run.score, run.seconds, run.provenance], () => [table({
    [run.kind === "fit" ? "Task" : "Agent"]: run.learner,
    [run.kind === "fit" ? "Data" : "World"]: run.source,
    Steps: `${number(run.steps)} of ${number(run.total)}`,
    ...(run.score ? { Score: `${run.score.name} ${interval(run.score)}, 95 % interval, ${number(run.score.count)} ${run.score.of}, step ${number(run.score.steps)}` } : {}),
    Training: clock(run.seconds),
    ...(run.provenance?.length ? { History: run.provenance.join("; ") } : {}),
  })]);
  section("checkpoints", run.checkpoints, () => run.checkpoints?.length ? [
    el("h2", {}, "Checkpoints"),
    el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ...["Number", "Steps", "Training", "Play", "Episodes"].map((text) => el("th", { scope: "col" }, text)))), el("tbody", {}, ...run.checkpoints.map((/** @type {any} */ one) => el("tr", {},
      el("td", {}, `${one.number}${one.best ? " (best evaluation)" : ""}`),
      el("td", {}, one.why ? el("span", { class: "bad" }, one.why) : number(one.steps)),
      el("td", {}, one.why ? "" : clock(one.seconds)),
      el("td", {}, one.why || !run.rooms?.length ? "" : el("a", { href: `/play/${run.rooms[0][0]}/${id}?checkpoint=${one.steps}`, "aria-label": `${run.rooms[0][1]}, as of step ${one.steps}` }, run.rooms[0][1])),
      el("td", {}, readOnly || one.why || run.kind === "fit" ? "" : el("button", { "aria-label": `Record an episode of step ${one.steps}`, onclick: () => post(`/api/runs/${id}/record`, { steps: one.steps }, "An episode is being recorded; it appears here when it is ready.") }, "Record an episode")),
    ))))),
  ] : []);
  section("episodes", run.videos, () => run.videos.length ? [
    el("h2", {}, "Episodes"),
    el("div", { class: "tiles" }, ...run.videos.map((/** @type {any} */ one) => tile("videos", one))),
  ] : []);
  section("pictures", run.pictures, () => run.pictures.length ? [
    el("h2", {}, "Pictures"),
    el("div", { class: "tiles" }, ...run.pictures.map((/** @type {any} */ one) => tile("pictures", one))),
  ] : []);
  section("sweep", run.sweep, () => run.sweep ? [
    el("h2", {}, `Sweep ${run.sweep.name}`),
    trials(run.sweep),
    el("div", { class: "tiles" }, ...run.sweep.pictures.map((/** @type {any} */ one) => el("figure", {}, el("img", { src: `/runs/${id}/sweep/${one.name}?${one.changed}`, alt: `Picture ${one.name} of the sweep`, loading: "lazy" }), el("figcaption", {}, one.name)))),
  ] : []);
  section("commands", run.commands, () => run.commands ? [
    el("h2", {}, "Commands"),
    ...Object.entries(run.commands).map(([name, text]) => el("div", { class: "command" }, el("span", { class: "faint" }, name), el("pre", { tabindex: "0" }, text), copying(text, `Copy the command: ${name}`))),
  ] : []);
  section("settings", run.settings, () => run.settings ? [
    el("h2", {}, "Settings"),
    el("div", { class: "tiles" }, ...Object.entries(run.settings).map(([name, part]) => el("div", {}, el("h3", {}, name.replaceAll("_", " ")), table(part)))),
  ] : []);
}

function drawCurves() {
  if (curves === null) return;
  const axis = byId("axis").value;
  const label = byId("axis").selectedOptions[0].textContent;
  const x = curves.axes[axis];
  /** @type {Map<string, import("./chart.js").Curve[]>} */
  const wanted = new Map();
  const scores = curves.evaluations;
  if (scores.length) {
    /** @param {string} key */
    const column = (key) => scores.map((/** @type {any} */ one) => one[key]);
    wanted.set(`evaluation: ${scores[0].score}, with 95 % intervals`, [{ label: scores[0].score, x: column(axis), y: column("mean"), low: column("low"), high: column("high"), points: true }]);
  }
  for (const [name, curve] of Object.entries(curves.curves)) wanted.set(name, [{ label: name, x, y: curve.mean, low: curve.low, high: curve.high }]);
  const own = [...wanted].find(([name]) => name.startsWith("evaluation"))?.[1][0];
  const returns = wanted.get("episode_return");
  if (own && own.label === "return" && returns) returns.push({ ...own, label: "evaluation" });
  if (wanted.size && charts.size === 0) byId("charts").replaceChildren();
  for (const [name, lines] of wanted) {
    let known = charts.get(name);
    if (known === undefined) {
      known = figure(name);
      charts.set(name, known);
      byId("charts").append(known.figure);
    }
    known.chart.draw(lines, label);
  }
  for (const [name, known] of charts) if (!wanted.has(name)) { known.figure.remove(); charts.delete(name); }
  const whole = Object.values(curves.phases).reduce((sum, seconds) => sum + seconds, 0);
  section("phases", curves.phases, () => whole > 0 ? [
    el("h2", {}, "Time by phase"),
    el("div", { class: "phases" }, ...Object.entries(curves.phases).flatMap(([name, seconds]) => {
      const bar = el("div", { class: "bar" });
      bar.style.width = `${(100 * seconds) / whole}%`;
      return [el("span", {}, name), bar, el("span", {}, `${Math.round((100 * seconds) / whole)} %, ${clock(seconds)}`)];
    })),
  ] : []);
}

async function update() {
  const run = await ask(`/api/runs/${id}`);
  showFacts(run);
  if (run.settings) {
    const newer = await ask(`/api/runs/${id}/curves?version=${encodeURIComponent(version)}`);
    if (newer !== null) {
      curves = newer;
      version = newer.version;
      drawCurves();
    }
  }
  if (readOnly) return;
  const jobs = (await ask("/api/jobs")).jobs.filter((/** @type {any} */ job) => job.run === id);
  section("jobs", jobs, () => jobs.map((/** @type {any} */ job) => jobNode(job, update)));
}

byId("axis").addEventListener("input", drawCurves);
repeat(2, update, (error) => section("state", error.message, () => [el("span", { class: "bad" }, error.message)]));
