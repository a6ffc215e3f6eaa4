// A process that was started here: what it printed last, and a button that stops it.
import { ask } from "./api.js";
import { clock, el, note } from "./dom.js";

/**
 * @param {any} job as the server describes it
 * @param {() => Promise<void>} changed called when it was stopped
 */
export function jobNode(job, changed) {
  const stop = async () => {
    try {
      await ask(`/api/jobs/${job.id}/stop`, {});
      await changed();
    } catch (error) {
      note(/** @type {Error} */ (error).message);
    }
  };
  return el("div", { class: "job" },
    el("div", { class: "row" },
      el("strong", {}, job.about),
      el("span", {}, `${job.state}, ${clock(job.seconds)}${job.why ? `: ${job.why}` : ""}`),
      job.run ? el("a", { href: `/runs/${job.run}` }, "its run") : null,
      job.state === "at work" ? el("button", { "aria-label": `Stop: ${job.about}`, onclick: stop }, "Stop") : null,
    ),
    el("details", { open: job.state !== "done" }, el("summary", {}, "Output"), el("pre", { tabindex: "0" }, `${job.command}\n${job.output.join("\n")}`)),
  );
}
