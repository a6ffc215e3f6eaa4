// Asking the server; its refusals are sentences.

/**
 * Ask for JSON.
 * @param {string} path
 * @param {object} [body] sent by POST
 * @returns {Promise<any>}
 */
export async function ask(path, body) {
  const options = body === undefined
    ? {}
    : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(path, options);
  if (answer.status === 204) return null;
  const kind = answer.headers.get("Content-Type") ?? "";
  const content = kind.startsWith("application/json") ? await answer.json() : { error: await answer.text() };
  if (!answer.ok) throw new Error(content.error ?? `the server answered ${answer.status}`);
  return content;
}

/**
 * Do something now and again and again, pausing while the page is hidden.
 * @param {number} seconds
 * @param {() => Promise<void>} action its error is given to `failed`
 * @param {(error: Error) => void} failed
 */
export async function repeat(seconds, action, failed) {
  for (;;) {
    if (!document.hidden) {
      try {
        await action();
      } catch (error) {
        failed(/** @type {Error} */ (error));
      }
    }
    await new Promise((done) => setTimeout(done, seconds * 1000));
  }
}
