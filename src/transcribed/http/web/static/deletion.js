/** Deletion that can be undone: the server is told when the time for "Undo" is over, or the page is left. */
import { request } from "./api.js";
import { toast } from "./toast.js";

const UNDO_SECONDS = 8;
const pending = new Map();

/** Whether a path such as `audio/talk.wav` is being deleted. */
export const isDeleted = (path) => pending.has(path);

/** Delete what a path names. `onchange()` is called when it is hidden, and when it is there again. */
export function deleteLater(path, query, message, onchange) {
  const commit = async (keepalive = false) => {
    try {
      await request(path, { method: "DELETE", query, keepalive });
      // A list that was asked for before the deletion may still arrive.
      setTimeout(() => pending.delete(path), 5000);
    } catch (error) {
      pending.delete(path);
      if (error.status === 404) return;
      onchange();
      toast(`Not deleted: ${error.message}`, { kind: "error", seconds: 0 });
    }
  };
  const close = toast(message, {
    seconds: UNDO_SECONDS,
    action: {
      label: "Undo",
      run: () => {
        pending.delete(path);
        onchange();
      },
    },
    onclose: (undone) => {
      const waiting = pending.get(path);
      if (undone || !waiting || waiting.sent) return;
      waiting.sent = true;
      commit();
    },
  });
  pending.set(path, { sent: false, commit, close });
  onchange();
}

addEventListener("pagehide", () => {
  for (const waiting of pending.values()) {
    if (waiting.sent) continue;
    waiting.sent = true;
    waiting.commit(true);
    waiting.close(true);
  }
});
