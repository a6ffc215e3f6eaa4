// A session over a WebSocket: JSON both ways, and pictures from the server.

import { byId, note } from "../dom.js";

/**
 * @typedef {Object} Live
 * @property {(message: object) => void} send does nothing once the session is over
 * @property {() => boolean} open
 */

/**
 * Begin the session that the element `room` names.
 * @param {Record<string, (message: any, pictures: Blob[]) => void>} handlers by the type of a message; the texts
 *   of notes are shown in the corner, too
 * @param {(ended: string) => void} over called once, when no more messages will come
 * @returns {Live}
 */
export function begin(handlers, over) {
  const address = new URL(byId("room").dataset.live, location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  let last = "";
  socket.addEventListener("message", (event) => {
    const [message, pictures] = typeof event.data === "string" ? [JSON.parse(event.data), []] : unpacked(event.data);
    if (message.type === "note") {
      last = message.text;
      note(message.text);
    }
    handlers[message.type]?.(message, pictures);
  });
  socket.addEventListener("close", () => over(last || "The session has ended. Load the page again to go on."));
  return {
    send: (message) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
    },
    open: () => socket.readyState === WebSocket.OPEN,
  };
}

/**
 * A binary message: the length of its JSON in four bytes, the JSON, the pictures.
 * @param {ArrayBuffer} data
 * @returns {[any, Blob[]]}
 */
function unpacked(data) {
  const length = new DataView(data).getUint32(0);
  const message = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  let from = 4 + length;
  const pictures = message.pictures.map((/** @type {number} */ size) => {
    from += size;
    return new Blob([new Uint8Array(data, from - size, size)], { type: "image/png" });
  });
  return [message, pictures];
}

/**
 * Draw pictures on canvases, the newest wins: a slow browser leaves some out.
 * @param {HTMLCanvasElement} canvas
 * @returns {(picture: Blob) => Promise<void>}
 */
export function painter(canvas) {
  /** @type {Blob|null} */
  let next = null;
  let busy = false;
  return async (picture) => {
    next = picture;
    if (busy) return;
    busy = true;
    while (next !== null) {
      const current = next;
      next = null;
      const image = await createImageBitmap(current);
      if (canvas.width !== image.width || canvas.height !== image.height) {
        [canvas.width, canvas.height] = [image.width, image.height];
      }
      canvas.getContext("2d")?.drawImage(image, 0, 0);
      image.close();
    }
    busy = false;
  };
}
