/** Files that are dropped anywhere on the page are recordings to transcribe, and no pages to go to. */

function on(name, isOver, does = () => {}) {
  addEventListener(name, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    document.body.classList.toggle("dropping", isOver(event));
    does(event.dataTransfer);
  });
}

on("dragover", () => true, (dragged) => { dragged.dropEffect = "copy"; });
on("dragleave", (event) => event.relatedTarget !== null); // It is null where the page is left.
on("drop", () => false, async ({ files }) => {
  const dropped = [...files]; // They are there during the event only.
  (await import("./recognition.js")).uploadAll(dropped);
});
