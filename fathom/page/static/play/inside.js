// What a network sees: its filters, images that activate its units most, what decides for a class.

import { byId, el } from "../dom.js";
import { begin, painter } from "./live.js";

const live = begin({ inside: prepare, busy, view: show, note: free }, (ended) => { byId("message").textContent = ended; });
const form = byId("ask");

/** @param {any} message */
function prepare(message) {
  form.layer.append(...message.layers.map((/** @type {string} */ name) => el("option", {}, name)));
  for (const button of form.querySelectorAll("button")) {
    button.hidden = !message.looks.includes(button.value);
    button.disabled = false;
  }
  byId("message").textContent = "Choose what to look at.";
}

function busy() {
  byId("message").textContent = "Looking: this takes seconds …";
  for (const button of form.querySelectorAll("button")) button.disabled = true;
}

/** @param {any} message what was wrong */
function free(message) {
  byId("message").textContent = message.text;
  for (const button of form.querySelectorAll("button")) button.disabled = false;
}

/**
 * @param {any} message
 * @param {Blob[]} pictures
 */
function show(message, pictures) {
  free({ text: "Done." });
  byId("pictures").replaceChildren(...pictures.map((picture, k) => {
    const canvas = el("canvas", { role: "img", "aria-label": message.titles[k] });
    painter(canvas)(picture);
    return el("figure", {}, el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${message.titles[k]}, scrolled` }, canvas), el("figcaption", {}, message.titles[k]));
  }));
  const [head, ...rows] = message.table;
  byId("table").replaceChildren(
    el("thead", {}, el("tr", {}, ...head.map((/** @type {string} */ cell) => el("th", { scope: "col" }, cell)))),
    el("tbody", {}, ...rows.map((/** @type {string[]} */ row) => el("tr", {}, ...row.map((cell) => el("td", {}, cell))))),
  );
}

form.addEventListener("submit", (/** @type {SubmitEvent} */ event) => {
  event.preventDefault();
  const what = /** @type {HTMLButtonElement|null} */ (event.submitter)?.value ?? "filters";
  live.send({ do: what, layer: what === "filters" ? form.layer.value : "" });
});
