// The actions of a game as buttons, with the agent's value or probability of each as a bar.

import { el } from "../dom.js";

const NAMES = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", " ": "space" };

export class Actions {
  /**
   * @param {HTMLElement} place
   * @param {any} game as the server describes it
   * @param {(action: number) => void} act
   */
  constructor(place, game, act) {
    this.kind = game.score_kind;
    this.spread = 1e-9;
    const keys = new Map(game.keys.map((/** @type {any} */ [held, action]) => [action, held]));
    this.rows = game.actions.map((/** @type {string} */ name, /** @type {number} */ action) => {
      const held = keys.get(action) ?? [];
      const value = el("span", { class: "number" });
      const bar = el("span", { class: "fill" });
      const shown = held.map((/** @type {string} */ key) => el("kbd", {}, /** @type {any} */ (NAMES)[key] ?? key));
      const button = el("button", { class: "action", onclick: () => act(action) },
        el("span", { class: "action-name" }, name), el("span", {}, ...shown), el("span", { class: "bar", "aria-hidden": "true" }, bar), value);
      return { button, bar, value };
    });
    place.replaceChildren(...this.rows.map((/** @type {any} */ row) => row.button));
  }

  /**
   * Show a step.
   * @param {any} frame as the server sends it
   */
  show(frame) {
    const scores = frame.scores;
    const mean = scores ? scores.reduce((/** @type {number} */ sum, /** @type {number|null} */ x) => sum + (x ?? 0), 0) / scores.length : 0;
    // One scale for the whole game, slowly forgetting, so that values that hardly differ look so.
    if (scores) this.spread = Math.max(0.99 * this.spread, ...scores.map((/** @type {number|null} */ x) => Math.abs((x ?? mean) - mean)), 1e-9);
    this.rows.forEach((/** @type {any} */ row, /** @type {number} */ action) => {
      const score = scores?.[action] ?? null;
      row.button.disabled = Boolean(frame.end) || frame.legal?.[action] === false;
      row.button.classList.toggle("choice", action === frame.choice);
      row.value.textContent = score === null ? "" : score.toFixed(3);
      const width = score === null ? 0 : this.kind === "probability" ? score : Math.min(0.5, Math.abs(score - mean) / this.spread / 2);
      row.bar.style.width = `${100 * width}%`;
      row.bar.style.left = this.kind === "probability" ? "0" : score !== null && score < mean ? `${50 - 100 * width}%` : "50%";
    });
  }
}
