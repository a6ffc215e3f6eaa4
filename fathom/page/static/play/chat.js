// A chat with a dialogue agent or a fit of chit-chat.

import { byId, el } from "../dom.js";
import { begin } from "./live.js";

const live = begin({ chat: show }, (ended) => { byId("verdict").textContent = ended; });
const form = byId("say");

/** @param {any} now */
function show(now) {
  const lines = byId("lines");
  lines.replaceChildren(...now.lines.map(line));
  if (!now.lines.length) lines.append(el("p", { class: "faint" }, "Say something."));
  lines.scrollTop = lines.scrollHeight;
  byId("verdict").textContent = now.verdict ?? "";
  byId("verdict").className = now.success ? "good" : "warn";
  for (const field of form.querySelectorAll("input, button.main")) field.disabled = Boolean(now.over);
  if (now.over) byId("again").focus();
  if (now.beliefs) beside(now);
}

/** @param {any} one */
function line(one) {
  const heard = one.heard ? el("small", { class: "faint" }, `heard: ${one.heard}`) : null;
  return el("p", { class: `line ${one.by}` }, el("span", { class: "by" }, one.by === "you" ? "you" : "agent"), el("span", {}, one.text), heard);
}

/**
 * The card, and what the agent believes.
 * @param {any} now
 */
function beside(now) {
  byId("beside").hidden = false;
  byId("task").textContent = `Your card: ${now.task}`;
  byId("card").replaceChildren(
    ...now.card.flatMap((/** @type {string[]} */ [slot, value]) => [el("dt", {}, slot), el("dd", {}, value)]),
    ...now.questions.flatMap((/** @type {string} */ slot) => [el("dt", {}, slot), el("dd", { class: "warn" }, "ask for it")]),
  );
  byId("beliefs").replaceChildren(...now.beliefs.map(belief));
  byId("matches").textContent = `${now.matches} of ${now.rows} rows fit`;
}

/** @param {any} one */
function belief(one) {
  const notes = [one.affirmed && "affirmed", one.told !== null ? `told ${one.told}` : one.asked && "asked"];
  const chance = one.best
    ? [el("meter", { min: 0, max: 1, value: one.chance, "aria-label": `probability of ${one.slot}` }), ` ${Math.round(100 * one.chance)} %`]
    : [];
  return el("tr", {},
    el("th", { scope: "row" }, one.slot), el("td", {}, one.best ?? ""), el("td", { class: "chance" }, ...chance),
    el("td", {}, one.second ? `${one.second} ${Math.round(100 * one.second_chance)} %` : ""),
    el("td", {}, notes.filter(Boolean).join(", ")));
}

form.addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  live.send({ do: "say", text: form.text.value });
  form.text.value = "";
});
byId("again").addEventListener("click", () => live.send({ do: "new" }));
