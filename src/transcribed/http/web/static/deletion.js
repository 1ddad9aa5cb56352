/** Deletion that can be undone: the server is told when the time for "Undo" is over, or the page is left. */
import { request } from "./api.js";
import { toast } from "./toast.js";

const UNDO_SECONDS = 8;
const pending = new Map();
const keyOf = (path, owner) => JSON.stringify([path, owner]);

/**
 * Tells of changes: `change` when something is hidden or is there again, `deleted` when the server has deleted it,
 * with its `{path, owner}` as `detail`.
 */
export const deletions = new EventTarget();
const tell = (kind, detail) => deletions.dispatchEvent(new CustomEvent(kind, { detail }));

/** Whether a path such as `audio/talk.wav` is being deleted; `owner` is whose, if the server uses keys. */
export const isDeleted = (path, owner) => pending.has(keyOf(path, owner));

/** Delete what a path names; `query` may have its owner. */
export function deleteLater(path, query, message) {
  const key = keyOf(path, query.owner);
  const deletion = {
    sent: false,
    close: () => {},
    undo() {
      pending.delete(key);
      tell("change");
    },
    async commit(keepalive = false) {
      deletion.sent = true;
      try {
        await request(path, { method: "DELETE", query, keepalive });
      } catch (error) {
        // What is not there is deleted.
        if (error.status !== 404) {
          deletion.undo();
          toast(`Not deleted: ${error.message}`, { kind: "error", seconds: 0 });
          return;
        }
      }
      // A list that was asked for before the deletion may still arrive.
      setTimeout(() => pending.delete(key), 5000);
      tell("deleted", { path, owner: query.owner });
    },
  };
  pending.set(key, deletion);
  deletion.close = toast(message, {
    seconds: UNDO_SECONDS,
    action: { label: "Undo", run: deletion.undo },
    onclose: (acted) => acted || deletion.commit(),
  });
  tell("change");
}

const waiting = () => [...pending.values()].filter(({ sent }) => !sent);

addEventListener("keydown", (event) => {
  const pressed = event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey;
  const last = pressed && !event.target.closest?.("input, textarea, dialog") && waiting().at(-1);
  if (!last) return;
  event.preventDefault();
  last.close(true);
  last.undo();
});

addEventListener("pagehide", () => {
  for (const deletion of waiting()) {
    deletion.commit(true);
    deletion.close(true);
  }
});
