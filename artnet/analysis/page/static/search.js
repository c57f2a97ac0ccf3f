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
    ...keys.map((key) => ({ title: key, words: typeof search.trials[0]?.values[key] !== "number", value: (trial) => trial.values[key], text: (trial) => page.shortValue(trial.values[key]) })),
    { title: "epochs", value: (trial) => trial.epochs, text: (trial) => (trial.epochs === trial.planned ? page.short(trial.epochs) : `${page.short(trial.epochs)} of ${page.short(trial.planned)}`) },
    { title: "state", words: true, value: (trial) => trial.state, text: (trial) => trial.state.replaceAll("_", " ") },
    { title: "from", words: true, value: (trial) => trial.searcher, text: (trial) => trial.searcher ?? "" },
  ];
  const top = ranked.filter((trial) => shape(trial) === "complete").slice(0, 20);
  const legend = page.el("ul", { class: "legend" }, page.el("li", {}, page.dotKey("var(--c0)", true), "complete"), page.el("li", {}, page.dotKey("var(--quiet)", false), "stopped early or not finished, its metric so far"));
  const confirmed = search.confirmed ?? [];
  root.append(
    page.el("p", { class: "note" }, `Ranked on ${search.metric}, which the search looked at: the best of many is too high by chance. Test is shown only for configurations that were confirmed over fresh seeds.`),
    ...(confirmed.length ? [page.el("h3", {}, "Confirmed configurations"), page.confirmed(confirmed)] : []),
    page.el("h3", {}, `The best ${top.length === 1 ? "configuration" : `${top.length} configurations`}`),
    page.table({ name: "The best configurations", columns, rows: top, shown: 20 }),
    page.el("div", { class: "figures" }, page.bestSoFar(search, ranked, unit), search.importance?.length ? page.importance(search.importance) : null),
    page.el("h3", {}, `${page.title(unit)} by each value`),
    legend,
    page.el("div", { class: "figures thirds" }, keys.map((key) => page.scatter(search, scored, key, shape, unit))),
    keys.length > 1 ? page.parallel(search, ranked, keys, unit) : "",
  );
});

page.shortValue = (value) => (typeof value === "number" ? page.short(value) : page.value(value));

page.confirmed = (rows) => {
  const keys = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const text = (value) => (Array.isArray(value) ? value.map(page.shortValue).join(" to ") : value && typeof value === "object" ? Object.entries(value).map(([key, of]) => `${key} ${page.shortValue(of)}`).join(", ") : page.shortValue(value));
  return page.table({ name: "Confirmed configurations", rows, shown: 20, columns: keys.map((key) => ({ title: key.replaceAll("_", " "), words: typeof rows[0][key] !== "number", value: (row) => (typeof row[key] === "object" ? text(row[key]) : row[key]), text: (row) => text(row[key]) })) });
};
