/** Deletion that can be undone: the server is told when the time for "Undo" is over, or the page is left. */
import { request } from "./api.js";
import { toast } from "./toast.js";

const UNDO_SECONDS = 8;
const pending = new Map(); // From what identifies a thing to its deletion.
const keyOf = (path, owner) => JSON.stringify([path, owner]);

/**
 * Tells of changes, each with `{path, owner}` as `detail`: `hidden`, `restored`, and `deleted` when the server
 * has deleted it.
 */
export const deletions = new EventTarget();

/** Whether a path such as `audio/talk.wav` is being deleted; `owner` is whose, if the server uses keys. */
export const isDeleted = (path, owner) => pending.has(keyOf(path, owner));

/** Delete what a path names; `query` may have its owner. */
export function deleteLater(path, query, message) {
  const key = keyOf(path, query.owner);
  const tell = (kind) => deletions.dispatchEvent(new CustomEvent(kind, { detail: { path, owner: query.owner } }));
  const undo = () => {
    pending.delete(key);
    // The button is gone. Where the list is shown, it has the focus go to what is there again.
    if (document.activeElement === document.body) document.getElementById("main").focus({ preventScroll: true });
    tell("restored");
  };
  const commit = async (keepalive = false) => {
    pending.get(key).sent = true;
    try {
      await request(path, { method: "DELETE", query, keepalive });
    } catch (error) {
      // What is not there is deleted.
      if (error.status !== 404) {
        undo();
        toast(`Not deleted: ${error.message}`, { kind: "error", seconds: 0 });
        return;
      }
    }
    // A list that was asked for before the deletion may still arrive.
    setTimeout(() => pending.delete(key), 5000);
    tell("deleted");
  };
  const options = { seconds: UNDO_SECONDS, action: { label: "Undo", run: undo }, onclose: (acted) => acted || commit() };
  pending.set(key, { sent: false, undo, commit, close: toast(message, options) });
  tell("hidden");
}

const waiting = () => [...pending.values()].filter(({ sent }) => !sent);

function end(deletion, does) {
  deletion.close(true);
  does();
}

addEventListener("keydown", (event) => {
  const { key, ctrlKey, metaKey, shiftKey, altKey, target } = event;
  const last = waiting().at(-1);
  if (!last || key.toLowerCase() !== "z" || !(ctrlKey || metaKey) || shiftKey || altKey || target.closest("input, textarea, dialog")) return;
  event.preventDefault();
  end(last, last.undo);
});

addEventListener("pagehide", () => waiting().forEach((deletion) => end(deletion, () => deletion.commit(true))));
