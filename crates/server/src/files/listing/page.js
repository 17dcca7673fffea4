// The page does without: this adds keys (arrows or j and k, u for the folder above, / to filter) and files that are dropped.
(() => {
  const rows = [...document.querySelectorAll("tbody tr")];
  const box = document.querySelector("#filter");
  const shown = () => rows.filter((row) => !row.hidden).map((row) => row.querySelector("a"));
  box.parentElement.hidden = false;
  box.addEventListener("input", () => {
    const wanted = box.value.toLowerCase();
    for (const row of rows) row.hidden = !row.querySelector("a").textContent.toLowerCase().includes(wanted);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = document.activeElement instanceof HTMLInputElement;
    const links = shown();
    const at = links.indexOf(document.activeElement);
    const go = (to) => links[Math.max(0, Math.min(links.length - 1, to))]?.focus();
    if (event.key === "Escape" && typing) {
      box.value = "";
      box.dispatchEvent(new Event("input"));
      go(0);
    } else if (event.key === "ArrowDown" || (event.key === "j" && !typing)) go(at + 1);
    else if (event.key === "ArrowUp" || (event.key === "k" && !typing)) go(at - 1);
    else if (event.key === "Home" && !typing) go(0);
    else if (event.key === "End" && !typing) go(links.length - 1);
    else if (event.key === "u" && !typing) document.querySelector("#above")?.click();
    else if (event.key === "/" && !typing) box.focus();
    else return;
    event.preventDefault();
  });
  const form = document.querySelector("form");
  if (!form) return;
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    if (!event.dataTransfer.files.length) return;
    form.querySelector("input").files = event.dataTransfer.files;
    form.submit();
  });
})();
