"use strict";
// What a reader may ask of the page: the values of a point, the series of a legend's entry, a table in another order. Without it everything is there to read.

const NEAR = 28; // pixels within which a point is meant

function asked(figure) {
  const drawing = figure.querySelector("svg"), data = figure.querySelector("script[type='application/json']");
  if (!drawing || !data) return;
  const series = JSON.parse(data.textContent), dimmed = new Set();
  const said = document.createElement("div"), ring = document.createElement("div");
  said.className = "said"; said.setAttribute("role", "status"); ring.className = "ring";
  said.hidden = ring.hidden = true;
  figure.append(said, ring);
  const part = (kind, number) => drawing.querySelectorAll(`[id$="-${kind}-${number}"]`);

  function nearest(x, y, box) {
    let best = null, least = NEAR * NEAR;
    series.forEach((line) => {
      if (dimmed.has(line.entry)) return;
      for (const point of line.points) {
        const dx = point[0] * box.width - x, dy = point[1] * box.height - y, far = dx * dx + dy * dy;
        if (far < least) { least = far; best = { line, point }; }
      }
    });
    return best;
  }

  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect(), frame = figure.getBoundingClientRect();
    const found = nearest(event.clientX - box.left, event.clientY - box.top, box);
    said.hidden = ring.hidden = !found;
    if (!found) return;
    const left = box.left - frame.left + figure.scrollLeft + found.point[0] * box.width, top = box.top - frame.top + found.point[1] * box.height;
    ring.style.left = `${left}px`; ring.style.top = `${top}px`;
    const name = document.createElement("b");
    name.textContent = found.line.label;
    said.replaceChildren(name, document.createElement("br"), found.point[4]);
    const right = left > box.width / 2;
    said.style.left = right ? "" : `${left + 12}px`;
    said.style.right = right ? `${frame.width - left + 12}px` : "";
    said.style.top = `${top + 10}px`;
  });
  drawing.addEventListener("pointerleave", () => { said.hidden = ring.hidden = true; });

  // Entries of the legend: a click shows its series alone, another one all of them again.
  const words = [];
  for (let word; (word = part("word", words.length)[0]); ) words.push(word);
  words.forEach((word, number) => {
    const alone = () => {
      const before = dimmed.size === words.length - 1 && !dimmed.has(number);
      dimmed.clear();
      words.forEach((other, place) => {
        if (!before && place !== number) dimmed.add(place);
        for (const kind of ["line", "band", "key", "word"]) for (const node of part(kind, place)) node.classList.toggle("dim", dimmed.has(place));
        other.setAttribute("aria-pressed", String(!before && place === number));
      });
    };
    word.classList.add("key");
    for (const [name, value] of [["tabindex", "0"], ["role", "button"], ["aria-pressed", "false"]]) word.setAttribute(name, value);
    word.addEventListener("click", alone);
    word.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); alone(); } });
    for (const key of part("key", number)) { key.classList.add("key"); key.addEventListener("click", alone); }
  });
}

function valueOf(words) {
  const number = parseFloat(words.replace(/,/g, "").replace(/^[>\u2265]\s*/, ""));
  return Number.isNaN(number) ? null : number;
}

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [row, row.cells[column].textContent]);
      const numbers = rows.every(([, words]) => words === "" || valueOf(words) !== null);
      const order = numbers
        ? ([, a], [, b]) => (valueOf(a) ?? Infinity) - (valueOf(b) ?? Infinity)
        : ([, a], [, b]) => a.localeCompare(b, "en", { numeric: true });
      rows.sort((a, b) => (up ? order(a, b) : order(b, a)));
      body.append(...rows.map(([row]) => row));
    });
  });
}

document.querySelectorAll("figure").forEach(asked);
document.querySelectorAll("table").forEach((table) => { if (table.tBodies[0].rows.length > 2) sortable(table); });
let closed = [];
addEventListener("beforeprint", () => { closed = [...document.querySelectorAll("details:not([open]):not(.long)")]; closed.forEach((each) => { each.open = true; }); });
addEventListener("afterprint", () => { closed.forEach((each) => { each.open = false; }); });
