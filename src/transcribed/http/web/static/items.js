/** What lists and single transcripts have in common: menus, downloads, renaming. */
import { part, request } from "./api.js";
import { h, icon } from "./dom.js";
import { toast } from "./toast.js";

const FORMS = [["txt", "Text"], ["srt", "Subtitles (SRT)"], ["vtt", "Subtitles for the web (VTT)"], ["json", "JSON, with times of words"]];

/** A name without the ending of a file. */
export const stem = (name) => name.replace(/\.[^.]{1,5}$/, "") || name;

/** Save what a path returns as a file. */
export async function save(path, query, name) {
  try {
    const answer = await request(path, { query });
    const address = URL.createObjectURL(await answer.blob());
    h("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
  } catch (error) {
    toast(`Not downloaded: ${error.message}`, { kind: "error" });
  }
}

/** The items of a menu with a transcript's formats. */
export const downloadItems = (id, name, query) =>
  FORMS.map(([form, label]) => ({ label, run: () => save(`transcripts/${part(id)}.${form}`, query, `${name}.${form}`) }));

let open = null;

function shut(returnFocus = false) {
  const { button, list } = open ?? {};
  open = null;
  list?.remove();
  button?.setAttribute("aria-expanded", "false");
  if (returnFocus) button?.focus();
}

/** Close a menu that is open within an element that is about to be replaced. */
export function closeMenus(within) {
  if (open && within.contains(open.button)) shut();
}

document.addEventListener("pointerdown", (event) => open && !open.holder.contains(event.target) && shut());

/** A button with a menu. `items()` returns `{label, run, danger}` each time it opens. */
export function menu({ label, glyph, items, quiet = false, about = "" }) {
  const text = quiet ? null : label;
  const button = h("button", {
    class: `${quiet ? "button quiet icon" : "button small"}${glyph === "more" ? " dots" : ""}`, type: "button", title: quiet ? label : null,
    "aria-haspopup": "menu", "aria-expanded": "false", "aria-label": quiet ? `${label}${about && `: ${about}`}` : null,
    onclick: () => (open?.button === button ? shut() : show()),
    onkeydown: (event) => event.key === "ArrowDown" && (event.preventDefault(), show()),
  }, icon(glyph), text);
  const holder = h("div", { class: "menu-holder" }, button);
  function show() {
    shut();
    const list = h("div", { class: "menu", role: "menu", "aria-label": label },
      items().map(({ label: name, run, danger }) => h("button", {
        class: danger ? "button danger" : "button", type: "button", role: "menuitem", tabIndex: -1,
        onclick: () => {
          shut(true);
          run();
        },
      }, name)));
    list.addEventListener("keydown", (event) => {
      const all = [...list.children];
      const now = all.indexOf(document.activeElement);
      const to = {
        ArrowDown: (now + 1) % all.length, ArrowUp: (now - 1 + all.length) % all.length, Home: 0, End: all.length - 1,
      }[event.key];
      if (to !== undefined) all[to].focus();
      else if (event.key === "Escape") shut(true);
      else if (event.key === "Tab") return shut();
      else return undefined;
      event.preventDefault();
      event.stopPropagation();
      return undefined;
    });
    list.addEventListener("focusout", ({ relatedTarget }) => relatedTarget && !holder.contains(relatedTarget) && shut());
    holder.append(list);
    button.setAttribute("aria-expanded", "true");
    open = { button, holder, list };
    const box = list.getBoundingClientRect();
    list.classList.toggle("up", box.bottom > innerHeight && button.getBoundingClientRect().top > box.height);
    list.firstElementChild.focus();
  }
  return holder;
}

/** Ask for another name of a recording, and give it. Resolves to the new name, or null. */
export function renameDialog(name, query) {
  return new Promise((resolve) => {
    const field = h("input", { id: "new-name", class: "input", value: name, required: true, maxLength: 255, spellcheck: false, "aria-describedby": "name-problem" });
    const problem = h("p", { id: "name-problem", class: "problem", role: "alert" });
    let renamed = null;
    const dialog = h("dialog", { class: "dialog narrow", "aria-labelledby": "name-title" },
      h("form", {
        method: "dialog",
        onsubmit: async (event) => {
          event.preventDefault();
          const wanted = field.value.trim();
          if (wanted === name) return dialog.close();
          problem.textContent = "";
          try {
            const answer = await request(`audio/${part(name)}`, { method: "PATCH", json: { Name: wanted }, query });
            renamed = await answer.json();
            dialog.close();
          } catch (error) {
            problem.textContent = error.message;
            field.select();
          }
          return undefined;
        },
      },
      h("h2", { id: "name-title" }, "Rename the recording"),
      h("label", { for: "new-name" }, "Name"),
      field, problem,
      h("div", { class: "dialog-end" },
        h("button", { class: "button quiet", type: "button", onclick: () => dialog.close() }, "Cancel"),
        h("button", { class: "button primary", type: "submit" }, "Rename"))));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(renamed);
    });
    document.body.append(dialog);
    dialog.showModal();
    field.setSelectionRange(0, stem(name).length);
  });
}
