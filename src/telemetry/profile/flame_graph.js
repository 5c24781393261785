"use strict";
// Places are percents of the width. A frame is an inner svg, which cuts its text by itself.
const root = document.documentElement;
const frames = Array.from(document.querySelectorAll(".frame"), (element) => ({
  element,
  x: parseFloat(element.getAttribute("x")),
  width: parseFloat(element.getAttribute("width")),
  y: parseFloat(element.getAttribute("y")),
  title: element.querySelector("title").textContent,
}));
const details = document.getElementById("details");
const unzoom = document.getElementById("unzoom");
const ROUNDING = 1e-4;

function zoom(to) {
  for (const frame of frames) {
    const holds = frame.x <= to.x + ROUNDING && frame.x + frame.width >= to.x + to.width - ROUNDING;
    const isAround = holds && frame.y < to.y;
    const isInside = frame.x >= to.x - ROUNDING && frame.x + frame.width <= to.x + to.width + ROUNDING;
    const isShown = isAround || (isInside && frame.y >= to.y);
    frame.element.classList.toggle("hidden", !isShown);
    frame.element.classList.toggle("around", isAround);
    frame.element.setAttribute("x", (isAround ? 0 : ((frame.x - to.x) / to.width) * 100) + "%");
    frame.element.setAttribute("width", (isAround ? 100 : (frame.width / to.width) * 100) + "%");
  }
  unzoom.classList.toggle("hidden", to.width > 100 - ROUNDING);
}

function search(text) {
  const wanted = text.toLowerCase();
  let found = 0;
  // By place, so that a frame within one that was found is not counted again.
  const spans = [];
  for (const frame of frames) {
    const isFound = wanted !== "" && frame.title.toLowerCase().includes(wanted);
    frame.element.classList.toggle("found", isFound);
    if (isFound) spans.push(frame);
  }
  spans.sort((a, b) => a.x - b.x);
  let end = 0;
  for (const { x, width } of spans) {
    const from = Math.max(x, end);
    if (x + width > from) found += x + width - from;
    end = Math.max(end, x + width);
  }
  details.textContent = wanted === "" ? "" : `${text}: ${found.toFixed(2)} %`;
}

for (const frame of frames) {
  frame.element.addEventListener("click", () => zoom(frame));
  frame.element.addEventListener("mouseover", () => { details.textContent = frame.title; });
}
unzoom.addEventListener("click", () => zoom({ x: 0, width: 100, y: -Infinity }));
document.getElementById("search").addEventListener("click", () => {
  const text = prompt("Part of a name; nothing to end the search:", "");
  if (text !== null) search(text);
});
root.addEventListener("keydown", (event) => { if (event.key === "Escape") zoom({ x: 0, width: 100, y: -Infinity }); });
