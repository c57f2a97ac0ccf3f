"use strict";
// The confusion matrix, its rows of true classes normalised, and the commonest confusions.

page.confusion = (state, show) => {
  const { names, confusion } = page.data.classes[state.task];
  const compared = state.against !== null && state.against !== state.model;
  const [matrix, other] = [confusion[state.model], compared ? confusion[state.against] : null];
  if (!matrix || (compared && !other)) return page.el("p", { class: "quiet" }, "No predictions of this model are stored.");
  const order = page.classOrder(state);
  const cells = order.flatMap((t, y) => order.map((p, x) => ({ x, y, t, p, value: (matrix[t]?.[p] ?? 0) - (other?.[t]?.[p] ?? 0) })));
  const most = compared ? Math.max(1, d3.max(cells, (cell) => Math.abs(cell.value))) : 100;
  const ink = (value) => {
    const share = Math.sqrt(Math.abs(value) / most) * 100; // so that rare confusions are seen
    const colour = value < 0 ? "var(--c1)" : "var(--c0)";
    return `color-mix(in srgb, ${colour} ${share.toFixed(1)}%, var(--wash))`;
  };
  const draw = (width) => {
    const least = names.length * 15 + 130;
    const wide = Math.min(Math.max(width, least), 900);
    const margin = page.room(names, 150, 11);
    const size = Math.min(34, (wide - margin - 8) / order.length);
    const label = { lineWidth: (margin - 10) / 11, textOverflow: "ellipsis", fontSize: 11 };
    const plot = page.plot({
      width: margin + 8 + size * order.length, height: margin + 34 + size * order.length, marginLeft: margin, marginTop: 24, marginRight: 8, marginBottom: margin + 10,
      x: { type: "band", domain: d3.range(order.length), axis: null, padding: 0.04 }, y: { type: "band", domain: d3.range(order.length), axis: null, padding: 0.04 },
      marks: [
        Plot.cell(cells, { x: "x", y: "y", fill: { value: (cell) => ink(cell.value), scale: null } }),
        Plot.text(order, { y: (_, i) => i, text: (c) => names[c], title: (c) => names[c], frameAnchor: "left", textAnchor: "end", dx: -6, ...label }),
        Plot.text(order, { x: (_, i) => i, text: (c) => names[c], title: (c) => names[c], frameAnchor: "bottom", textAnchor: "end", rotate: -90, dy: 6, ...label }),
        Plot.text(["true class ↓, predicted →"], { frameAnchor: "top-left", textAnchor: "start", dy: -18, fill: "var(--quiet)" }),
        page.tip(cells, { x: "x", y: "y", title: (cell) => `${names[cell.t]}\n${cell.t === cell.p ? "recognised" : `taken for ${names[cell.p]}`}: ${compared ? `${page.points(cell.value)} points` : `${page.number(cell.value)} %`}` }),
      ],
    });
    plot.addEventListener("click", () => plot.value && show(plot.value.t, plot.value.p));
    return plot;
  };
  const title = compared ? `Confusion: ${page.label(state.model)} minus ${page.label(state.against)}` : `Confusion of ${page.label(state.model)}`;
  const caption = compared
    ? `Points of the share of each true class, averaged over seeds. Blue: more than with ${page.label(state.against)}; orange: fewer.`
    : "Share of each true class in per cent, averaged over seeds; each row sums to 100. The shade grows with the square root of the share.";
  return page.chart({ title, label: title, caption, draw, least: Math.min(names.length * 15 + 130, 900) });
};

/** The commonest confusions; `show(true, predicted)` shows the paintings of one: thumbnails where the report has them, else keys. */
page.commonest = (state) => {
  const { names, commonest } = page.data.classes[state.task];
  const rows = commonest?.[state.model] ?? [];
  const box = page.el("div");
  box.show = () => {};
  if (!rows.length) return box;
  const shown = page.el("div", { "aria-live": "polite", class: "confused" });
  box.show = (t, p) => {
    if (t === p) return;
    const row = rows.find((one) => one.true === t && one.predicted === p);
    if (!row?.keys?.length) {
      page.say(`Paintings are stored for the ${rows.length} commonest confusions`);
      return;
    }
    const item = (key) => {
      const uri = page.data.thumbnails?.[key];
      return page.el("li", {}, uri ? page.el("img", { src: uri, alt: key, title: key }) : page.el("code", {}, key));
    };
    shown.replaceChildren(page.el("h3", {}, `${names[row.true]}, taken for ${names[row.predicted]}`), page.el("ul", { class: "thumbnails" }, row.keys.map(item)));
    shown.scrollIntoView({ block: "nearest" });
  };
  const columns = [
    { title: "true class", words: true, value: (row) => names[row.true], text: (row) => names[row.true] },
    { title: "taken for", words: true, value: (row) => names[row.predicted], text: (row) => names[row.predicted] },
    { title: "paintings", value: (row) => row.count, text: (row) => page.count(row.count) },
    { title: "of the class, %", value: (row) => row.share, text: (row) => page.number(row.share, 1) },
    { title: "which", node: (row) => (row.keys?.length ? page.controls.button("show", () => box.show(row.true, row.predicted), { class: "link", "aria-label": `Show the paintings of ${names[row.true]} that were taken for ${names[row.predicted]}` }) : page.el("span")) },
  ];
  box.append(page.el("h3", {}, `The commonest confusions of ${page.label(state.model)}`), page.table({ name: "The commonest confusions", columns, rows, shown: 10 }), shown);
  return box;
};
