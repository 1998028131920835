// Keeps the page up to date while it is looked at; without it everything works, only by hand.
const EVERY = 5000;

async function refresh() {
  const main = document.getElementById("main");
  const isBusy = main.contains(document.activeElement) && document.activeElement !== main;
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
    document.body.classList.remove("lost");
  } catch {
    document.body.classList.add("lost");
  }
}

setInterval(refresh, EVERY);
