// Adds the reader's own time to every <time> of the page; the page itself is written in UTC.
"use strict";
(() => {
  const short = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
  const add = (root) => {
    for (const each of root.querySelectorAll("time[datetime]:not([data-local])")) {
      each.dataset.local = "yes";
      const at = new Date(each.dateTime);
      if (at.getTimezoneOffset() === 0) continue;
      if (each.classList.contains("hour")) {
        each.title = `${at.toLocaleString()} on your clock`;
        continue;
      }
      const own = document.createElement("span");
      own.className = "local";
      own.textContent = ` (${short.format(at)})`;
      each.append(own);
    }
  };
  add(document);
  document.addEventListener("htmx:load", (event) => add(event.target.parentElement || document));
})();
