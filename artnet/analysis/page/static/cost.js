"use strict";
// Cost and accuracy: what a model's top-1 costs, and which models no other beats at their cost.

page.section("cost", (root) => {
  const { cost, tasks } = page.data;
  const axes = { parameters: ["Parameters", "parameters, millions", 1e-6, 1], gpu_hours: ["GPU-hours", "GPU-hours of training", 1, 1], images_per_s: ["Images/s", "images per second in training", 1, -1] };
  const known = Object.keys(axes).filter((axis) => cost.some((one) => one[axis] !== null && one[axis] !== undefined));
  if (!known.length) return;
  const state = { task: tasks.find((task) => cost.some((one) => one.task === task)), axis: known[0] };

  const points = () => {
    const [, , scale] = axes[state.axis];
    const found = cost.filter((one) => one.task === state.task && one[state.axis] !== null && one[state.axis] !== undefined && one.top1 !== null);
    return found.map((one) => ({ ...one, x: one[state.axis] * scale, device: state.axis === "parameters" ? "" : one.device ?? "unknown device" }));
  };
  /** The points that no other of the same device beats in both, cheapest first. */
  const frontier = (of) => {
    const better = axes[state.axis][3];
    let best = -Infinity;
    return d3.sort(of, (one) => better * one.x, (one) => -one.top1).filter((one) => one.top1 > best && ((best = one.top1), true));
  };
  const draw = (width) => {
    const all = points();
    const devices = [...new Set(all.map((one) => one.device))].sort();
    const colour = (one) => page.colour(devices.indexOf(one.device));
    const lines = devices.map((device) => frontier(all.filter((one) => one.device === device)));
    const [low, high] = d3.extent(all, (one) => one.x);
    const named = lines.flat();
    const right = d3.median(all, (one) => one.x);
    return page.plot({
      width, height: Math.max(320, Math.min(440, width * 0.5)), marginLeft: 46, marginRight: 24, marginTop: 30,
      x: { type: low > 0 && high / low > 20 ? "log" : "linear", label: null, nice: true, inset: 14 },
      y: { label: null, nice: true, inset: 10 },
      marks: [
        page.gridY(), Plot.axisY({ tickSize: 0, label: "test top-1, %", labelArrow: "none", labelAnchor: "top" }),
        Plot.axisX({ ticks: Math.floor(width / 90), tickSize: 4, label: axes[state.axis][1], labelAnchor: "center", labelOffset: 36, labelArrow: "none", tickFormat: page.short }),
        lines.map((line) => Plot.line(line, { x: "x", y: "top1", stroke: line.length ? colour(line[0]) : "none", strokeWidth: 1.5, strokeDasharray: "4 3", curve: axes[state.axis][3] > 0 ? "step-after" : "step-before" })),
        Plot.ruleX(all.filter((one) => one.low !== null && one.low !== undefined), { x: "x", y1: "low", y2: "high", stroke: colour, strokeOpacity: 0.75 }),
        Plot.dot(all, { x: "x", y: "top1", r: 4.5, fill: (one) => (named.includes(one) ? colour(one) : "var(--paper)"), stroke: colour, strokeWidth: 1.75 }),
        [false, true].map((left) =>
          Plot.text(width < 560 ? [] : page.apart(named).filter((one) => one.x > right === left), {
            x: "x", y: "top1", text: (one) => page.cut(page.label(one.model), 28), textAnchor: left ? "end" : "start", dx: left ? -9 : 9, dy: -9, fill: "currentColor", stroke: "var(--paper)", strokeWidth: 4,
          })),
        page.tip(all, { x: "x", y: "top1", title: (one) => [page.label(one.model), `${page.number(one.top1)} % (95 % ${page.range(one.low, one.high, page.number)})`, `${axes[state.axis][1]}: ${page.short(one.x)}`, one.device].filter(Boolean).join("\n") }),
      ],
    });
  };
  const chart = page.chart({ label: "Test top-1 against cost", draw });
  const legend = page.el("ul", { class: "legend" });
  const update = () => {
    const devices = [...new Set(points().map((one) => one.device))].sort();
    const key = (device, i) => page.el("li", {}, page.dotKey(page.colour(i), true), device || "not beaten by a smaller model");
    legend.replaceChildren(...devices.map(key), page.el("li", {}, page.dotKey("var(--quiet)", false), "beaten in both"), page.el("li", { class: "screen" }, "dashed: the Pareto line"));
    chart.redraw();
  };
  root.append(
    page.el("p", { class: "note" }, "A filled point is a model that no other equals in accuracy at its cost. Hours and speed depend on the device: kinds of device are kept apart."),
    page.controls.bar(
      page.controls.task("cost-task", state.task, (task) => ((state.task = task), update())),
      page.controls.choices("cost-axis", "Against", known.map((axis) => [axis, axes[axis][0]]), state.axis, (axis) => ((state.axis = axis), update())),
    ),
    legend,
    chart,
    page.numbers(
      ["model", "task", "test top-1, %", "95 % interval", "parameters", "GPU-hours", "images/s", "device"],
      cost.map((one) => [page.label(one.model), one.task, page.number(one.top1), page.range(one.low, one.high, page.number), page.count(one.parameters), page.short(one.gpu_hours), page.short(one.images_per_s), one.device ?? "–"]),
    ),
  );
  update();
});

/** Those points whose names do not lie over one another: the best of those that are near. */
page.apart = (points) => {
  const [x, y] = ["x", "top1"].map((key) => d3.scaleLinear(d3.extent(points, (one) => one[key]), [0, 1]));
  return d3.sort(points, (one) => -one.top1).reduce((kept, one) => (kept.some((other) => Math.abs(x(one.x) - x(other.x)) < 0.3 && Math.abs(y(one.top1) - y(other.top1)) < 0.07) ? kept : [...kept, one]), []);
};
