// A board of Go in SVG. Every point is a button with a name such as "D4, black stone"; arrow keys walk over them.

import { svg } from "./svg.js";

const COLUMNS = "ABCDEFGHJKLMNOPQRSTUVWXYZ";
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/**
 * The name of a point, as in GTP.
 * @param {number} action
 * @param {number} size
 */
export function vertex(action, size) {
  return action === size * size ? "pass" : `${COLUMNS[action % size]}${size - Math.floor(action / size)}`;
}

export class Board {
  /**
   * @param {HTMLElement} place
   * @param {(point: string) => void} play called with the name of the point that the person chose
   */
  constructor(place, play) {
    this.place = place;
    this.play = play;
    this.size = 0;
    this.current = 0;
    /** @type {SVGElement[]} */
    this.points = [];
  }

  /**
   * Show a position.
   * @param {any} state as the server sends it
   */
  show(state) {
    if (state.size !== this.size) this.build(state.size);
    const hints = new Map(state.hints.map((/** @type {any} */ hint, /** @type {number} */ k) => [hint.action, { ...hint, rank: k + 1 }]));
    const dead = new Set(state.dead);
    this.points.forEach((point, action) => {
      const stone = state.stones[action];
      const hint = hints.get(action);
      const owner = state.ownership?.[action] ?? 0;
      const parts = [svg("rect", { class: "hit", x: -0.5, y: -0.5, width: 1, height: 1 })];
      if (stone) parts.push(svg("circle", { class: stone === 1 ? "stone black" : "stone white", r: 0.46 }));
      if (Math.abs(owner) >= 0.1) {
        const side = 0.1 + 0.3 * Math.abs(owner);
        parts.push(svg("rect", { class: owner > 0 ? "owner black" : "owner white", x: -side / 2, y: -side / 2, width: side, height: side }));
      }
      if (action === state.last) parts.push(svg("circle", { class: "last", r: 0.2 }));
      if (dead.has(action)) parts.push(svg("path", { class: "dead", d: "M-.25-.25L.25.25M-.25.25L.25-.25" }));
      if (hint && !stone) {
        parts.push(svg("circle", { class: "hint", r: 0.4 }), svg("text", { class: "rank", y: 0.17 }, String(hint.rank)));
      }
      parts.push(svg("rect", { class: "ring", x: -0.46, y: -0.46, width: 0.92, height: 0.92 }));
      point.replaceChildren(...parts);
      point.setAttribute("aria-label", this.label(action, stone, action === state.last, dead.has(action), hint, owner));
      point.setAttribute("aria-disabled", String(state.turn !== "person" || stone !== 0));
    });
  }

  /** What a screen reader says of a point. */
  label(/** @type {number} */ action, /** @type {number} */ stone, /** @type {boolean} */ last, /** @type {boolean} */ dead, /** @type {any} */ hint, /** @type {number} */ owner) {
    const words = [vertex(action, this.size), ["empty", "black stone", "white stone"][stone]];
    if (last) words.push("last move");
    if (dead) words.push("dead");
    if (hint) words.push(`favourite ${hint.rank}, ${Math.round(100 * hint.win_rate)} %`);
    if (Math.abs(owner) >= 0.1) words.push(`${Math.round(100 * Math.abs(owner))} % ${owner > 0 ? "black" : "white"}'s`);
    return words.join(", ");
  }

  /** @param {number} size */
  build(size) {
    this.size = size;
    const end = size - 1;
    const root = svg("svg", { viewBox: `-1.2 -1.2 ${size + 0.8} ${size + 0.8}`, class: "goban", role: "group", "aria-label": `Board of ${size} by ${size}; the arrow keys walk over it` });
    root.append(svg("rect", { class: "wood", x: -1.2, y: -1.2, width: size + 0.8, height: size + 0.8 }));
    for (let k = 0; k < size; k++) {
      root.append(svg("path", { class: "line", d: `M0 ${k}H${end}M${k} 0V${end}` }));
      root.append(svg("text", { class: "name", x: k, y: -0.65, "aria-hidden": "true" }, COLUMNS[k]));
      root.append(svg("text", { class: "name", x: -0.75, y: k + 0.12, "aria-hidden": "true" }, String(size - k)));
    }
    for (const [row, column] of stars(size)) root.append(svg("circle", { class: "star", cx: column, cy: row, r: 0.1 }));
    this.points = [];
    this.current = Math.floor((size * size) / 2);
    for (let action = 0; action < size * size; action++) {
      const point = svg("g", {
        role: "button", class: "point", tabindex: action === this.current ? 0 : -1, "data-point": vertex(action, size),
        transform: `translate(${action % size} ${Math.floor(action / size)})`,
      });
      point.addEventListener("click", () => this.choose(action));
      point.addEventListener("keydown", (event) => this.key(/** @type {KeyboardEvent} */ (event), action));
      point.addEventListener("focus", () => this.focus(action));
      this.points.push(point);
      root.append(point);
    }
    this.place.replaceChildren(root);
  }

  /** @param {number} action */
  choose(action) {
    if (this.points[action].getAttribute("aria-disabled") !== "true") this.play(vertex(action, this.size));
  }

  /** @param {number} action */
  focus(action) {
    this.points[this.current].setAttribute("tabindex", "-1");
    this.points[action].setAttribute("tabindex", "0");
    this.current = action;
  }

  /**
   * @param {KeyboardEvent} event
   * @param {number} action
   */
  key(event, action) {
    const step = STEPS[/** @type {keyof typeof STEPS} */ (event.key)];
    if (event.key === "Enter" || event.key === " ") {
      this.choose(action);
    } else if (step) {
      const row = Math.floor(action / this.size) + step[0];
      const column = (action % this.size) + step[1];
      if (row >= 0 && column >= 0 && row < this.size && column < this.size) this.points[row * this.size + column].focus();
    } else {
      return;
    }
    event.preventDefault();
  }
}

/**
 * The marked points of a board, as (row, column).
 * @param {number} size
 * @returns {number[][]}
 */
function stars(size) {
  if (size < 7) return [];
  const near = size < 13 ? 2 : 3;
  const middle = (size - 1) / 2;
  const ends = [near, size - 1 - near];
  const points = ends.flatMap((row) => ends.map((column) => [row, column]));
  if (size % 2) points.push([middle, middle]);
  if (size % 2 && size > 12) for (const end of ends) points.push([middle, end], [end, middle]);
  return points;
}
