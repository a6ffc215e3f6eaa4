// The form that starts a training or a fit; the server says which fields there are, with the preset's values.
import { ask, repeat } from "./api.js";
import { byId, el, note } from "./dom.js";
import { jobNode } from "./jobs.js";

/** @type {{agents: string[], environments: string[], tasks: string[]}} */
let known = { agents: [], environments: [], tasks: [] };
let jobs = "";

const source = () => (byId("kind").value === "train" ? byId("source").value.trim() : "");

/** @param {any} field */
function input(field) {
  const attributes = { id: `field-${field.name}`, name: field.name, "aria-describedby": `help-${field.name}` };
  if (field.kind === "choice") return el("select", attributes, ...field.choices.map((/** @type {string} */ one) => el("option", { value: one, selected: one === field.value }, one)));
  if (field.kind === "switch") return el("select", attributes, ...["true", "false"].map((one) => el("option", { value: one, selected: one === field.value }, one === "true" ? "yes" : "no")));
  return el("input", { ...attributes, value: field.value, autocomplete: "off", inputmode: field.kind === "number" ? "decimal" : "text" });
}

/** @param {string} title @param {any[]} fields */
function group(title, fields) {
  return el("fieldset", {}, el("legend", {}, title), el("div", { class: "fields" }, ...fields.map((field) => el("div", { class: "field" },
    el("label", { for: `field-${field.name}` }, field.name.replaceAll("_", " "), input(field)),
    el("small", { id: `help-${field.name}` }, field.help),
  ))));
}

async function showFields() {
  const training = byId("kind").value === "train";
  byId("source-label").hidden = !training;
  if (training && !known.environments.includes(source())) {
    byId("fields").replaceChildren(el("p", { class: "faint" }, "Choose a world that Fathom knows."));
    return;
  }
  const { fields } = await ask(`/api/start/options?${new URLSearchParams({ learner: byId("learner").value, source: source() })}`);
  const names = [...new Set(fields.map((/** @type {any} */ field) => field.of))];
  byId("fields").replaceChildren(...names.map((name, index) => group(index ? "Hyperparameters" : "Run", fields.filter((/** @type {any} */ field) => field.of === name))));
}

function showLearners() {
  const training = byId("kind").value === "train";
  const names = training ? known.agents : known.tasks;
  byId("learner").replaceChildren(...names.map((name) => el("option", { value: name, selected: name === "ppo" || name === "digits" }, name)));
  return showFields();
}

/** @param {Event} event */
async function submit(event) {
  event.preventDefault();
  const values = Object.fromEntries(new FormData(byId("form")));
  byId("go").disabled = true;
  try {
    await ask("/api/start", { learner: byId("learner").value, source: source(), values });
    note("It has been started.");
    await showJobs();
  } catch (error) {
    note(/** @type {Error} */ (error).message);
  }
  byId("go").disabled = false;
}

async function showJobs() {
  const answer = await ask("/api/jobs");
  const text = JSON.stringify(answer.jobs);
  if (text === jobs || !answer.jobs.length) return;
  jobs = text;
  byId("jobs").replaceChildren(...answer.jobs.map((/** @type {any} */ job) => jobNode(job, showJobs)));
}

/** @param {Promise<void>} done */
const saying = (done) => done.catch((error) => note(error.message));
byId("form").addEventListener("submit", submit);
byId("kind").addEventListener("change", () => saying(showLearners()));
for (const name of ["learner", "source"]) byId(name).addEventListener("change", () => saying(showFields()));
ask("/api/start").then((answer) => {
  known = answer;
  byId("sources").replaceChildren(...known.environments.map((name) => el("option", { value: name })));
  return showLearners();
}).catch((error) => note(error.message));
repeat(2, showJobs, (error) => note(error.message));
