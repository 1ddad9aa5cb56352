/** Files that are dropped anywhere on the page are recordings to transcribe, and no pages to go to. */

const hasFiles = ({ dataTransfer }) => dataTransfer?.types.includes("Files");
let depth = 0;

function mark(by) {
  depth = Math.max(0, depth + by);
  document.body.classList.toggle("dropping", depth > 0);
}

addEventListener("dragenter", (event) => hasFiles(event) && mark(1));
addEventListener("dragleave", (event) => hasFiles(event) && mark(-1));
addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "copy";
});
addEventListener("drop", async (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  mark(-Infinity);
  const files = [...event.dataTransfer.files];
  (await import("./recognition.js")).uploadAll(files);
});
