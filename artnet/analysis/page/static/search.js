"use strict";
// Search: the configurations by their metric on val, how the best was found, and what mattered.

page.section("search", (root) => {
  const { search } = page.data;
  page.copyButtons(root);
  const sign = search.goal === "minimize" ? 1 : -1;
  const scored = search.trials.filter((trial) => trial.score !== null && trial.score !== undefined);
  const ranked = d3.sort(scored, (trial) => sign * trial.score);
  const keys = [...new Set(search.trials.flatMap((trial) => Object.keys(trial.values)))].sort((a, b) => share(b) - share(a));
  function share(key) {
    return search.importance?.find(([name]) => name === key)?.[1] ?? -1;
  }
  const shape = (trial) => (trial.state === "complete" ? "complete" : "stopped");
  const run = (trial) => page.data.runs[trial.run];
  const unit = search.unit ? `${search.metric}, ${search.unit}` : search.metric;
  const columns = [
    { title: "rank", value: (trial) => ranked.indexOf(trial), text: (trial) => String(ranked.indexOf(trial) + 1) },
    { title: "run", words: true, value: (trial) => run(trial)?.name, node: (trial) => (run(trial) ? page.el("a", { href: `#run=${encodeURIComponent(run(trial).name)}` }, page.cut(run(trial).name, 60)) : page.el("span", {}, String(trial.n))) },
    { title: unit, value: (trial) => trial.score, text: (trial) => (unit.endsWith("%") ? page.number(trial.score) : page.short(trial.score)) },
    ...keys.map((key) => ({ title: page.keyName(key), words: typeof search.trials[0]?.values[key] !== "number", value: (trial) => trial.values[key], text: (trial) => page.shortValue(trial.values[key]) })),
    { title: "epochs", value: (trial) => trial.epochs, text: (trial) => (trial.epochs === trial.planned ? page.short(trial.epochs) : `${page.short(trial.epochs)} of ${page.short(trial.planned)}`) },
    { title: "state", words: true, value: (trial) => trial.state, text: (trial) => trial.state.replaceAll("_", " ") },
    { title: "from", words: true, value: (trial) => trial.searcher, text: (trial) => trial.searcher ?? "" },
  ];
  const top = ranked.filter((trial) => shape(trial) === "complete").slice(0, 20);
  const legend = page.el("ul", { class: "legend" }, page.el("li", {}, page.dotKey("var(--c0)", true), "complete"), page.el("li", {}, page.dotKey("var(--quiet)", false), "stopped early or not finished, its metric so far"));
  const confirmed = search.confirmed ?? [];
  const importance = (search.importance ?? []).map(([key, of]) => [page.keyName(key), of]);
  root.append(
    page.el("p", { class: "note" }, `Ranked on ${search.metric}, which the search looked at: the best of many is too high by chance. Test is shown only for configurations that were confirmed over other seeds.`),
    ...(confirmed.length ? [page.el("h3", {}, "Confirmed configurations"), page.confirmed(confirmed, unit)] : []),
    page.el("h3", {}, `The best ${top.length === 1 ? "configuration" : `${top.length} configurations`}`),
    page.table({ name: "The best configurations", columns, rows: top, shown: 20 }),
    page.el("div", { class: "figures" }, page.bestSoFar(search, ranked, unit), importance.length ? page.importance(importance) : null),
    page.el("h3", {}, `${unit} by each value`),
    legend,
    page.el("div", { class: "figures thirds" }, keys.map((key) => page.scatter(search, scored, key, shape, unit))),
    keys.length > 1 ? page.parallel(search, ranked, keys, unit) : "",
  );
});

/** The last part of a key, where that names no other one. */
page.keyName = (key) => page.data.search.names?.[key] ?? key;

page.confirmed = (rows, unit) => {
  const tasks = page.data.tasks.filter((task) => rows.some((row) => row.test?.[task]));
  const top1 = (row, task) => {
    const { mean, low, high } = row.test?.[task] ?? {};
    return page.number(mean) + (low === null || low === undefined ? "" : ` (${page.range(low, high, page.number)})`);
  };
  const columns = [
    { title: "configuration", value: (row) => row.n, text: (row) => `#${row.n}` },
    { title: "seeds", value: (row) => row.seeds, text: (row) => row.seeds },
    { title: `${unit}, when chosen`, value: (row) => row.chosen, text: (row) => page.short(row.chosen) },
    { title: `${unit}, over the seeds`, value: (row) => row.score, text: (row) => page.short(row.score) },
    ...tasks.map((task) => ({ title: `${task} test top-1, % (95 % interval)`, value: (row) => row.test?.[task]?.mean, text: (row) => top1(row, task) })),
  ];
  return page.table({ name: "Confirmed configurations", rows, columns, shown: 20 });
};
