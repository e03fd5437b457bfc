// Fetches the live part of a page anew, copies lines, asks before what cannot be undone, and uploads an export.
"use strict";

const PAUSE = 2000;

function isInUse(part) {
  const chosen = document.getSelection();
  const selected = chosen && !chosen.isCollapsed && part.contains(chosen.anchorNode);
  return selected || (part.contains(document.activeElement) && document.activeElement.matches("input,select,textarea"));
}

async function refresh(part) {
  if (document.hidden || isInUse(part)) return;
  const address = new URL(location.href);
  address.searchParams.set("part", "live");
  const answer = await fetch(address, { cache: "no-store" });
  if (!answer.ok) return;
  const fresh = await answer.text();
  if (part.dataset.shown === fresh || isInUse(part)) return;
  const places = [...part.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
  const open = [...part.querySelectorAll("details")].map((each) => each.open);
  part.innerHTML = fresh;
  part.dataset.shown = fresh;
  part.querySelectorAll(".scroll").forEach((each, place) => { each.scrollLeft = places[place] || 0; });
  part.querySelectorAll("details").forEach((each, place) => { if (place < open.length) each.open = open[place]; });
}

async function keepFresh(part) {
  for (;;) {
    await new Promise((done) => setTimeout(done, PAUSE));
    try { await refresh(part); } catch { /* the sandbox has ended, or starts anew */ }
  }
}

document.querySelectorAll("[data-live]").forEach(keepFresh);

if (navigator.clipboard) {
  document.querySelectorAll("[data-copy]").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.previousElementSibling.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  });
}

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.ask;
  if (question && !confirm(question)) event.preventDefault();
});

document.querySelectorAll("form[data-upload]").forEach((form) => {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const file = form.querySelector("input[type=file]").files[0];
    const told = form.querySelector("output");
    if (!file) return;
    told.textContent = "Reading…";
    const answer = await fetch(form.action, { method: "POST", body: file, headers: { "Content-Type": "application/zip" } });
    const body = await answer.json();
    told.className = answer.ok ? "good" : "bad";
    told.textContent = answer.ok ? `${body.records.toLocaleString()} records were read in.` : body[0].message;
  });
});
