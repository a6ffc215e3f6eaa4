// Elements and texts. Nothing from a run is ever parsed as HTML: texts become text nodes.

/**
 * An element.
 * @param {string} name
 * @param {Record<string, any>} [attributes] `on…` are listeners, `true` is an attribute without a value; null and false are left out
 * @param {...(Node|string|null)} children
 * @returns {any}
 */
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, String(value));
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/**
 * The element of an id.
 * @param {string} id
 * @returns {any}
 */
export function byId(id) {
  const node = document.getElementById(id);
  if (node === null) throw new Error(`there is no element ${id}`);
  return node;
}

/**
 * A number in a few digits, such as 12,345 or 0.0123.
 * @param {number|null|undefined} value
 */
export function number(value) {
  if (value === null || value === undefined) return "";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(2);
  return value.toLocaleString("en", { maximumSignificantDigits: 4 });
}

/**
 * Seconds as a clock, such as 1:02:03.
 * @param {number} seconds
 */
export function clock(seconds) {
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (parts[0] === 0) parts.shift();
  return parts.map((part, index) => (index ? String(part).padStart(2, "0") : String(part))).join(":");
}

/**
 * Say something in the corner of the page; a screen reader reads it.
 * @param {string} text
 */
export function note(text) {
  const line = el("p", {}, text);
  byId("notes").append(line);
  setTimeout(() => line.remove(), 8000);
}

/**
 * A score with its interval, such as 19.8 (18.5 to 21).
 * @param {{mean: number, low: number, high: number}} score
 */
export function interval(score) {
  return `${number(score.mean)} (${number(score.low)} to ${number(score.high)})`;
}

/**
 * How long ago a time was.
 * @param {number} seconds since 1970
 */
export function ago(seconds) {
  const passed = Math.max(0, Date.now() / 1000 - seconds);
  if (passed < 60) return "now";
  if (passed < 3600) return `${Math.floor(passed / 60)} min ago`;
  if (passed < 48 * 3600) return `${Math.floor(passed / 3600)} h ago`;
  return new Date(seconds * 1000).toISOString().slice(0, 10);
}

const STATES = { running: "good", paused: "warn", finished: "faint", broken: "bad" };
const SIGNS = { running: "▶", paused: "❚❚", finished: "✓", broken: "✗" };

/**
 * The state of a run in a word, and why where it is broken.
 * @param {{state: keyof STATES, why: string}} run
 * @returns {Node[]}
 */
export function stateOf(run) {
  const word = el("span", { class: `state ${STATES[run.state]}` }, el("span", { "aria-hidden": "true" }, SIGNS[run.state]), ` ${run.state}`);
  return run.why ? [word, el("div", { class: "why" }, run.why)] : [word];
}

/**
 * A button that copies a text.
 * @param {string} text
 * @param {string} label
 */
export function copying(text, label) {
  const button = el("button", { "aria-label": label, onclick: async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  } }, "Copy");
  return button;
}
