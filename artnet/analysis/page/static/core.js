"use strict";
// What every section uses: the data, elements, numbers as text.

const page = {
  data: JSON.parse(document.getElementById("data").textContent),
  sections: [], // [name, draw(root)]

  /** Register how a section is drawn; `start.js` does it. */
  section(name, draw) {
    page.sections.push([name, draw]);
  },

  /** An element; `on...` attributes are listeners, null and false ones are left out. */
  el(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
    return made;
  },

  label: (model) => page.data.models[model]?.label ?? "",
  minus: (text) => text.replace(/^-/, "−"),
  number: (value, digits = 2) => (value === null || value === undefined ? "–" : page.minus(value.toFixed(digits))),
  points: (value, digits = 2) => (value === null || value === undefined ? "–" : (value > 0 ? "+" : "") + page.number(value, digits)),
  short: (value) => (typeof value === "number" ? page.minus(String(Number(value.toPrecision(4)))) : String(value ?? "–")),
  count: (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en")),
  plural: (count, noun) => `${page.count(count)} ${noun}${count === 1 ? "" : "s"}`,

  /** An interval as text, "3.9 to 6.5". */
  range: (low, high, format = page.points) => (low === null || low === undefined ? "no interval" : `${format(low)} to ${format(high)}`),

  /** The first `length` characters, and an ellipsis if there are more. */
  cut: (text, length) => (text.length > length ? `${text.slice(0, length - 1).trimEnd()}…` : text),

  /** A value of a configuration as text. */
  value(value) {
    if (value === undefined) return "";
    if (value === null) return "none";
    if (Array.isArray(value)) return value.map(page.value).join(", ");
    return typeof value === "object" ? JSON.stringify(value) : String(value);
  },

  /** The same with numbers of four digits, but for whole ones. */
  shortValue: (value) => (typeof value === "number" && !Number.isInteger(value) ? page.short(value) : page.value(value)),

  title: (text) => text.charAt(0).toUpperCase() + text.slice(1),

  colour: (index) => `var(--c${index % 8})`,
  dashes: (index) => ["none", "6 3", "2 2"][Math.floor(index / 8) % 3],

  /** Say in words what an action has done. */
  say(text) {
    const place = document.getElementById("said");
    place.textContent = text;
    clearTimeout(page.saying);
    page.saying = setTimeout(() => (place.textContent = ""), 4000);
  },

  /** Copy text; from a file a browser may refuse the clipboard, then by a selection. */
  async copy(text, what) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = page.el("textarea", { "aria-label": what, class: "skip" });
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    page.say(`Copied as ${what}`);
  },
};
