"use strict";
// Calibration: how often a model is right where it is sure, before and after temperature.

page.section("calibration", (root) => {
  const { calibration, tasks, models } = page.data;
  const known = tasks.filter((task) => calibration[task]?.some(Boolean));
  if (!known.length) return;
  const state = { model: d3.maxIndex(models, (_, model) => known.filter((task) => calibration[task][model]).length) };
  const place = page.el("div", { class: "figures" });
  const update = () => place.replaceChildren(...known.map((task) => page.reliability(task, state.model, calibration[task][state.model])));
  const sides = [["var(--c1)", "before temperature"], ["var(--c0)", "after"]];
  root.append(
    page.el("p", { class: "note" }, "Of the answers with a confidence of 80 %, 80 % should be right: points on the dotted line. Bars: how many test paintings fall into each of the bins. The temperature is fitted on val."),
    page.controls.bar(page.controls.model("calibration-model", "Model", state.model, (model) => ((state.model = Number(model)), update()))),
    page.el("ul", { class: "legend" }, sides.map(([colour, text]) => page.el("li", {}, page.dotKey(colour, true), text))),
    place,
    page.numbers(
      ["model", "task", "temperature", "ECE before, %", "ECE after, %"],
      models.flatMap((model, m) => known.filter((task) => calibration[task][m]).map((task) => [model.label, task, page.number(calibration[task][m].temperature, 3), page.number(calibration[task][m].ece), page.number(calibration[task][m].ece_after)])),
    ),
  );
  update();
});

page.reliability = (task, model, found) => {
  if (!found) return page.el("figure", {}, page.el("h3", {}, page.title(task)), page.el("p", { class: "quiet" }, "No predictions of this model are stored."));
  const sides = [[found.bins ?? [], "var(--c1)", "before"], [found.after ?? [], "var(--c0)", "after"]].map(([bins, colour, when]) => ({
    colour, when, bins: bins.filter(([confidence, accuracy, count]) => count && confidence !== null && accuracy !== null).map(([confidence, accuracy, count]) => ({ confidence, accuracy, count, when })),
  }));
  const label = `Reliability of ${page.label(model)}, ${task}`;
  const draw = (width) => {
    const size = Math.min(width, 460);
    const most = d3.max(sides.flatMap((side) => side.bins), (bin) => bin.count) ?? 1;
    const ticks = { ticks: 5, tickSize: 0, labelArrow: "none" };
    const base = { width: size, marginLeft: 44, marginRight: 12 };
    const upper = page.plot({
      ...base, height: size * 0.82, marginBottom: 12, marginTop: 28, x: { domain: [0, 100] }, y: { domain: [0, 100] },
      marks: [
        page.gridY({ ticks: 5 }), page.gridX({ ticks: 5 }), Plot.axisY({ ...ticks, label: "accuracy, %", labelAnchor: "top" }), Plot.axisX({ ...ticks, label: null, tickFormat: () => "" }),
        Plot.line([[0, 0], [100, 100]], { stroke: "var(--quiet)", strokeDasharray: "2 3" }),
        sides.map((side) => Plot.line(side.bins, { x: "confidence", y: "accuracy", stroke: side.colour, strokeWidth: 2 })),
        sides.map((side) => Plot.dot(side.bins, { x: "confidence", y: "accuracy", r: 3.5, fill: side.colour })),
        page.tip(sides.flatMap((side) => side.bins), { x: "confidence", y: "accuracy", title: (bin) => `${bin.when} temperature\nconfidence ${page.number(bin.confidence, 1)} %\naccuracy ${page.number(bin.accuracy, 1)} %\n${page.plural(bin.count, "painting")}` }),
      ],
    });
    const lower = page.plot({
      ...base, height: 108, marginTop: 24, x: { domain: [0, 100] }, y: { domain: [0, most] },
      marks: [
        Plot.axisY({ ...ticks, ticks: 2, label: "paintings", labelAnchor: "top", tickFormat: "~s" }), Plot.axisX({ ...ticks, label: "confidence, %", labelAnchor: "center", labelOffset: 36 }),
        sides.map((side, i) => Plot.ruleX(side.bins, { x: "confidence", y1: 0, y2: "count", stroke: side.colour, strokeWidth: 4, dx: i ? 2.5 : -2.5 })),
        Plot.ruleY([0], { stroke: "var(--edge)" }),
      ],
    });
    return page.el("div", {}, upper, lower);
  };
  return page.chart({ title: page.title(task), label, caption: `ECE ${page.number(found.ece)} % before, ${page.number(found.ece_after)} % after; temperature ${page.number(found.temperature, 3)}.`, draw });
};
