// Theme, keys that work everywhere, and commands to copy. No state but what the page shows and one cookie each.
(() => {
  "use strict";
  const YEAR_SECONDS = 31536000;
  const THEMES = ["system", "light", "dark"];

  const keep = (name, value) => {
    document.cookie = `${name}=${value}; path=/; max-age=${YEAR_SECONDS}; samesite=strict`;
  };

  const show = (button, theme) => {
    button.querySelector(".words").textContent = theme[0].toUpperCase() + theme.slice(1);
  };

  const announce = (words) => {
    document.getElementById("announcements").textContent = words;
  };

  const isTyping = (element) => element.matches("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");

  const copy = async (button) => {
    const from = button.dataset.copyFrom;
    await navigator.clipboard.writeText(from ? document.getElementById(from).textContent : button.dataset.copy);
    button.dataset.done = "true";
    announce("Copied");
    setTimeout(() => delete button.dataset.done, 1500);
  };

  document.addEventListener("DOMContentLoaded", () => {
    const root = document.documentElement;
    const button = document.querySelector("[data-theme-switch]");
    show(button, root.dataset.theme);
    button.addEventListener("click", () => {
      const theme = THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % THEMES.length];
      root.dataset.theme = theme;
      keep("milepost-theme", theme);
      show(button, theme);
      document.dispatchEvent(new CustomEvent("milepost:theme"));
    });
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy], [data-copy-from]");
    if (button) copy(button);
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    const search = document.getElementById("search");
    if (!search) return;
    event.preventDefault();
    search.focus();
    search.select();
  });

  window.milepost = { announce, isTyping, keep };
})();
