"use strict";
// Differences: each model against the baseline, with the seeds in pairs and what was published.

page.section("differences", (root) => {
  const { data } = page;
  const tasks = data.tasks.filter((task) => data.differences[task]?.length);
  const of = Object.fromEntries(tasks.map((task) => [task, new Map(data.differences[task].map((one) => [one.model, one]))]));
  const mean = (model) => d3.mean(tasks, (task) => of[task].get(model)?.mean) ?? -Infinity;
  const models = [...new Set(tasks.flatMap((task) => [...of[task].keys()]))].sort((a, b) => mean(b) - mean(a));
  const every = tasks.flatMap((task) => [...of[task].values()]);
  const methods = [...new Set(every.map((one) => one.method).filter(Boolean))];
  const covers = [...new Set(every.map((one) => one.covers).filter(Boolean))];
  const most = 30;

  root.append(
    page.el(
      "p",
      { class: "note" },
      `Test top-1 in points against ${page.label(data.baseline)}, the highest mean first.`,
      methods.length ? ` Intervals: ${methods.join(", ")}${covers.length ? `; they cover the variation between ${covers.join(" and ")}` : ""}.` : "",
    ),
    page.forest.legend(every.some((one) => one.seeds?.length), every.some((one) => one.published !== null && one.published !== undefined)),
  );
  const place = page.el("div");
  const draw = (shown) =>
    place.replaceChildren(
      page.forest({
        tasks,
        rows: shown.map((model) => ({ model, label: page.label(model) })),
        at: (task, row) => of[task].get(row.model) ?? null,
        label: `Differences to ${page.label(data.baseline)} with their 95 % intervals`,
      }),
      shown.length < models.length ? page.controls.button(`Show all ${models.length} models`, () => draw(models)) : "",
    );
  draw(models.length > most ? models.slice(0, most) : models);
  const rows = models.flatMap((model) => tasks.filter((task) => of[task].has(model)).map((task) => [model, task, of[task].get(model)]));
  root.append(
    place,
    page.numbers(
      ["model", "task", "difference", "95 % interval", "p", "method", "seeds", "published"],
      rows.map(([model, task, one]) => [
        page.label(model), task, page.points(one.mean), page.range(one.low, one.high), one.p === null || one.p === undefined ? "–" : one.p < 0.001 ? "< 0.001" : one.p.toPrecision(2),
        one.method ?? "–", (one.seeds ?? []).map((x) => page.points(x)).join(", ") || "–", page.points(one.published),
      ]),
    ),
  );
});
