// Times: as ages that grow, or as dates in the reader's zone. The server sends what a <time> says in UTC.
(() => {
  "use strict";
  const STEPS = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
  const DATES = new Intl.DateTimeFormat(undefined, {
    year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
    hourCycle: "h23", timeZoneName: "short",
  });
  let absolute = document.cookie.split("; ").includes("milepost-times=dates");

  const age = (seconds) => {
    if (Math.abs(seconds) < 1) return "now";
    const left = Math.abs(seconds);
    const [length, letter] = STEPS.find(([length]) => left >= length);
    const words = `${Math.floor(left / length)}${letter}`;
    return seconds < 0 ? `in ${words}` : `${words} ago`;
  };

  const show = (element, now = Date.now()) => {
    const time = new Date(element.dateTime);
    const date = DATES.format(time);
    const words = absolute ? date : age((now - time) / 1000);
    if (element.textContent !== words) element.textContent = words;
    if (element.title !== date) element.title = date;
  };

  const showAll = (within = document) => {
    const now = Date.now();
    for (const element of within.querySelectorAll("time[datetime]")) show(element, now);
  };

  const showSwitch = (button) => {
    button.setAttribute("aria-pressed", String(absolute));
    button.querySelector(".words").textContent = absolute ? "Dates" : "Ages";
  };

  // A time that is morphed keeps its words and takes the new moment: no flicker between the two ways of showing it.
  const before = Idiomorph.defaults.callbacks.beforeNodeMorphed;
  Idiomorph.defaults.callbacks.beforeNodeMorphed = (oldNode, newNode) => {
    if (oldNode.nodeName === "TIME" && newNode.nodeName === "TIME") {
      oldNode.dateTime = newNode.dateTime;
      show(oldNode);
      return false;
    }
    return before(oldNode, newNode);
  };
  Idiomorph.defaults.callbacks.afterNodeAdded = (node) => {
    if (node.nodeType === Node.ELEMENT_NODE) showAll(node.parentNode);
  };

  document.addEventListener("DOMContentLoaded", () => {
    showAll();
    const button = document.querySelector("[data-times]");
    showSwitch(button);
    button.addEventListener("click", () => {
      absolute = !absolute;
      window.milepost.keep("milepost-times", absolute ? "dates" : "ages");
      showSwitch(button);
      showAll();
    });
    setInterval(() => { if (!absolute && !document.hidden) showAll(); }, 1000);
  });
  document.addEventListener("htmx:load", (event) => showAll(event.target.parentNode || document));
})();
