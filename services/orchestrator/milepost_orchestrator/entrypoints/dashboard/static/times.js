// Times: as ages that grow, as dates in the reader's zone, or in UTC; all three are in the hint. The server sends UTC.
(() => {
  "use strict";
  const STEPS = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
  const FORMAT = {
    year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
    hourCycle: "h23", timeZoneName: "short",
  };
  const DATES = new Intl.DateTimeFormat(undefined, FORMAT);
  const UTC = new Intl.DateTimeFormat(undefined, { ...FORMAT, timeZone: "UTC" });
  const WAYS = { ages: "Ages", dates: "Dates", utc: "UTC" };
  const remembered = document.cookie.split("; ").find((each) => each.startsWith("milepost-times="));
  let way = remembered?.split("=")[1];
  if (!(way in WAYS)) way = "ages";

  const age = (seconds) => {
    if (Math.abs(seconds) < 1) return "now";
    const left = Math.abs(seconds);
    const [length, letter] = STEPS.find(([length]) => left >= length);
    const words = `${Math.floor(left / length)}${letter}`;
    return seconds < 0 ? `in ${words}` : `${words} ago`;
  };

  const show = (element, now = Date.now()) => {
    const time = new Date(element.dateTime);
    const words = way === "ages" ? age((now - time) / 1000) : (way === "utc" ? UTC : DATES).format(time);
    if (element.textContent !== words) element.textContent = words;
    if (element.dataset.hinted !== element.dateTime) {
      element.dataset.hinted = element.dateTime;
      element.title = `${DATES.format(time)}, ${UTC.format(time)}`;
    }
  };

  const showAll = (within = document) => {
    const now = Date.now();
    for (const element of within.querySelectorAll("time[datetime]")) show(element, now);
  };

  const showSwitch = (button) => {
    button.setAttribute("aria-label", `Times: ${WAYS[way]}`);
    button.querySelector(".words").textContent = WAYS[way];
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
      const ways = Object.keys(WAYS);
      way = ways[(ways.indexOf(way) + 1) % ways.length];
      window.milepost.keep("milepost-times", way);
      showSwitch(button);
      showAll();
    });
    setInterval(() => { if (way === "ages" && !document.hidden) showAll(); }, 1000);
  });
  document.addEventListener("htmx:load", (event) => showAll(event.target.parentNode || document));
})();
