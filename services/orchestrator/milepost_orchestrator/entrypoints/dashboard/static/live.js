// Whether the page is live. The changes themselves are htmx's: its SSE extension swaps the parts that the server sends.
(() => {
  "use strict";
  const WORDS = { live: "live", off: "not live", lost: "reconnecting" };

  const show = (state) => {
    const element = document.getElementById("connection");
    if (element.dataset.state === state) return;
    element.dataset.state = state;
    element.querySelector(".words").textContent = WORDS[state];
  };

  document.addEventListener("htmx:sseOpen", () => show("live"));
  document.addEventListener("htmx:sseError", () => show("lost"));
  document.addEventListener("htmx:sseClose", () => show("off"));
})();
