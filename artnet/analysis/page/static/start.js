"use strict";
// Draws every section, and marks in the contents which one is read.

for (const [name, draw] of page.sections) {
  const root = document.getElementById(name);
  if (!root) continue;
  try {
    draw(root);
  } catch (error) {
    console.error(error);
    root.append(page.el("p", { class: "note" }, `This section cannot be drawn (${error.message}).`)); // the others can
  }
}
page.showRun?.();

const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]));
const mark = () => {
  const read = [...document.querySelectorAll("main > section")].filter((section) => section.getBoundingClientRect().top < innerHeight * 0.35).at(-1);
  const end = innerHeight + scrollY >= document.documentElement.scrollHeight - 2;
  const current = end ? [...links.keys()].at(-1) : (read?.id ?? [...links.keys()][0]);
  for (const [name, link] of links) {
    if (name !== current) link.removeAttribute("aria-current");
    else if (!link.hasAttribute("aria-current")) {
      link.setAttribute("aria-current", "true");
      const list = link.closest("ol");
      if (list.scrollWidth > list.clientWidth) list.scrollTo({ left: link.offsetLeft - list.clientWidth / 3 });
    }
  }
};
addEventListener("scroll", mark, { passive: true });
addEventListener("resize", mark);
mark();
document.documentElement.dataset.ready = "true"; // for those who wait for it
