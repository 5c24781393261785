"use strict";
// Tells the values below the pointer; the tables hold them all. Written without the two signs that XML would read as its own.
for (const figure of document.querySelectorAll(".plot")) {
  const drawing = figure.querySelector("svg");
  const rule = figure.querySelector(".rule");
  const read = figure.querySelector(".read");
  const lines = Array.from(drawing.querySelectorAll("path[data-read]"), (path) => ({
    name: path.dataset.name,
    points: path.dataset.read.split(";").map((text) => {
      const [x, y, ...told] = text.split(" ");
      return { x: Number(x), y: Number(y), told: told.join(" ") };
    }),
  }));
  const show = (event) => {
    const box = drawing.getBoundingClientRect();
    const scale = drawing.viewBox.baseVal.width / box.width;
    const x = (event.clientX - box.left) * scale;
    const y = (event.clientY - box.top) * scale;
    const nearest = lines.map(({ name, points }) => ({
      name,
      point: points.reduce((best, point) => (Math.abs(best.x - x) > Math.abs(point.x - x) ? point : best)),
    }));
    nearest.sort((a, b) => Math.abs(a.point.y - y) - Math.abs(b.point.y - y));
    const at = nearest[0].point.x;
    rule.setAttribute("x1", at);
    rule.setAttribute("x2", at);
    rule.style.visibility = "visible";
    const told = nearest.slice(0, 6).map(({ name, point }) => `${name} ${point.told}`);
    read.textContent = told.join(" \u00b7 ");
  };
  drawing.addEventListener("pointermove", show);
  drawing.addEventListener("pointerdown", show);
  drawing.addEventListener("pointerleave", () => {
    rule.style.visibility = "hidden";
  });
}
