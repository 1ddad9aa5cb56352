/** Dark and light, and the size of captions, up to large type for a room. */
import { h, icon } from "./dom.js";

const SIZES = [1, 1.25, 1.5, 1.9, 2.4, 3, 3.8, 4.8];

function stored(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function store(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Storage is denied: the value lasts as long as the page.
  }
}

/** Make a button switch between dark and light. */
export function themeSwitch(button) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const show = () => {
    const label = isDark() ? "Light colours" : "Dark colours";
    button.replaceChildren(icon(isDark() ? "sun" : "moon"));
    button.setAttribute("aria-label", label);
    button.title = label;
  };
  button.addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    store("theme", theme);
    show();
  });
  system.addEventListener("change", show);
  show();
}

/** A button of a toolbar that shows an icon. */
export function tool(glyph, label, onclick) {
  return h("button", { class: "button quiet icon", type: "button", "aria-label": label, title: label, onclick }, icon(glyph));
}

/**
 * Buttons that change the size of captions within `element`. `large` fills the screen, which Escape ends.
 * Returns the buttons, and `leave()`, which ends large type.
 */
export function typeControls(element, captions) {
  let size = Number(stored("caption-size") ?? 1);
  const smaller = tool("smaller", "Smaller text", () => resize(-1));
  const larger = tool("larger", "Larger text", () => resize(1));
  const large = tool("large", "Large type, for a room", present);
  for (const button of [smaller, larger]) button.classList.add("text-size");
  const isLarge = () => document.body.classList.contains("presenting");

  function resize(step) {
    size = Math.max(0, Math.min(SIZES.length - 1, size + step)) || 0;
    element.style.setProperty("--caption-size", `${SIZES[size]}rem`);
    smaller.disabled = size === 0;
    larger.disabled = size === SIZES.length - 1;
    if (step) store("caption-size", size);
    captions.follow();
  }

  function present() {
    const now = !isLarge();
    document.body.classList.toggle("presenting", now);
    large.setAttribute("aria-pressed", now);
    large.title = now ? "Leave large type" : "Large type, for a room";
    if (now) document.documentElement.requestFullscreen?.().catch(() => {});
    else if (document.fullscreenElement) document.exitFullscreen();
    captions.follow();
  }

  document.addEventListener("fullscreenchange", () => !document.fullscreenElement && isLarge() && present());
  document.addEventListener("keydown", (event) => event.key === "Escape" && isLarge() && present());
  large.setAttribute("aria-pressed", "false");
  resize(0);
  return { buttons: [smaller, larger, large], leave: () => isLarge() && present() };
}
