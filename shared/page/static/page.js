// Times in the viewer's zone with UTC beside; selecting all of a table; nothing that a page could not be read or used without.
"use strict";
(() => {
  const zone = new Intl.DateTimeFormat(document.documentElement.lang, {dateStyle: "medium", timeStyle: "short"});
  const near = new Intl.DateTimeFormat(document.documentElement.lang, {timeZoneName: "short"});

  function localTimes(root) {
    for (const one of root.querySelectorAll("time[datetime]:not([data-local])")) {
      const at = new Date(one.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      one.dataset.local = "";
      const utc = one.textContent;
      if (at.getTimezoneOffset() === 0) continue;
      const name = near.formatToParts(at).find((part) => part.type === "timeZoneName");
      one.textContent = `${zone.format(at)} ${name ? name.value : ""} `;
      const beside = document.createElement("small");
      beside.textContent = utc;
      one.append(beside);
    }
  }

  function wholeTables(root) {
    for (const box of root.querySelectorAll("input[type=checkbox][data-all]")) {
      box.hidden = false;
      box.addEventListener("change", () => {
        for (const one of box.form.querySelectorAll(`input[type=checkbox][name="${box.dataset.all}"]`)) one.checked = box.checked;
      });
    }
  }

  function ready(root) {
    localTimes(root);
    wholeTables(root);
  }

  ready(document);
  document.body.addEventListener("htmx:afterSwap", (event) => ready(event.detail.target.parentElement || document));
})();
