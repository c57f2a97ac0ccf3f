"use strict";
// A served page: asks its server for newer results and loads them, with what was chosen and the place kept.

{
  const every = 5000; // ms
  const kept = "artnet.page";
  const controls = () => [...document.querySelectorAll("main select, main input")].filter((one) => one.id);
  const value = (one) => (["checkbox", "radio"].includes(one.type) ? one.checked : one.value);

  const keep = () => sessionStorage.setItem(kept, JSON.stringify({ top: scrollY, values: controls().map((one) => [one.id, value(one)]) }));
  const restore = () => {
    const { top, values } = JSON.parse(sessionStorage.getItem(kept) ?? '{"values":[]}');
    sessionStorage.removeItem(kept);
    for (const [id, of] of values) {
      const one = document.getElementById(id);
      if (!one || value(one) === of || (one.type === "radio" && !of)) continue;
      if (["checkbox", "radio"].includes(one.type)) one.checked = of;
      else one.value = of;
      one.dispatchEvent(new Event(one.type === "search" ? "input" : "change"));
    }
    if (top) scrollTo(0, top);
  };

  let known = null;
  const ask = async () => {
    try {
      const answer = await fetch("version", { cache: "no-store" });
      const version = await answer.text();
      if (answer.ok && known !== null && version !== known && !document.querySelector("dialog[open]")) {
        keep();
        location.reload();
        return;
      }
      if (answer.ok && known === null) known = version;
    } catch {
      // the server has ended: the page stays as it is
    }
    setTimeout(ask, every);
  };
  addEventListener("load", () => (restore(), ask()));
}
