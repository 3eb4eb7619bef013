// Lets the clocks of a page go on between two pieces of news, keeps opened findings open when a section is
// written again, and says when the connection to this console is lost.
"use strict";
(() => {
  const show = (seconds) => {
    const whole = Math.abs(Math.trunc(seconds));
    const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    const two = (number) => String(number).padStart(2, "0");
    return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
  };

  // The server's time: a reader's clock may be wrong by minutes.
  let ahead = 0;
  const first = document.querySelector("[data-now]");
  if (first) ahead = Number(first.dataset.now) - Date.now();
  const now = () => Date.now() + ahead;

  const write = (root, hand, text) => {
    const place = root.querySelector(`[data-hand=${hand}]`);
    if (place && place.textContent !== text) place.textContent = text;
  };

  const turn = () => {
    const clock = document.querySelector("#clock[data-triggered]");
    if (clock) {
      const { triggered, target, rest, scale, until } = clock.dataset;
      const elapsed = (now() - Number(triggered)) / 1000;
      const left = Number(target) - Math.trunc(elapsed); // the two add up on the screen
      const open = until.split(" ").filter(Boolean).map((end) => Math.max(0, (Number(end) - now()) / 1000));
      write(clock, "elapsed", show(elapsed));
      write(clock, "remaining", show(left));
      write(clock, "side", left < 0 ? "Over by" : "Remaining");
      write(clock, "forecast", show(elapsed + Number(rest) + open.reduce((sum, each) => sum + each, 0)));
      clock.classList.toggle("late", left < 0);
      const x = Math.min(1000, (elapsed / Number(scale)) * 1000);
      const marker = clock.querySelector("[data-hand=now]");
      if (marker) for (const name of ["x1", "x2"]) marker.setAttribute(name, x.toFixed(1));
      const growing = clock.querySelector("[data-grows]");
      if (growing) growing.setAttribute("width", Math.max(1, x - Number(growing.dataset.grows)).toFixed(1));
    }
    for (const each of document.querySelectorAll("[data-since]")) {
      each.textContent = show((now() - Number(each.dataset.since)) / 1000);
    }
  };
  window.setInterval(turn, 250);

  const opened = new Set();
  document.addEventListener("toggle", (event) => {
    const { id, open } = event.target;
    if (id && event.target.isConnected) open ? opened.add(id) : opened.delete(id);
  }, true);
  document.addEventListener("htmx:afterSettle", () => {
    for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
    turn();
  });

  const say = (text) => {
    const place = document.getElementById("connection");
    if (!place) return;
    place.className = text ? "notice" : "";
    if (place.dataset.said === text) return;
    place.dataset.said = text;
    place.textContent = text;
    if (!text) return;
    const again = document.createElement("a");
    again.href = location.pathname;
    again.textContent = "Load the page again";
    place.append(" ", again);
  };
  let lost = null;
  document.addEventListener("htmx:sseError", () => {
    lost ??= new Date(now());
    say(`No connection to this console since ${lost.toISOString().slice(11, 19)} UTC. Runs go on; trying again.`);
  });
  document.addEventListener("htmx:sseOpen", () => {
    lost = null;
    say("");
  });
})();
