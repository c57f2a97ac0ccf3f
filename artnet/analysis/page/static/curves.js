"use strict";
// Curves: the mean of each model's runs by epoch and their range.

page.section("curves", (root) => {
  const { curves, models, tasks } = page.data;
  const most = 12;
  const metrics = [...new Set(curves.map((curve) => curve.metric))];
  const main = metrics.find((metric) => metric === "val/top1" || tasks.some((task) => metric.startsWith("val") && metric.includes(task) && metric.includes("top1"))) ?? metrics[0];
  const drawn = [...new Set(curves.map((curve) => curve.model))].sort((a, b) => a - b);
  const state = { metric: main, chosen: drawn.slice(0, Math.min(6, most)), find: "" };
  const slot = new Map(); // model -> its colour and dashes, kept while it is shown
  const place = (model) => {
    if (!slot.has(model)) slot.set(model, d3.range(most).find((i) => ![...slot.values()].includes(i)) ?? 0);
    return slot.get(model);
  };
  const colour = (model) => page.colour(place(model));

  const draw = (width) => {
    const lines = state.chosen.map((model) => ({ model, points: page.band(curves.filter((curve) => curve.metric === state.metric && curve.model === model)) })).filter((line) => line.points.length);
    const points = lines.flatMap((line) => line.points.map((point) => ({ ...point, model: line.model })));
    const right = width < 640 ? 12 : page.room(lines.map((line) => page.cut(page.label(line.model), 24)), 190);
    const ends = page.spread(lines.map((line) => ({ model: line.model, ...line.points.at(-1) })), d3.extent(points.flatMap((point) => [point.low, point.high])), 330);
    return page.plot({
      width, height: 400, marginLeft: 46, marginRight: right, marginTop: 28, x: { label: null }, y: { label: null, nice: true },
      marks: [
        page.gridY(), Plot.axisY({ tickSize: 0, label: page.metricUnit(state.metric), labelAnchor: "top", labelArrow: "none" }),
        Plot.axisX({ ticks: page.wholeTicks(points, "x", width / 90), tickFormat: "d", tickSize: 4, label: "epoch", labelAnchor: "center", labelOffset: 36, labelArrow: "none" }),
        lines.map((line) => [
          Plot.areaY(line.points, { x: "x", y1: "low", y2: "high", fill: colour(line.model), fillOpacity: 0.1 }),
          Plot.line(line.points, { x: "x", y: "mean", stroke: colour(line.model), strokeWidth: 2, strokeDasharray: page.dashes(place(line.model)) }),
        ]),
        width < 640 ? null : Plot.text(ends, { x: "x", y: "at", text: (end) => page.cut(page.label(end.model), 24), textAnchor: "start", dx: 8, fill: (end) => colour(end.model) }),
        Plot.ruleX(points, Plot.pointerX({ x: "x", stroke: "var(--edge)" })),
        page.tip(points, { x: "x", y: "mean", title: (point) => `${page.label(point.model)}\nepoch ${page.short(point.x)}: ${page.short(point.mean)}\n${point.n === 1 ? "one run" : `${point.n} runs, ${page.short(point.low)} to ${page.short(point.high)}`}` }),
      ],
    });
  };
  const chart = page.chart({ label: "Learning curves, mean and range of each model's runs", draw });
  const said = page.el("p", { class: "note" });
  const list = page.el("div");
  const update = () => {
    const shown = drawn.filter((model) => state.chosen.includes(model) || page.label(model).toLowerCase().includes(state.find));
    const mark = (model) => (state.chosen.includes(model) ? page.lineKey(colour(model), page.dashes(place(model))) : page.el("span", { class: "key" }));
    const focus = document.activeElement?.id;
    list.replaceChildren(page.controls.checks("curves-models", shown.map((model) => [model, page.cut(models[model].label, 60)]), state.chosen, choose, mark));
    for (const box of list.querySelectorAll("input")) box.disabled = !box.checked && state.chosen.length >= most;
    if (focus?.startsWith("curves-models-")) document.getElementById(focus)?.focus();
    said.textContent = `Line: the mean of a model's runs; band: their lowest and highest. ${state.chosen.length} of ${page.plural(drawn.length, "model")} shown, at most ${most} at once.`;
    chart.redraw();
  };
  const choose = (values) => {
    state.chosen = values.slice(0, most);
    for (const model of slot.keys()) if (!state.chosen.includes(model)) slot.delete(model);
    update();
  };
  root.append(
    said,
    page.controls.bar(
      metrics.length > 1 ? page.controls.select("curves-metric", "Metric", metrics.map((metric) => [metric, metric]), state.metric, (metric) => ((state.metric = metric), chart.redraw())) : null,
      drawn.length > most ? page.controls.search("curves-find", "Find a model", (text) => ((state.find = text), update())) : null,
    ),
    page.el("div", { class: "lines" }, chart, list),
  );
  update();
});

/** Mean, least and greatest value of several curves at each x. */
page.band = (curves) => {
  const values = d3.group(curves.flatMap((curve) => curve.x.map((x, i) => [x, curve.y[i]])).filter(([, y]) => y !== null), ([x]) => x);
  return [...values].sort(([a], [b]) => a - b).map(([x, found]) => {
    const y = found.map(([, value]) => value);
    return { x, mean: d3.mean(y), low: d3.min(y), high: d3.max(y), n: y.length };
  });
};
