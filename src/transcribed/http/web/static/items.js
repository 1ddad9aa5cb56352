/** What lists and single transcripts have in common: menus, downloads, renaming. */
import { part, readableUrl, request } from "./api.js";
import { h, icon } from "./dom.js";
import { toast } from "./toast.js";

const FORMS = { txt: "Text", srt: "Subtitles (SRT)", vtt: "Subtitles for the web (VTT)", json: "JSON, with times of words" };

/** A name without the ending of a file. */
export const stem = (name) => name.replace(/\.[^.]{1,5}$/, "") || name;

/** What stands for the name of a transcript of no stored recording. */
export const unnamed = (source) => source === "openai" ? "OpenAI's API" : "Live";

/** When something was, in the reader's way of writing it. */
export const when = (date) => new Date(date).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

/** Save what a path returns as a file. */
export async function download(path, query, name) {
  try {
    h("a", { href: await readableUrl(path, query), download: name }).click();
  } catch (error) {
    toast(`Not downloaded: ${error.message}`, { kind: "error" });
  }
}

/** The items of a menu with a transcript's formats. */
export const downloadItems = (id, name, query) => Object.entries(FORMS).map(([form, label]) => ({
  label, run: () => download(`transcripts/${part(id)}.${form}`, query, `${name}.${form}`),
}));

/**
 * A button with a menu. `items()` returns `{label, run, danger}` each time it opens; false ones are left out.
 * The button shows its label, or if it is `about` one of many things, only its icon.
 */
export function menu({ label, glyph, items, about = "" }) {
  const list = h("div", { class: "menu", role: "menu", "aria-label": label, popover: "auto" });
  const entry = ({ label: text, run, danger = false }, index) => h("button", {
    class: danger ? "button danger" : "button", role: "menuitem", tabIndex: -1, autofocus: index === 0,
    onclick() {
      list.hidePopover();
      run();
    },
  }, text);
  list.addEventListener("beforetoggle", ({ newState }) => newState === "open" && list.replaceChildren(...items().filter(Boolean).map(entry)));
  list.addEventListener("keydown", (event) => {
    const all = [...list.children];
    const now = all.indexOf(document.activeElement);
    const to = { ArrowDown: (now + 1) % all.length, ArrowUp: now - 1, Home: 0, End: -1 }[event.key];
    if (event.key === "Tab") list.hidePopover();
    if (to === undefined) return;
    event.preventDefault();
    all.at(to).focus();
  });
  return h("div", { class: "menu-holder" },
    h("button", {
      class: `button ${about ? "quiet icon" : "small"} ${glyph}`, "aria-haspopup": "menu", popoverTargetElement: list,
      ...(about ? { title: label, "aria-label": `${label}: ${about}` } : {}),
    }, icon(glyph), !about && label),
    list);
}

/** Ask for another name of a recording, and give it. Resolves to the new name, or null. */
export function renameDialog(name, query) {
  return new Promise((resolve) => {
    const field = h("input", { id: "new-name", class: "input", value: name, required: true, maxLength: 255, spellcheck: false, "aria-describedby": "name-problem" });
    const problem = h("p", { id: "name-problem", class: "problem", role: "alert" });
    let renamed = null;
    const rename = async (event) => {
      event.preventDefault();
      const wanted = field.value.trim();
      try {
        if (wanted !== name) renamed = await (await request(`audio/${part(name)}`, { method: "PATCH", json: { Name: wanted }, query })).json();
        dialog.close();
      } catch (error) {
        problem.textContent = error.message;
        field.select();
      }
    };
    const dialog = h("dialog", { class: "dialog narrow", "aria-labelledby": "name-title", onclose: () => { dialog.remove(); resolve(renamed); } },
      h("form", { onsubmit: rename },
        h("h2", { id: "name-title" }, "Rename the recording"),
        h("label", { for: "new-name" }, "Name"),
        field, problem,
        h("div", { class: "dialog-end" },
          h("button", { class: "button quiet", type: "button", onclick: () => dialog.close() }, "Cancel"),
          h("button", { class: "button primary" }, "Rename"))));
    document.body.append(dialog);
    dialog.showModal();
    field.setSelectionRange(0, stem(name).length);
  });
}
