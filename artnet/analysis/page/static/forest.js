"use strict";
// A forest plot: differences in points with their intervals about a zero line, a panel for each task on the same scale.

/** `rows` are {label} or {heading}; `at(task, row)` is {mean, low, high, seeds, published} or null. Returns a figure. */
page.forest = ({ tasks, rows, at, label, caption, axis = "points against the baseline" }) => {
  const found = tasks.flatMap((task) => rows.map((row) => (row.heading ? null : at(task, row)))).filter(Boolean);
  const ends = found.flatMap((one) => [one.mean, one.low, one.high, one.published, ...(one.seeds ?? [])]).filter((x) => x !== null && x !== undefined);
  const [low, high] = d3.extent([0, ...ends]);
  const domain = [low - (high - low) * 0.04, high + (high - low) * 0.04];
  const labels = rows.map((row) => row.label ?? "");

  const panel = (task, width, marginLeft, above) => {
    const height = rows.length * (above ? 38 : 23) + 74;
    const dots = rows.map((row, y) => ({ y, row, ...(row.heading ? null : at(task, row)) })).filter((dot) => dot.mean !== undefined && dot.mean !== null);
    const seeds = dots.flatMap((dot) => (dot.seeds ?? []).map((x) => ({ x, y: dot.y })));
    const published = dots.filter((dot) => dot.published !== null && dot.published !== undefined);
    const colour = (dot) => (dot.low > 0 ? "var(--accent)" : dot.high < 0 ? "var(--worse)" : "var(--quiet)");
    const room = above ? width - 60 : marginLeft - 12;
    const text = { textAnchor: "start", frameAnchor: "left", dx: -marginLeft, dy: above ? -16 : 0, lineWidth: room / 12, textOverflow: "ellipsis" };
    return page.plot({
      width, height, marginLeft, marginTop: 30, marginRight: 56, // the figures stand at the right
      x: { domain, label: null },
      y: { type: "band", domain: d3.range(rows.length), axis: null, padding: 0 },
      marks: [
        page.gridX({ ticks: Math.max(2, Math.floor((width - marginLeft) / 70)) }),
        Plot.ruleX([0], { stroke: "var(--ink)", strokeWidth: 1.25 }),
        Plot.axisX({ ticks: Math.max(2, Math.floor((width - marginLeft) / 70)), tickFormat: page.short, tickSize: 0, label: axis, labelAnchor: "center", labelOffset: 36, labelArrow: "none" }),
        Plot.text([page.title(task)], { frameAnchor: "top-left", dy: -24, textAnchor: "start", fontWeight: 600, fontSize: 13 }),
        ...(above || marginLeft > 20
          ? [
              Plot.text(rows.map((row, y) => [row.label, y]).filter(([of]) => of), { text: "0", y: "1", title: "0", ...text }),
              Plot.text(rows.map((row, y) => [row.heading, y]).filter(([of]) => of), { text: "0", y: "1", fontWeight: 600, ...text }),
            ]
          : []),
        Plot.dot(seeds, { x: "x", y: "y", r: 2.5, fill: "var(--quiet)", fillOpacity: 0.75, dy: 6 }),
        Plot.ruleY(dots.filter((dot) => dot.low !== null && dot.low !== undefined), { y: "y", x1: "low", x2: "high", stroke: colour, strokeWidth: 2 }),
        Plot.dot(dots, { x: "mean", y: "y", r: 4.5, fill: colour, stroke: "var(--paper)", strokeWidth: 1.5 }),
        Plot.dot(published, { x: "published", y: "y", r: 4.5, symbol: "diamond", stroke: "var(--ink)", fill: "var(--paper)" }),
        Plot.text(dots, { y: "y", text: (dot) => page.points(dot.mean), frameAnchor: "right", textAnchor: "end", dx: 54, fill: colour }),
        page.tip(dots, { x: "mean", y: "y", title: (dot) => page.forest.words(task, dot) }),
      ],
    });
  };

  const draw = (width) => {
    const one = width < 720;
    if (one) return page.el("div", {}, tasks.map((task) => panel(task, width, 8, true)));
    const margin = page.room(labels, Math.min(260, width * 0.24));
    const each = (width - margin - 16 * (tasks.length - 1)) / tasks.length;
    return page.el("div", { class: "row" }, tasks.map((task, i) => panel(task, i ? each : each + margin, i ? 8 : margin + 8)));
  };
  return page.chart({ label, caption, draw });
};

page.forest.words = (task, dot) =>
  [
    `${dot.row.label}, ${task}`,
    `${page.points(dot.mean)} points (95 % ${page.range(dot.low, dot.high)})`,
    dot.seeds?.length ? `seeds: ${dot.seeds.map((x) => page.points(x)).join(", ")}` : null,
    dot.pairs ? page.plural(dot.pairs, "pair") : null,
    dot.p === null || dot.p === undefined ? null : `p = ${dot.p < 0.001 ? "< 0.001" : dot.p.toPrecision(2)}${dot.method ? `, ${dot.method}` : ""}`,
    dot.published === null || dot.published === undefined ? null : `published: ${page.points(dot.published)}`,
  ]
    .filter(Boolean)
    .join("\n");

/** What the signs of a forest plot mean. */
page.forest.legend = (seeds, published) => {
  const sign = (mark) => {
    const svg = d3.create("svg").attr("viewBox", "0 0 28 12").attr("width", 28).attr("height", 12).attr("aria-hidden", "true");
    if (mark === "mean") {
      svg.append("line").attr("x1", 1).attr("x2", 27).attr("y1", 6).attr("y2", 6).attr("stroke", "var(--accent)").attr("stroke-width", 2);
      svg.append("circle").attr("cx", 14).attr("cy", 6).attr("r", 4).attr("fill", "var(--accent)");
    } else if (mark === "open") {
      svg.append("line").attr("x1", 1).attr("x2", 27).attr("y1", 6).attr("y2", 6).attr("stroke", "var(--quiet)").attr("stroke-width", 2);
      svg.append("circle").attr("cx", 14).attr("cy", 6).attr("r", 4).attr("fill", "var(--quiet)");
    } else if (mark === "seed") svg.append("circle").attr("cx", 14).attr("cy", 6).attr("r", 2.5).attr("fill", "var(--quiet)").attr("fill-opacity", 0.75);
    else svg.append("path").attr("d", "M14,1L19,6L14,11L9,6Z").attr("stroke", "var(--ink)").attr("fill", "none").attr("stroke-width", 1.5);
    return svg.node();
  };
  const entries = [["mean", "mean and 95 % interval without zero"], ["open", "interval with zero"], seeds && ["seed", "a seed, paired"], published && ["published", "published, without an interval"]];
  return page.el("ul", { class: "legend" }, entries.filter(Boolean).map(([mark, text]) => page.el("li", {}, sign(mark), text)));
};
