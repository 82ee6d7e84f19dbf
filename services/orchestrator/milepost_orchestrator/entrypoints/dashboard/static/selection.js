// The selection of the list: rows by mouse or keyboard, or all that match. It is kept here, not in the rows: they come and go.
(() => {
  "use strict";
  const chosen = new Set();
  let matching = false;
  let anchor = null;
  let waiting = false;

  const find = (id) => document.getElementById(id);
  const boxes = () => [...document.querySelectorAll("#rows [data-select]")];
  const count = () => (matching ? Number(find("list").dataset.matching) : chosen.size);
  const whole = (number) => new Intl.NumberFormat("fr", { useGrouping: "always" }).format(number);

  const words = (shown, total) => {
    if (matching) return `All ${whole(total)} that match are selected`;
    if (!chosen.size) return "None selected";
    const gone = chosen.size - shown.filter((box) => box.checked).length;
    return `${whole(chosen.size)} selected${gone ? `, ${whole(gone)} of them no longer shown` : ""}`;
  };

  const set = (element, name, value) => { if (element[name] !== value) element[name] = value; };

  const show = () => {
    waiting = false;
    const bar = find("bulk-bar");
    if (!bar) return;
    const shown = boxes();
    for (const box of shown) set(box, "checked", matching || chosen.has(box.dataset.select));
    const total = Number(find("list").dataset.matching);
    const checked = shown.filter((box) => box.checked).length;
    const head = find("select-shown");
    if (head) {
      set(head, "checked", checked > 0 && checked === shown.length);
      set(head, "indeterminate", checked > 0 && checked < shown.length);
    }
    set(find("bulk-words"), "textContent", words(shown, total));
    set(find("bulk-none"), "hidden", count() === 0);
    set(find("bulk-matching"), "hidden", matching || checked === 0 || checked < shown.length || total <= shown.length);
    set(find("bulk-matching"), "textContent", `Select all ${whole(total)} that match`);
    for (const button of bar.querySelectorAll("[data-bulk]")) set(button, "disabled", count() === 0);
    bar.toggleAttribute("data-selected", count() > 0);
  };

  const soon = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(show);
  };

  const choose = (box, on) => (on ? chosen.add(box.dataset.select) : chosen.delete(box.dataset.select));

  // One row, or with Shift all rows from the one that was chosen last.
  const pick = (box, on, isRange) => {
    if (matching) for (const each of boxes()) choose(each, true);
    matching = false;
    const all = boxes();
    const from = isRange ? all.findIndex((each) => each.dataset.select === anchor) : -1;
    const to = all.indexOf(box);
    const range = from < 0 ? [box] : all.slice(Math.min(from, to), Math.max(from, to) + 1);
    for (const each of range) choose(each, on);
    anchor = box.dataset.select;
    show();
  };

  const clear = () => {
    chosen.clear();
    matching = false;
    show();
  };

  const open = (name) => {
    const dialog = find(`bulk-${name}`);
    const many = count();
    const about = name === "delete" ? `${whole(many)} operation${many === 1 ? "" : "s"}` : whole(many);
    dialog.querySelector("form").reset();
    dialog.querySelector("[data-bulk-count]").textContent = about;
    const outcome = dialog.querySelector("[data-bulk-outcome]");
    outcome.textContent = "Asking what would happen…";
    dialog.showModal();
    htmx.trigger(outcome, "bulk:show");
  };

  const focusRow = (row) => row?.querySelector(".col-name a").focus();

  const step = (row, way) => {
    const rows = boxes().map((box) => box.closest("tr"));
    focusRow(row ? rows[rows.indexOf(row) + way] : rows[0]);
  };

  const keys = {
    j: (row) => step(row, 1),
    k: (row) => step(row, -1),
    x: (row) => row && pick(boxOf(row), !boxOf(row).checked, false),
    X: (row) => row && pick(boxOf(row), true, true),
    Escape: clear,
    c: () => count() && open("cancel"),
    r: () => count() && open("resume"),
    d: () => count() && open("delete"),
  };
  const boxOf = (row) => row.querySelector("[data-select]");

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !find("bulk-bar")) return;
    if (milepost.isTyping(event.target) || document.querySelector("dialog[open]")) return;
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act(event.target.closest("#rows tr"));
  });

  document.addEventListener("click", (event) => {
    const cell = event.target.closest("#rows .col-select");
    if (cell) {
      const box = cell.querySelector("[data-select]");
      pick(box, event.target === box ? box.checked : !box.checked, event.shiftKey);
    } else if (event.target.id === "select-shown") {
      const on = event.target.checked;
      matching = false;
      for (const box of boxes()) choose(box, on);
      show();
    } else if (event.target.id === "bulk-matching") {
      matching = true;
      show();
      find("bulk-open-cancel").focus();
    } else if (event.target.id === "bulk-none") {
      clear();
    } else {
      const button = event.target.closest("[data-bulk]");
      if (button) open(button.dataset.bulk);
    }
  });

  document.addEventListener("htmx:configRequest", (event) => {
    if (!event.target.closest("[data-bulk-form]")) return;
    const { parameters } = event.detail;
    if (!matching) parameters.ids = [...chosen].join(" ");
    else Object.assign(parameters, { matching: "1", q: find("bulk-bar").dataset.search });
  });

  // A number that is typed changes nothing of what would happen.
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-bulk-form] :is([name=confirm], [name=reason])")) event.stopPropagation();
  }, true);

  document.addEventListener("htmx:afterSwap", (event) => {
    const done = event.target.querySelector?.("[data-bulk-done]");
    if (!done) return;
    clear();
    done.focus();
  });

  const before = Idiomorph.defaults.callbacks.beforeNodeMorphed;
  Idiomorph.defaults.callbacks.beforeNodeMorphed = (oldNode, newNode) =>
    oldNode.id === "bulk-bar" || (oldNode.nodeName === "INPUT" && oldNode.closest("#list")) ? false : before(oldNode, newNode);

  document.addEventListener("htmx:sseMessage", soon);
  document.addEventListener("DOMContentLoaded", show);
})();
