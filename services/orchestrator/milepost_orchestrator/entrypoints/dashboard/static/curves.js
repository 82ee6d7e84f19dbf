// Curves: read once as columns, then only what is new, which comes with the page's own event stream.
(() => {
  "use strict";
  const HEIGHT = 190;
  const POINTS_MAX = 4000;
  const TABLE_ROWS_MAX = 500;
  const STEPWISE = new Set(["position", "symbols_held", "trades"]); // they stay what they are until they change
  const number = (value) => (value === "NaN" ? NaN : value === "Infinity" ? Infinity : value === "-Infinity" ? -Infinity : value);
  const shown = (value) => {
    if (value === null || value === undefined || Number.isNaN(value)) return "\u2013";
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-4 || size >= 1e9)) return value.toExponential(2);
    if (size >= 1e4) return Math.round(value).toLocaleString("en-US").replaceAll(",", "\u202f");
    return String(Number(value.toPrecision(5)));
  };
  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // A colour of the style sheet as the canvas takes it: light-dark() is resolved by an element, not by the token.
  const colour = (name) => {
    const probe = document.getElementById("curves");
    probe.style.setProperty("color", `var(${name})`);
    const found = getComputedStyle(probe).color;
    probe.style.removeProperty("color");
    return found;
  };

  class Curves {
    constructor(element) {
      this.element = element;
      this.values = new Map(); // name -> Map(unit -> value); what a later attempt says again replaces what was said
      this.plots = [];
    }

    // What a unit is called is known once a worker has started.
    get unit() {
      return document.getElementById("marks").dataset.unit;
    }

    async read() {
      const answer = await fetch(this.element.dataset.url);
      if (!answer.ok) return;
      this.take((await answer.json()).series);
    }

    take(series) {
      let isNew = this.unit !== this.builtFor;
      for (const { name, units, values } of series) {
        isNew ||= !this.values.has(name);
        const points = this.values.get(name) ?? this.values.set(name, new Map()).get(name);
        units.forEach((unit, position) => points.set(unit, number(values[position])));
        if (points.size > POINTS_MAX) isNew = true;
      }
      if (series.length === 0) return;
      if (isNew) this.build(); else this.update();
    }

    groups() {
      const groups = new Map();
      for (const name of this.values.keys()) {
        if (name === this.unit) continue;
        const key = name.endsWith("loss") ? "loss" : name;
        groups.set(key, [...(groups.get(key) ?? []), name]);
      }
      if (this.values.has("equity") && !this.values.has("drawdown")) groups.set("drawdown", ["drawdown"]);
      const rank = (key) => ["loss", "equity", "drawdown"].indexOf(key) >>> 0;
      return [...groups].sort(([one], [other]) => rank(one) - rank(other) || one.localeCompare(other));
    }

    points(name) {
      if (name !== "drawdown" || this.values.has(name)) return this.values.get(name);
      let peak = -Infinity;
      const equity = [...this.values.get("equity")].sort(([one], [other]) => one - other);
      return new Map(equity.map(([unit, value]) => [unit, (peak = Math.max(peak, value)) ? value / peak - 1 : 0]));
    }

    columns(names) {
      const maps = names.map((name) => this.points(name));
      const units = [...new Set(maps.flatMap((points) => [...points.keys()]))].sort((one, other) => one - other);
      return [units, ...maps.map((points) => units.map((unit) => {
        const value = points.get(unit);
        return Number.isFinite(value) ? value : null;
      }))];
    }

    build() {
      this.builtFor = this.unit;
      this.markColours = { checkpoint: colour("--ink-soft"), cancel: colour("--cancelling"), attempt: colour("--running") };
      for (const { plot } of this.plots) plot.destroy();
      this.element.replaceChildren();
      this.plots = this.groups().map(([title, names]) => this.chart(title, names));
      this.table();
    }

    chart(title, names) {
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      caption.textContent = title.replaceAll("_", " ");
      const frame = document.createElement("div");
      frame.setAttribute("role", "img");
      figure.append(caption, frame);
      this.element.append(figure);
      const ink = colour("--ink-soft");
      const grid = { stroke: colour("--line"), width: 1 };
      const axis = { stroke: ink, grid, ticks: grid, font: `11px ${token("--sans")}` };
      const plot = new uPlot({
        width: Math.max(frame.clientWidth, 200),
        height: HEIGHT,
        scales: { x: { time: false } },
        cursor: { sync: { key: "units" }, points: { size: 6 } },
        legend: { live: true },
        axes: [
          { ...axis, size: 28, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? shown(tick) : "")) },
          { ...axis, size: 62, values: (_, ticks) => ticks.map(shown) },
        ],
        series: [
          { label: this.unit, value: (_, value) => shown(value) },
          ...names.map((name, place) => ({
            label: name.replaceAll("_", " "),
            stroke: colour(`--series-${(place % 4) + 1}`),
            width: 1.5,
            spanGaps: true,
            paths: STEPWISE.has(name) ? uPlot.paths.stepped({ align: 1 }) : uPlot.paths.linear(),
            points: { show: (self, series) => self.data[series].length < 3, size: 5 },
            value: (_, value) => shown(value),
          })),
        ],
        hooks: { draw: [(self) => this.mark(self)], setCursor: [(self) => this.showLast(self)] },
      }, this.columns(names), frame);
      const found = { plot, frame, title, names };
      this.describe(found);
      new ResizeObserver(() => {
        const width = frame.clientWidth;
        if (width > 0 && width !== plot.width) plot.setSize({ width, height: HEIGHT });
      }).observe(frame);
      return found;
    }

    update() {
      for (const each of this.plots) {
        each.plot.setData(this.columns(each.names));
        this.describe(each);
        this.showLast(each.plot);
      }
      this.table();
    }

    // The legend says the newest values while nobody points at others. Drawing empties it, and then says where the cursor is.
    showLast(plot) {
      if (plot.data[0].length && plot.cursor.idx === null) plot.setLegend({ idx: plot.data[0].length - 1 });
    }

    redraw() {
      for (const { plot } of this.plots) plot.redraw(false);
    }

    describe({ frame, title, names, plot }) {
      const words = names.map((name, place) => {
        const values = plot.data[place + 1].filter((value) => value !== null);
        if (!values.length) return `${name}: no value`;
        const [least, most] = [Math.min(...values), Math.max(...values)];
        return `${name} ${shown(values.at(-1))}, lowest ${shown(least)}, highest ${shown(most)}`;
      });
      frame.setAttribute("aria-label", `${title} over ${this.unit}s: ${words.join("; ")}`);
    }

    mark(plot) {
      const context = plot.ctx;
      const { left, top, width, height } = plot.bbox;
      const ratio = devicePixelRatio;
      context.save();
      for (const { unit, kind } of JSON.parse(document.getElementById("marks").dataset.marks)) {
        const x = plot.valToPos(unit, "x", true);
        if (x < left - 1 || x > left + width + 1) continue;
        context.strokeStyle = context.fillStyle = this.markColours[kind];
        context.lineWidth = ratio;
        if (kind === "checkpoint") {
          context.beginPath();
          context.moveTo(x - 4 * ratio, top + height);
          context.lineTo(x + 4 * ratio, top + height);
          context.lineTo(x, top + height - 7 * ratio);
          context.fill();
        } else {
          context.setLineDash([4 * ratio, 3 * ratio]);
          context.beginPath();
          context.moveTo(x, top);
          context.lineTo(x, top + height);
          context.stroke();
        }
      }
      context.restore();
    }

    // The table is made when it is looked at, and again with what is new while it is open.
    table() {
      const place = document.getElementById("curve-table");
      if (!place.closest("details").open) return;
      const names = [...this.values.keys()].filter((name) => name !== this.unit).sort();
      const [units, ...columns] = this.columns(names);
      const cell = (kind, words, scope) => {
        const made = document.createElement(kind);
        made.textContent = words;
        made.className = "number";
        if (scope) made.scope = scope;
        return made;
      };
      const row = (cells) => {
        const made = document.createElement("tr");
        made.append(...cells);
        return made;
      };
      const [table, head, body] = ["table", "thead", "tbody"].map((kind) => document.createElement(kind));
      head.append(row([this.unit, ...names].map((name) => cell("th", name.replaceAll("_", " "), "col"))));
      for (let index = units.length - 1; index >= Math.max(0, units.length - TABLE_ROWS_MAX); index -= 1) {
        body.append(row([cell("th", shown(units[index]), "row"), ...columns.map((column) => cell("td", shown(column[index])))]));
      }
      table.append(head, body);
      place.replaceChildren(table);
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    const element = document.getElementById("curves");
    if (!element) return;
    const curves = new Curves(element);
    curves.read();
    document.addEventListener("htmx:sseMessage", () => {
      const news = document.getElementById("series-news").dataset;
      if (news.series) curves.take(JSON.parse(news.series));
      else if (news.again && news.again !== element.dataset.read) {
        element.dataset.read = news.again;
        curves.read().then(() => curves.redraw());
      }
    });
    document.addEventListener("milepost:theme", () => curves.build());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => curves.build());
    document.querySelector(".curve-table").addEventListener("toggle", () => curves.table());
  });
})();
