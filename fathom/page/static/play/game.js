// A game by keyboard: pictures, keys, and the hand-over between person and agent.

import { byId, number } from "../dom.js";
import { Actions } from "./actions.js";
import { begin, painter } from "./live.js";

const paint = painter(byId("picture"));
const paintSeen = painter(byId("seen"));
const screen = byId("screen");
const live = begin({ game: prepare, frame: show }, (ended) => { byId("message").textContent = ended; });
/** @type {any} */
let game = null;
/** @type {Actions} */
let actions;
/** @type {Set<string>} */
const held = new Set();
/** @type {Set<string>} */
let known = new Set();

/** @param {any} message */
function prepare(message) {
  game = message;
  known = new Set(game.keys.flatMap((/** @type {any} */ [keys]) => keys));
  actions = new Actions(byId("actions"), game, (action) => live.send({ do: "act", action }));
  byId("scores").textContent = game.score_kind ? `Actions, and the agent's ${game.score_kind} of each` : "Actions";
  byId("hand").hidden = !game.agent;
  byId("pause").hidden = byId("speed").parentElement.hidden = !game.agent && game.waits; // nothing runs by itself
  byId("look").hidden = Boolean(game.no_saliency);
  screen.focus();
}

/**
 * @param {any} frame
 * @param {Blob[]} pictures
 */
function show(frame, pictures) {
  paint(pictures[0]);
  byId("attention").hidden = pictures.length < 2;
  if (pictures.length > 1) paintSeen(pictures[1]);
  actions.show(frame);
  Object.assign(byId("room").dataset, { player: frame.person ? "person" : "agent", steps: frame.steps, end: frame.end });
  byId("facts").textContent = `Step ${number(frame.steps)} · return ${number(frame.return)} · reward ${number(frame.reward)}`;
  byId("hand").lastElementChild.textContent = frame.person ? "Let the agent play" : "Play yourself";
  byId("pause").lastElementChild.textContent = frame.paused ? "Go on" : "Pause";
  const line = sentence(frame);
  if (byId("message").textContent !== line) byId("message").textContent = line; // a screen reader reads changes
}

/** @param {any} frame */
function sentence(frame) {
  if (frame.end) return `The episode is over (${frame.end}) after ${number(frame.steps)} steps with return ${number(frame.return)}. Press n for a new one.`;
  if (frame.paused) return "Paused.";
  if (!frame.person) return "The agent plays. Press h to take over.";
  return game.waits ? "You play: the game waits for your keys." : "You play.";
}

/** @param {boolean} pressed whether a key went down */
function sendKeys(pressed) {
  live.send({ do: "keys", held: [...held], pressed });
}

const COMMANDS = { h: () => live.send({ do: "hand over" }), p: () => live.send({ do: "pause" }), n: () => live.send({ do: "new" }) };

screen.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const command = COMMANDS[/** @type {keyof typeof COMMANDS} */ (key)];
  if (command) {
    if (!event.repeat) command();
  } else if (known.has(key)) {
    held.add(key);
    if (!event.repeat || game.waits) sendKeys(true);
  } else {
    return;
  }
  event.preventDefault();
});
screen.addEventListener("keyup", (/** @type {KeyboardEvent} */ event) => {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (held.delete(key)) sendKeys(false);
});
screen.addEventListener("blur", () => {
  if (held.size) {
    held.clear();
    sendKeys(false);
  }
});
byId("hand").addEventListener("click", COMMANDS.h);
byId("pause").addEventListener("click", COMMANDS.p);
byId("new").addEventListener("click", () => {
  COMMANDS.n();
  screen.focus();
});
byId("speed").addEventListener("change", () => live.send({ do: "speed", speed: Number(byId("speed").value) }));
byId("saliency").addEventListener("change", () => live.send({ do: "saliency", kind: byId("saliency").value }));
