// Replay: the address follows the scrubber, and Play goes on as soon as the moment before is shown.
(() => {
  "use strict";
  const STEP_MILLISECONDS = 350;

  document.addEventListener("DOMContentLoaded", () => {
    const range = document.getElementById("replay-at");
    if (!range) return;
    const button = document.getElementById("replay-play");
    let timer = null;

    const play = (isPlaying) => {
      clearTimeout(timer);
      timer = isPlaying ? setTimeout(step, STEP_MILLISECONDS) : null;
      button.setAttribute("aria-pressed", String(isPlaying));
      button.querySelector(".words").textContent = isPlaying ? "Pause" : "Play";
    };

    const step = () => {
      if (Number(range.value) >= Number(range.max)) return play(false);
      range.value = Number(range.value) + 1;
      range.dispatchEvent(new Event("input"));
    };

    button.addEventListener("click", () => {
      if (timer === null && range.value === range.max) range.value = 0;
      play(timer === null);
    });

    document.addEventListener("htmx:afterSwap", () => {
      const moment = document.getElementById("moment").dataset;
      history.replaceState(null, "", `?seq=${moment.sequence}`);
      if (timer !== null) play(true);
    });
  });
})();
