"use strict";
(() => {
  const data = JSON.parse(document.getElementById("maps").textContent);
  const output = document.getElementById("pointed");
  const words = (map, row, column) => {
    const value = map.values[row][column];
    const place = `${map.across.name} ${map.across.labels[column]}` + (map.up ? `, ${map.up.name} ${map.up.labels[row]}` : "");
    const figure = value === "" ? "no combination" : value === null ? "undefined" : value.toLocaleString("en-US", { maximumSignificantDigits: 6 });
    return [place, figure];
  };
  const within = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
  document.querySelectorAll(".map svg").forEach((svg, number) => {
    const map = data[number];
    const plot = svg.querySelector(".plot");
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const across = (event.clientX - box.left) / box.width;
      const columns = map.across.labels.length;
      // On a line the first value is at the left edge; in a heatmap each has a width.
      const column = map.up ? within(across, columns) : Math.min(columns - 1, Math.max(0, Math.round(across * (columns - 1))));
      const row = map.up ? within(1 - (event.clientY - box.top) / box.height, map.up.labels.length) : 0;
      const [place, figure] = words(map, row, column);
      const strong = document.createElement("b");
      strong.textContent = figure;
      output.replaceChildren(`${place}: `, strong);
    });
    plot.addEventListener("pointerleave", () => output.replaceChildren());
  });
})();
