// A game of Go against a run or a search.

import { byId, el } from "../dom.js";
import { Board } from "./board.js";
import { showCurve } from "./curve.js";
import { begin } from "./live.js";

const board = new Board(byId("board"), (point) => live.send({ do: "play", point }));
const live = begin({ go: show, sgf: save, note: stopped }, (ended) => { byId("message").textContent = ended; });
/** @type {any} */
let state = null;

/** @param {any} now */
function show(now) {
  if (state === null) prepare(now);
  state = now;
  board.show(now);
  byId("message").textContent = sentence(now);
  byId("room").dataset.turn = now.thinking ? "thinking" : now.turn;
  byId("players").replaceChildren(
    player(1, now), player(2, now),
  );
  byId("facts").textContent = `${now.moves} moves played · komi ${now.komi} · ${now.size}×${now.size}`;
  byId("agree").hidden = now.turn !== "dead stones";
  byId("hints").replaceChildren(...now.hints.map(hint));
  showCurve(byId("curve"), now.win_rates, now.moves);
  for (const button of document.querySelectorAll("[data-do]")) {
    const free = ["undo", "curve", "ownership"].includes(/** @type {HTMLElement} */ (button).dataset.do ?? "");
    /** @type {HTMLButtonElement} */ (button).disabled = now.thinking || (now.turn !== "person" && !free);
  }
}

/** What was asked could not be done, so nobody thinks any more. */
function stopped() {
  if (state?.thinking) show({ ...state, thinking: false });
}

/** @param {any} now */
function sentence(now) {
  if (now.thinking) return now.turn === "player" ? `${now.player} is thinking …` : "Thinking …";
  if (now.verdict) return [now.message, now.verdict].filter(Boolean).join(" ");
  if (now.turn === "dead stones") return `${now.message} Do you agree?`;
  return now.message || "Your move.";
}

/**
 * @param {number} colour
 * @param {any} now
 */
function player(colour, now) {
  const name = colour === now.colour ? "you" : now.player;
  const turn = now.turn !== "over" && now.to_play === colour;
  return el("tr", turn ? { class: "turn" } : {},
    el("th", { scope: "row" }, colour === 1 ? "Black" : "White"), el("td", {}, name),
    el("td", {}, `${now.captured[colour - 1]} captured`), el("td", {}, turn ? "to play" : ""));
}

/** @param {any} one */
function hint(one) {
  const visits = one.visits ? `, ${one.visits} visits` : `, prior ${Math.round(100 * one.prior)} %`;
  const line = one.line.length ? `, then ${one.line.join(" ")}` : "";
  return el("li", {}, `${one.point}: ${Math.round(100 * one.win_rate)} %${visits}${line}`);
}

/**
 * Fill in the form of a new game.
 * @param {any} now
 */
function prepare(now) {
  const form = byId("new");
  const sizes = now.fixed_size ? [now.fixed_size] : [5, 7, 9, 13, 19];
  form.size.replaceChildren(...sizes.map((size) => el("option", { selected: size === now.size }, String(size))));
  form.handicap.replaceChildren(...[0, 2, 3, 4, 5, 6, 7, 8, 9].map((count) => el("option", {}, String(count))));
  form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    live.send({
      do: "new", size: Number(form.size.value), colour: form.colour.value,
      handicap: Number(form.handicap.value), seconds: Number(form.seconds.value),
    });
  });
}

/**
 * Offer a record for download. It is text from the server, so nothing is fetched.
 * @param {any} message
 */
function save(message) {
  const address = URL.createObjectURL(new Blob([message.text], { type: "application/x-go-sgf" }));
  el("a", { href: address, download: "game.sgf" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

for (const button of document.querySelectorAll("[data-do]")) {
  button.addEventListener("click", () => live.send({ do: /** @type {HTMLElement} */ (button).dataset.do }));
}
for (const button of document.querySelectorAll("[data-agree]")) {
  button.addEventListener("click", () => live.send({ do: "agree", yes: /** @type {HTMLElement} */ (button).dataset.agree === "yes" }));
}
byId("save").addEventListener("click", () => live.send({ do: "sgf" }));
byId("load").addEventListener("change", async () => {
  const file = byId("load").files[0];
  if (file) live.send({ do: "load", sgf: (await file.text()).slice(0, 270_000) });
  byId("load").value = "";
});
