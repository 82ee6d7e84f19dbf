// Views of the list that someone gave a name: an address each, kept in this browser. The address is the truth.
(() => {
  "use strict";
  const KEY = "milepost-views";
  const VIEWS_MAX = 50;

  const read = () => {
    try {
      const found = JSON.parse(localStorage.getItem(KEY) ?? "[]");
      return Array.isArray(found) ? found.filter((view) => typeof view.name === "string" && typeof view.query === "string") : [];
    } catch {
      return []; // what something else left there is no view
    }
  };

  const keep = (views) => {
    localStorage.setItem(KEY, JSON.stringify(views));
    show();
  };

  // A page of the list is no view: what is on it moves.
  const here = () => {
    const query = new URLSearchParams(location.search);
    query.delete("cursor");
    return query.toString();
  };

  const item = (view) => {
    const row = document.createElement("li");
    const link = document.createElement("a");
    link.href = view.query ? `${location.pathname}?${view.query}` : location.pathname;
    link.textContent = view.name;
    if (view.query === here()) link.setAttribute("aria-current", "page");
    const forget = document.createElement("button");
    forget.type = "button";
    forget.className = "quiet";
    forget.textContent = "Forget";
    forget.setAttribute("aria-label", `Forget ${view.name}`);
    forget.addEventListener("click", (event) => {
      event.stopPropagation(); // the button is gone when the menu asks whether the click was in it
      keep(read().filter((each) => each.name !== view.name));
      milepost.announce(`${view.name} is forgotten`);
      document.querySelector("#views-save [name=name]").focus();
    });
    row.append(link, forget);
    return row;
  };

  const show = () => {
    const list = document.getElementById("views-own");
    if (!list) return;
    const views = read();
    list.replaceChildren(...views.map(item));
    list.hidden = views.length === 0;
    const current = views.find((view) => view.query === here());
    document.querySelector("#views-menu summary .words").textContent = current ? current.name : "Views";
  };

  document.addEventListener("submit", (event) => {
    if (event.target.id !== "views-save") return;
    event.preventDefault();
    const name = new FormData(event.target).get("name").trim();
    if (!name) return;
    const others = read().filter((view) => view.name !== name);
    keep([...others, { name, query: here() }].slice(-VIEWS_MAX));
    event.target.reset();
    milepost.announce(`${name} is kept`);
  });

  document.addEventListener("DOMContentLoaded", show);
  window.addEventListener("storage", (event) => { if (event.key === KEY) show(); });
})();
