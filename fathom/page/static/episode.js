// A recorded episode with its return so far beside it, which follows the video.
import { el, number } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} folder address of the folder, with its slash
 * @param {{name: string, changed: number, fps?: number, returns?: number[], every?: number, steps?: number, transcript?: string, seed?: number}} about
 */
export function episode(folder, about) {
  const video = el("video", { src: `${folder}${encodeURIComponent(about.name)}?${about.changed}`, controls: true, loop: false, preload: "metadata", playsinline: true, "aria-label": `Recorded episode ${about.name}` });
  video.muted = true;
  const caption = el("figcaption", {}, about.name.replace(/\.mp4$/, ""));
  const node = el("figure", {}, video, caption);
  if (about.transcript) caption.append(" · ", el("a", { href: `${folder}${encodeURIComponent(about.transcript)}` }, "transcript"));
  if (about.returns && about.fps) node.append(...returnsOf(video, about.returns, about.every ?? 1, about.steps ?? 0, about.fps));
  return node;
}

/**
 * The curve of the return, with a line at the moment that is shown.
 * @param {any} video
 * @param {number[]} returns so far, after each `every` of the `steps`, and at the end
 * @param {number} every
 * @param {number} steps
 * @param {number} fps
 */
function returnsOf(video, returns, every, steps, fps) {
  const [low, high] = returns.reduce(([a, b], y) => [Math.min(a, y), Math.max(b, y)], [Infinity, -Infinity]);
  const height = high - low || 1;
  const last = Math.max(1, steps);
  const points = returns.map((y, index) => `${(100 * Math.min(index * every, last)) / last},${38 - (36 * (y - low)) / height}`);
  const svg = document.createElementNS(SVG, "svg");
  const line = document.createElementNS(SVG, "polyline");
  const moment = document.createElementNS(SVG, "line");
  svg.setAttribute("viewBox", "0 0 100 40");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "return");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `The return of the episode so far: ${number(returns[returns.length - 1])} at its end`);
  line.setAttribute("points", points.join(" "));
  for (const [name, value] of Object.entries({ x1: 0, x2: 0, y1: 0, y2: 40 })) moment.setAttribute(name, String(value));
  svg.append(line, moment);
  const text = el("span", { class: "faint" });
  const show = () => {
    const step = Math.min(steps, Math.floor(video.currentTime * fps + 0.5));
    const index = step === steps ? returns.length - 1 : Math.floor(step / every);
    moment.setAttribute("x1", String((100 * step) / last));
    moment.setAttribute("x2", String((100 * step) / last));
    text.textContent = `return ${number(returns[index])} after ${number(step)} of ${number(steps)} steps`;
    if (!video.paused) requestAnimationFrame(show);
  };
  for (const event of ["play", "seeked", "timeupdate", "ended"]) video.addEventListener(event, show);
  show();
  return [svg, text];
}
