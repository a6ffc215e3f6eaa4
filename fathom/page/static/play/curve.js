// A small curve in SVG: win rates by moves.

import { svg } from "./svg.js";

const WIDTH = 400;
const HEIGHT = 110;
const LEFT = 34;

/**
 * @param {HTMLElement} place
 * @param {[number, number][]} points number of moves and win rate from 0 to 1, in order
 * @param {number} moves of the game
 */
export function showCurve(place, points, moves) {
  const right = Math.max(moves, 10);
  const x = (/** @type {number} */ k) => LEFT + ((WIDTH - LEFT - 6) * k) / right;
  const y = (/** @type {number} */ rate) => 8 + (HEIGHT - 28) * (1 - rate);
  const last = points.at(-1);
  const words = last ? `Your win rate: ${Math.round(100 * last[1])} % after ${last[0]} moves` : "No win rates yet";
  const root = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "curve", role: "img", "aria-label": words });
  for (const rate of [0, 0.5, 1]) {
    root.append(svg("path", { class: "grid", d: `M${LEFT} ${y(rate)}H${WIDTH - 6}` }));
    root.append(svg("text", { x: LEFT - 4, y: y(rate) + 4, "text-anchor": "end" }, `${100 * rate} %`));
  }
  root.append(svg("text", { x: WIDTH - 6, y: HEIGHT - 4, "text-anchor": "end" }, `move ${right}`));
  if (points.length) {
    root.append(svg("path", { class: "value", d: "M" + points.map(([k, rate]) => `${x(k).toFixed(1)} ${y(rate).toFixed(1)}`).join("L") }));
    for (const [k, rate] of points) root.append(svg("circle", { class: "dot", cx: x(k), cy: y(rate), r: 2.2 }));
  }
  place.replaceChildren(root);
}
