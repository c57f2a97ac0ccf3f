"use strict";
// Classes: the recall of each, and what is taken for what, of a model or of a difference of two.

page.section("classes", (root) => {
  const { classes, tasks, models } = page.data;
  const known = tasks.filter((task) => classes[task]);
  const best = (task) => d3.maxIndex(models, (_, model) => d3.mean(classes[task].recall[model] ?? [], (one) => one?.[0]) ?? -1);
  const state = { task: known[0], model: best(known[0]), against: null, by: "support" };
  const place = page.el("div");
  const update = () => {
    const commonest = page.commonest(state);
    place.replaceChildren(page.el("div", { class: "pair" }, page.recall(state), page.confusion(state, commonest.show)), commonest);
  };
  const number = (value) => (value === "" ? null : Number(value));
  root.append(
    ...(page.data.missing ?? []).map((text) => page.el("p", { class: "note" }, text)),
    page.controls.bar(
      known.length > 1 ? page.controls.choices("classes-task", "Task", known.map((task) => [task, page.title(task)]), state.task, (task) => ((state.task = task), update())) : null,
      page.controls.model("classes-model", "Model", state.model, (model) => ((state.model = Number(model)), update())),
      page.controls.model("classes-against", "Compared with", state.against ?? "", (model) => ((state.against = number(model)), update()), "nothing"),
      page.controls.select("classes-by", "Classes by", [["support", "number of paintings"], ["recall", "recall"], ["name", "name"]], state.by, (by) => ((state.by = by), update())),
    ),
    place,
  );
  update();
});

/** The positions of a task's classes in the order asked for. */
page.classOrder = ({ task, model, by }) => {
  const { names, support, recall } = page.data.classes[task];
  const keys = { support: (i) => -support[i], recall: (i) => -(recall[model]?.[i]?.[0] ?? -1), name: (i) => names[i] };
  return d3.sort(d3.range(names.length), keys[by]);
};

/** The recall of each class with its interval; of two models beside one another. */
page.recall = (state) => {
  const { names, support, recall } = page.data.classes[state.task];
  const order = page.classOrder(state);
  const compared = state.against !== null && state.against !== state.model;
  const of = (model) => order.map((c, y) => ({ y, c, model, value: recall[model]?.[c] })).filter((one) => one.value && one.value[0] !== null);
  const shown = [of(state.model), compared ? of(state.against) : []];
  const colours = ["var(--c0)", "var(--c1)"];
  const draw = (width) => {
    const marginLeft = page.room(names, Math.min(190, width * 0.36));
    const marginRight = 62;
    const shift = compared ? [-3.5, 3.5] : [0];
    return page.plot({
      width, height: order.length * (compared ? 22 : 20) + 62, marginLeft, marginRight, marginTop: 26,
      x: { domain: [0, 100], label: null }, y: { type: "band", domain: d3.range(order.length), axis: null, padding: 0 },
      marks: [
        page.gridX({ ticks: 5 }),
        Plot.axisX({ ticks: 5, tickSize: 0, label: "recall, %", labelAnchor: "center", labelOffset: 36, labelArrow: "none" }),
        Plot.text(order, { y: (_, i) => i, text: (c) => names[c], title: (c) => names[c], frameAnchor: "left", textAnchor: "start", dx: -marginLeft, lineWidth: (marginLeft - 10) / 12, textOverflow: "ellipsis" }),
        Plot.text(order, { y: (_, i) => i, text: (c) => page.count(support[c]), frameAnchor: "right", textAnchor: "end", dx: marginRight - 4, fill: "var(--quiet)" }),
        Plot.text(["paintings"], { frameAnchor: "top-right", textAnchor: "end", dx: marginRight - 4, dy: -20, fill: "var(--quiet)" }),
        shown.map((dots, i) => [
          Plot.ruleY(dots, { y: "y", x1: (one) => one.value[1], x2: (one) => one.value[2], stroke: colours[i], strokeWidth: 2, dy: shift[i] }),
          Plot.dot(dots, { y: "y", x: (one) => one.value[0], r: 4, fill: colours[i], stroke: "var(--paper)", strokeWidth: 1, symbol: i ? "square" : "circle", dy: shift[i] }),
        ]),
        page.tip(shown.flat(), { y: "y", x: (one) => one.value[0], title: (one) => `${names[one.c]}\n${page.label(one.model)}\nrecall ${page.number(one.value[0])} % (95 % ${page.range(one.value[1], one.value[2], page.number)})\n${page.count(support[one.c])} test paintings` }),
      ],
    });
  };
  const legend = compared && page.el("ul", { class: "legend" }, [state.model, state.against].map((model, i) => page.el("li", {}, page.dotKey(colours[i], true), page.label(model))));
  return page.el(
    "div", {},
    page.el("h3", {}, "Recall of each class"), legend,
    page.chart({ label: `Recall of each class, ${page.label(state.model)}, ${state.task}`, draw }),
    page.numbers(
      ["class", "test paintings", ...[state.model, ...(compared ? [state.against] : [])].map((model) => `recall of ${page.label(model)}, %`)],
      order.map((c) => [names[c], page.count(support[c]), ...[state.model, ...(compared ? [state.against] : [])].map((model) => (recall[model]?.[c] ? `${page.number(recall[model][c][0])} (${page.range(recall[model][c][1], recall[model][c][2], page.number)})` : "–"))]),
    ),
  );
};
