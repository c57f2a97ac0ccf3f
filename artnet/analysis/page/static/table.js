"use strict";
// Tables: sorted by a click on a column's title, the first rows shown, all on request and in print.

/**
 * A table of `rows`. Columns are {title, value(row), text(row), words, node(row)}: `value` sorts, `text` is shown, `node` is an element
 * instead of it, `words` aligns left. Returns an element with `update(rows, columns)`.
 */
page.table = ({ name, columns, rows, shown = 25, row: attributes = () => ({}) }) => {
  const box = page.el("div");
  let [sorted, descending, all, printing] = [null, false, false, false];

  const compare = (column) => (one, other) => {
    const [a, b] = [column.value(one), column.value(other)];
    const [none, gone] = [a === null || a === undefined || a === "", b === null || b === undefined || b === ""];
    if (none || gone) return none - gone; // what has no value is last in both orders
    const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
    return descending ? -order : order;
  };
  const sort = (title) => {
    if (sorted === title) [sorted, descending] = descending ? [null, false] : [title, true];
    else [sorted, descending] = [title, false];
    draw();
    [...box.querySelectorAll("thead button")].find((button) => button.textContent === title)?.focus();
  };
  const breakable = (title) => title.split(/(?<=[._])/).flatMap((part, i) => (i ? [page.el("wbr"), part] : [part]));
  const head = (column) =>
    page.el(
      "th",
      { scope: "col", class: column.words ? "words" : null, "aria-sort": sorted === column.title ? (descending ? "descending" : "ascending") : null },
      column.value ? page.controls.button(breakable(column.title), () => sort(column.title)) : column.title,
    );
  const cell = (column, row, first) =>
    page.el(first ? "th" : "td", { scope: first ? "row" : null, class: column.words ? "words" : null }, column.node?.(row) ?? column.text(row));

  const draw = () => {
    const by = columns.find((column) => column.title === sorted);
    const ordered = by ? [...rows].sort(compare(by)) : rows;
    const some = all || printing ? ordered : ordered.slice(0, shown);
    const body = some.map((row) => page.el("tr", attributes(row), columns.map((column, i) => cell(column, row, i === 0))));
    const table = page.el("table", { class: "data" }, page.el("thead", {}, page.el("tr", {}, columns.map(head))), page.el("tbody", {}, body));
    const more = rows.length > shown ? page.controls.button(all ? `Show the first ${shown}` : `Show all ${rows.length}`, () => ((all = !all), draw())) : null;
    box.replaceChildren(
      page.el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": name }, table),
      page.el("div", { class: "foot screen" }, more && page.el("span", {}, `${some.length} of ${rows.length}`), more),
    );
  };
  addEventListener("beforeprint", () => ((printing = true), draw()));
  addEventListener("afterprint", () => ((printing = false), draw()));
  box.update = (next, nextColumns = columns) => (([rows, columns] = [next, nextColumns]), draw());
  draw();
  return box;
};

/** The numbers of a chart as a table, made when it is opened. */
page.numbers = (header, rows) => {
  const made = page.el("details", { class: "numbers screen" }, page.el("summary", {}, "The numbers"));
  made.addEventListener("toggle", () => {
    if (!made.open || made.children.length > 1) return;
    const line = (row) => page.el("tr", {}, row.map((text, i) => page.el(i ? "td" : "th", i ? {} : { scope: "row" }, text)));
    const head = page.el("tr", {}, header.map((text) => page.el("th", { scope: "col" }, text)));
    const table = page.el("table", { class: "data" }, page.el("thead", {}, head), page.el("tbody", {}, rows.map(line)));
    made.append(page.el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "The numbers" }, table));
  });
  return made;
};
