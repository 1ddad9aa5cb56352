/** Dark or light: the system's choice, until the reader makes another. Applied before the first paint, so that nothing flashes. */
const page = document.documentElement;
const saved = (value) => {
  try {
    if (value) localStorage.setItem("theme", value);
    return localStorage.getItem("theme");
  } catch {
    return null; // Storage is denied: the choice lasts as long as the page.
  }
};

page.dataset.theme = saved() ?? "";
addEventListener("DOMContentLoaded", () => {
  document.getElementById("theme").onclick = () => {
    const now = page.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    page.dataset.theme = now === "dark" ? "light" : "dark";
    saved(page.dataset.theme);
  };
});
