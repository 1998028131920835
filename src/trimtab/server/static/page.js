// Keeps the page up to date while it is looked at; without it everything works, only by hand.
const EVERY = 5000;

// MLflow's client prints where a run is on MLflow's own pages: it is a run of ours.
const printed = location.hash.match(/^#\/experiments\/\d+(?:\/runs\/([0-9a-f]{32}))?$/);
if (printed) location.replace(printed[1] ? `/runs/${printed[1]}` : "/runs");

async function refresh() {
  const main = document.getElementById("main");
  const isBusy =
    (main.contains(document.activeElement) && document.activeElement !== main) ||
    main.querySelector("input[type=checkbox]:checked"); // what was ticked must not be lost
  if (document.hidden || isBusy || !getSelection().isCollapsed) return;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok) return;
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = next.getElementById("main");
    for (const open of main.querySelectorAll("details[open][id]")) {
      const same = fresh.querySelector(`#${CSS.escape(open.id)}`);
      if (same) same.open = true;
    }
    main.replaceChildren(...fresh.childNodes);
    rove();
    document.body.classList.remove("lost");
  } catch {
    document.body.classList.add("lost");
  }
}

setInterval(refresh, EVERY);

// A heat map is one stop of the tab key; arrows walk over its cells.
function rove() {
  for (const map of document.querySelectorAll("svg.heat")) {
    const cells = [...map.querySelectorAll("a[data-row]")];
    for (const [at, cell] of cells.entries()) cell.setAttribute("tabindex", at ? "-1" : "0");
  }
}

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

document.addEventListener("keydown", (event) => {
  const cell = event.target.closest?.("svg.heat a[data-row]");
  const step = STEPS[event.key];
  if (!cell || !step) return;
  const { row, column } = cell.dataset;
  const next = cell.ownerSVGElement.querySelector(
    `a[data-row="${Number(row) + step[0]}"][data-column="${Number(column) + step[1]}"]`,
  );
  if (!next) return;
  event.preventDefault();
  cell.setAttribute("tabindex", "-1");
  next.setAttribute("tabindex", "0");
  next.focus();
});

rove();
