"use strict";
// Runs: every one, sorted, filtered, with the columns that are wanted; a click shows one whole.

page.section("runs", (root) => {
  const { runs, reasons, tasks } = page.data;
  const keys = [...new Set(runs.flatMap((run) => Object.keys(run.differs ?? {})))].filter((key) => key !== "seed");
  const score = (split, task) => ({ title: `${task} ${split}, %`, value: (run) => run.scores?.[task]?.[split], text: (run) => page.number(run.scores?.[task]?.[split]) });
  const all = [
    { title: "run", words: true, value: (run) => run.name, node: (run) => page.el("a", { href: `#run=${encodeURIComponent(run.name)}` }, page.cut(run.name, 70)) },
    { title: "model", words: true, value: (run) => page.label(run.model), text: (run) => page.cut(page.label(run.model), 60) },
    { title: "seed", value: (run) => run.seed, text: (run) => page.short(run.seed) },
    { title: "state", words: true, value: (run) => run.state, node: (run) => page.el("span", { class: /complete|stopped early|running|pending|planned|submitting|requeued/.test(run.state) ? null : "bad" }, run.state.replaceAll("_", " ")) },
    ...tasks.map((task) => score("test", task)),
    ...tasks.map((task) => score("val", task)),
    { title: "epochs", value: (run) => run.epochs, text: (run) => page.short(run.epochs) },
    { title: "hours", value: (run) => run.hours, text: (run) => page.number(run.hours) },
    { title: "device", words: true, value: (run) => run.device, text: (run) => run.device || "–" },
    ...keys.map((key) => ({ title: key, words: runs.some((run) => typeof (run.differs?.[key] ?? 0) !== "number"), value: (run) => run.differs?.[key], text: (run) => page.shortValue(run.differs?.[key]) })),
    { title: "reason", words: true, value: (run) => run.reason, text: (run) => page.cut(run.reason || "", 90) },
  ].filter((column) => column.title === "run" || runs.some((run) => ![null, undefined, ""].includes(column.value(run))));
  const search = page.data.kind === "search";
  const usual = (column) => (search ? column.title !== "model" && !column.title.includes(" test") : !column.title.includes(" val") && !keys.includes(column.title)) && column.title !== "device";
  const state = { find: "", state: "", reason: null, columns: all.filter(usual).map((column) => column.title) };

  const kept = () => {
    const words = (run) => [run.name, page.label(run.model), run.state, run.reason, run.device, run.host, ...Object.entries(run.differs ?? {}).map(([key, value]) => `${key}=${page.value(value)}`)].join(" ").toLowerCase();
    return runs.filter((run, i) => (!state.state || run.state === state.state) && (!state.reason || state.reason.runs.includes(i)) && (!state.find || words(run).includes(state.find)));
  };
  const columns = () => all.filter((column) => column.title === "run" || state.columns.includes(column.title));
  const table = page.table({ name: "Runs", columns: columns(), rows: runs });
  const count = page.el("p", { class: "note", role: "status" });
  const update = () => {
    const found = kept();
    table.update(found, columns());
    count.textContent = found.length === runs.length ? "" : `${found.length} of ${page.plural(runs.length, "run")}${state.reason ? `, those with: ${state.reason.reason}` : ""}`;
  };
  const group = (reason) =>
    page.el("li", {}, page.el("span", { class: "count" }, `${reason.count} ×`), page.el("span", {}, reason.reason), page.controls.button(state.reason === reason ? "show all" : "show these", () => ((state.reason = state.reason === reason ? null : reason), groups(), update()), { class: "link screen", "aria-label": `${state.reason === reason ? "Show all" : "Show these"}: ${page.cut(reason.reason, 80)}` }));
  const list = page.el("ul", { class: "reasons" });
  const groups = () => list.replaceChildren(...(reasons ?? []).map(group));
  groups();
  const states = [...new Set(runs.map((run) => run.state))];
  root.append(
    reasons?.length ? page.el("div", {}, page.el("h3", {}, "Why runs have no result"), list) : "",
    page.controls.bar(
      page.controls.search("runs-find", "Find", (text) => ((state.find = text), update())),
      states.length > 1 ? page.controls.select("runs-state", "State", [["", "all"], ...states.map((of) => [of, of.replaceAll("_", " ")])], "", (of) => ((state.state = of), update())) : null,
      page.el("div", { class: "end" }, page.controls.menu("Columns", page.controls.checks("columns", all.slice(1).map((column) => [column.title, column.title]), state.columns, (chosen) => ((state.columns = chosen), update())))),
    ),
    count,
    table,
  );
});
