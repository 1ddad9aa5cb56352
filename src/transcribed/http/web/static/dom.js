/** Small helpers to build elements and to write times. */

/**
 * Make an element. Properties whose names begin with `on` are listeners; `class`, `data-…`, `aria-…` and
 * other names with a hyphen, `role`, `for` and `href` are attributes; all others are properties. Children are
 * nodes or text; null, undefined and false are left out.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class" || name === "role" || name === "for" || name === "href" || name.includes("-")) {
      element.setAttribute(name, value === true ? "" : value);
    } else element[name] = value;
  }
  element.append(...children.flat().filter((child) => child || child === 0));
  return element;
}

const PATHS = {
  microphone: "M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3zM6 11a6 6 0 0 0 12 0M12 17v4",
  stop: "M7 7h10v10H7z",
  share: "M12 15V4M8 7.5 12 3.5l4 4M5 12v8h14v-8",
  code: "M8.5 8 4.5 12l4 4M15.5 8l4 4-4 4M13 6l-2 12",
  large: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5M8.5 16 12 8l3.5 8M9.8 13h4.4",
  close: "M6 6l12 12M18 6 6 18",
  down: "M12 5v13M6.5 12.5 12 18l5.5-5.5",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  play: "M8 5l11 7-11 7z",
  pause: "M8 5v14M16 5v14",
  search: "M11 5a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM15.5 15.5 20 20",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  upload: "M12 16V5M7.5 9 12 4.5 16.5 9M5 19h14",
  download: "M12 4v11M7.5 11 12 15.5l4.5-4.5M5 19.5h14",
  trash: "M5 7h14M10 7V4.5h4V7M7 7l1 13h8l1-13M10.5 11v5M13.5 11v5",
  edit: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  link: "M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-5.7-5.7l-1.5 1.5M14 10a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 5.7 5.7l1.5-1.5",
  help: "M9.3 9.2a2.8 2.8 0 1 1 4 2.6c-.9.5-1.3 1-1.3 2M12 17h.01M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z",
  loop: "M17 3.5 20 6.5l-3 3M4 11V9.5a3 3 0 0 1 3-3h13M7 20.5l-3-3 3-3M20 13v1.5a3 3 0 0 1-3 3H4",
  back: "M15 5l-7 7 7 7",
  rewind: "M12 6l-7 6 7 6zM19.5 6l-7 6 7 6z",
  forward: "M12 6l7 6-7 6zM4.5 6l7 6-7 6z",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  undo: "M4 4v5.5h5.5M4.5 9.5A8 8 0 1 1 4 14",
};

/** An icon, which is hidden from screen readers: its button has a text or a label. */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("glyph");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A button of a toolbar that shows an icon. */
export const tool = (glyph, label, onclick) =>
  h("button", { class: "button quiet icon", type: "button", "aria-label": label, title: label, onclick }, icon(glyph));

/** Seconds as a clock shows them: `0:07`, `1:02:03`. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** Copy text. Returns whether it worked; it may not where the page is served without https. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { value: text, class: "visually-hidden" });
    const before = document.activeElement;
    // What is outside an open dialog cannot be selected.
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    before?.focus({ preventScroll: true });
    return copied;
  }
}
