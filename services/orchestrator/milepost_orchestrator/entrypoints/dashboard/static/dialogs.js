// Dialogs: those of the page are opened by buttons, the one that asks "are you sure" by htmx before it sends.
(() => {
  "use strict";
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-opens]");
    if (opener) {
      const dialog = document.getElementById(opener.dataset.opens);
      // What the button is about, where one dialog serves many: in its words and in its form.
      for (const place of dialog.querySelectorAll("[data-about]")) {
        place[place.matches("input") ? "value" : "textContent"] = opener.dataset.about;
      }
      dialog.showModal();
    }
    const closer = event.target.closest("[data-closes]");
    if (closer) closer.closest("dialog").close();
  });

  document.addEventListener("htmx:confirm", (event) => {
    if (!event.detail.question) return;
    event.preventDefault();
    const dialog = document.getElementById("confirm");
    document.getElementById("confirm-question").textContent = event.detail.question;
    dialog.returnValue = "no";
    dialog.addEventListener("close", () => {
      if (dialog.returnValue === "yes") event.detail.issueRequest(true);
    }, { once: true });
    dialog.showModal();
    dialog.querySelector("[value=yes]").focus();
  });

  // What is typed beside a choice chooses it.
  document.addEventListener("input", (event) => {
    if (!event.target.matches("[data-chooses]")) return;
    const choice = event.target.parentElement.querySelector("[type=radio]");
    if (choice.checked) return;
    choice.checked = true;
    choice.dispatchEvent(new Event("change", { bubbles: true }));
  });

  // A dialog that has sent its form is done, unless it shows itself what came of it; what came of it is in the page's notice.
  document.addEventListener("htmx:afterRequest", (event) => {
    const dialog = event.target.closest("dialog");
    if (dialog && !("stays" in dialog.dataset)) dialog.close();
  });
})();
