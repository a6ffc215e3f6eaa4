// Curves on a canvas, by uPlot, with bands, in the colours of the page; a sentence says the same to a screen reader.
import { el, number } from "./dom.js";

/**
 * @typedef {object} Curve
 * @property {string} label
 * @property {(number|null)[]} x
 * @property {(number|null)[]} y
 * @property {(number|null)[]} [low] lower end of a band
 * @property {(number|null)[]} [high] upper end of a band
 * @property {boolean} [points] draw points, as of evaluations
 */

const LIGHT = ["#0b5394", "#b45309", "#1a6b34", "#9d174d", "#5b21b6", "#0f766e", "#7c2d12", "#374151"];
const DARK = ["#8ec1f2", "#f0b35e", "#7fd498", "#f59bc0", "#c4b0fb", "#6fd6cb", "#f0a58a", "#c3ccd6"];
const dark = matchMedia("(prefers-color-scheme: dark)");

/** A chart in an element; `draw` draws curves, again whenever they change. */
export class Chart {
  /**
   * @param {HTMLElement} host
   * @param {number} [height]
   */
  constructor(host, height = 220) {
    this.host = host;
    this.height = height;
    /** @type {any} */
    this.plot = null;
    /** @type {Curve[]} */
    this.curves = [];
    this.shape = "";
    this.axis = "";
    host.classList.add("chart");
    host.setAttribute("role", "img");
    new ResizeObserver(() => {
      if (this.plot && host.clientWidth) this.plot.setSize({ width: host.clientWidth, height: this.height });
    }).observe(host);
    dark.addEventListener("change", () => { this.shape = ""; this.draw(this.curves, this.axis); });
  }

  /**
   * @param {Curve[]} curves
   * @param {string} axis name of the horizontal axis
   */
  draw(curves, axis) {
    this.curves = curves;
    this.axis = axis;
    this.host.setAttribute("aria-label", summary(curves, axis));
    const data = joined(curves);
    const shape = JSON.stringify([axis, curves.map((curve) => [curve.label, !!curve.low, drawsPoints(curve)])]);
    if (this.plot && shape === this.shape) {
      this.plot.setData(data);
      return;
    }
    this.shape = shape;
    this.plot?.destroy();
    this.host.replaceChildren();
    const ink = getComputedStyle(this.host).getPropertyValue("--faint");
    const grid = getComputedStyle(this.host).getPropertyValue("--line");
    const colours = dark.matches ? DARK : LIGHT;
    const series = [{ label: axis, value: shown }];
    const bands = [];
    for (const [index, curve] of curves.entries()) {
      const colour = colours[index % colours.length];
      const own = { label: curve.label, stroke: colour, width: 1.5, spanGaps: true, value: shown, points: { show: drawsPoints(curve), size: 6, fill: colour } };
      series.push(/** @type {any} */ (own));
      if (!curve.low) continue;
      const edge = { stroke: "transparent", width: 0, spanGaps: true, points: { show: false }, label: "", class: "edge", value: shown };
      bands.push({ series: [series.length + 1, series.length], fill: `${colour}33` });
      series.push(/** @type {any} */ (edge), /** @type {any} */ ({ ...edge }));
    }
    const side = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 } };
    this.plot = new uPlot({
      width: this.host.clientWidth || 400,
      height: this.height,
      scales: { x: { time: false } },
      axes: [
        { ...side, values: (/** @type {any} */ _, /** @type {number[]} */ marks) => marks.map(brief) },
        { ...side, size: 64, values: (/** @type {any} */ _, /** @type {number[]} */ marks) => marks.map(brief) },
      ],
      series,
      bands,
      legend: { live: true },
      cursor: { drag: { x: true, y: false } },
    }, data, this.host);
    for (const row of this.host.querySelectorAll(".edge")) row.remove();
  }
}

/** Whether a curve has points; a few reports without any might not even be a line. @param {Curve} curve */
function drawsPoints(curve) {
  return !!curve.points || curve.x.length < 30;
}

/** @param {any} _ @param {number|null} value */
function shown(_, value) {
  return value === null || value === undefined ? "–" : number(value);
}

/** A mark on an axis, such as 200k. @param {number|null} value */
function brief(value) {
  if (value === null) return "";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3) return value.toExponential(0);
  return value.toLocaleString("en", { notation: size >= 1e4 ? "compact" : "standard", maximumSignificantDigits: 5 });
}

/** The curves on one horizontal axis, as uPlot takes them. @param {Curve[]} curves */
function joined(curves) {
  const tables = curves.map((curve) => (curve.low && curve.high ? [curve.x, curve.y, curve.low, curve.high] : [curve.x, curve.y]));
  return tables.length ? uPlot.join(tables.map(rising)) : [[]];
}

/** A table whose first row rises: of equal places the last stays. @param {any[][]} table */
function rising(table) {
  const keep = table[0].map((/** @type {number} */ x, /** @type {number} */ index) => index)
    .filter((/** @type {number} */ index) => index + 1 === table[0].length || table[0][index] < table[0][index + 1]);
  return table.map((row) => keep.map((/** @type {number} */ index) => row[index]));
}

/** What the curves say, in a sentence. @param {Curve[]} curves @param {string} axis */
function summary(curves, axis) {
  const parts = curves.map((curve) => {
    const there = curve.y.flatMap((y, index) => (y === null ? [] : [index]));
    if (!there.length) return `${curve.label}: nothing yet`;
    const values = there.map((index) => /** @type {number} */ (curve.y[index]));
    const last = there[there.length - 1];
    const [low, high] = values.reduce(([a, b], y) => [Math.min(a, y), Math.max(b, y)], [Infinity, -Infinity]);
    return `${curve.label}: ${number(values[values.length - 1])} at ${number(curve.x[last])} ${axis}, between ${number(low)} and ${number(high)}`;
  });
  return parts.join("; ") || "no curves yet";
}

/**
 * A figure with a heading and a chart.
 * @param {string} title
 * @returns {{figure: any, chart: Chart}}
 */
export function figure(title) {
  const host = el("div");
  return { figure: el("figure", {}, el("figcaption", {}, title), host), chart: new Chart(host) };
}
