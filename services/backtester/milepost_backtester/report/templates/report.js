"use strict";
(() => {
  const data = JSON.parse(document.getElementById("cursor").textContent);
  const last = data.times.length - 1;
  const charts = [...document.querySelectorAll(".chart")];
  const number = (value) => value.toLocaleString("en-US", { maximumFractionDigits: Math.abs(value) < 10 ? 5 : 2 });
  const words = (curve, place) => curve === "equity"
    ? `<b>${number(data.equity[place])}</b> drawdown ${(data.drawdown[place] * 100).toFixed(2)} %`
    : data.prices[curve][place] ? `<b>${number(data.prices[curve][place])}</b>` : "no bar yet";
  const show = (share) => {
    const place = Math.round(share * last);
    for (const chart of charts) {
      const svg = chart.querySelector("svg");
      const x = (data.left + share * data.width) * svg.viewBox.baseVal.width;
      svg.querySelector(".cursor").setAttribute("transform", `translate(${x})`);
      svg.classList.add("pointed");
      chart.querySelector("output").innerHTML = `${data.times[place]} ${words(chart.dataset.curve, place)}`;
    }
  };
  const hide = () => {
    for (const chart of charts) {
      chart.querySelector("svg").classList.remove("pointed");
      chart.querySelector("output").textContent = "";
    }
  };
  for (const chart of charts) {
    const svg = chart.querySelector("svg");
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const share = ((event.clientX - box.left) / box.width - data.left) / data.width;
      share < -0.02 || share > 1.02 ? hide() : show(Math.min(1, Math.max(0, share)));
    });
    svg.addEventListener("pointerleave", hide);
  }
})();
