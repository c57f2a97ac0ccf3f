"use strict";
// One run whole, at its own address: #run=NAME.

page.showRun = () => {
  const name = location.hash.startsWith("#run=") ? decodeURIComponent(location.hash.slice(5)) : null;
  const run = page.data.runs.find((one) => one.name === name);
  const open = document.querySelector("dialog[open]");
  if (open && open.dataset.run !== name) open.close();
  if (!run || (open && open.dataset.run === name)) return;
  const before = document.activeElement;
  const dialog = page.el("dialog", { "data-run": run.name, "aria-labelledby": "run-title" }, ...page.runParts(run));
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (location.hash === `#run=${encodeURIComponent(run.name)}` || decodeURIComponent(location.hash) === `#run=${run.name}`) history.replaceState(null, "", "#runs");
    before?.focus?.({ preventScroll: true });
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // beside it
  document.body.append(dialog);
  dialog.showModal();
};

page.runParts = (run) => {
  const { data } = page;
  const facts = [
    ["state", run.state.replaceAll("_", " ") + (run.reason ? `: ${run.reason}` : "")],
    ["model", page.label(run.model)],
    ["epochs", page.short(run.epochs)],
    ["hours", page.number(run.hours)],
    ["device", run.device], ["memory", run.memory], ["host", run.host], ["git", run.git],
  ].filter(([, text]) => text && text !== "–");
  const scores = Object.entries(run.scores ?? {}).map(([task, one]) => page.el("tr", {}, page.el("th", { scope: "row" }, task), page.el("td", {}, page.number(one.val)), page.el("td", {}, page.number(one.test))));
  const differs = Object.entries(run.differs ?? {});
  const base = data.config?.base ?? "";
  const yaml = page.yamlWith(base, run.differs ?? {});
  const cells = (names) => page.el("thead", {}, page.el("tr", {}, names.map((text, i) => page.el("th", { scope: "col", class: i ? null : "words" }, text))));
  return [
    page.el("header", {}, page.el("h2", { id: "run-title" }, run.name), page.controls.button("Close", (event) => event.target.closest("dialog").close())),
    page.el("dl", { class: "about" }, facts.flatMap(([name, text]) => [page.el("dt", {}, name), page.el("dd", {}, text)]), run.folder && location.protocol === "file:" ? [page.el("dt", {}, "folder"), page.el("dd", {}, page.el("a", { href: run.folder }, run.folder))] : []),
    ...(scores.length ? [page.el("h3", {}, "Top-1, %"), page.el("table", {}, cells(["task", "val", "test"]), page.el("tbody", {}, scores))] : []),
    page.el("h3", {}, "Against the baseline's configuration"),
    differs.length
      ? page.el("dl", { class: "about" }, differs.flatMap(([key, value]) => [page.el("dt", {}, key), page.el("dd", {}, page.value(value))]))
      : page.el("p", { class: "quiet" }, "No difference."),
    ...(base ? [page.el("details", {}, page.el("summary", {}, "The whole configuration"), page.el("pre", { tabindex: 0 }, ...yaml))] : []),
    ...(run.log ? [page.el("h3", {}, "The end of its log"), page.el("pre", { tabindex: 0 }, run.log)] : []),
  ];
};

/** The lines of a YAML mapping with other values of some dotted keys, which are marked. Keys that it lacks are put at its end. */
page.yamlWith = (base, differs) => {
  const rest = new Map(Object.entries(differs));
  const path = [];
  const made = [];
  let dropping = -1; // the indentation of a key whose old value, a list or a mapping, is left out
  for (const line of base.split("\n")) {
    const [, space, key] = line.match(/^( *)([^\s:#-][^:]*):(?: |$)/) ?? [null, line.match(/^ */)[0], null];
    const indent = space.length;
    if (dropping >= 0 && line.trim() && (indent > dropping || (indent === dropping && line.trim().startsWith("-")))) continue;
    dropping = -1;
    if (key) {
      path.length = Math.floor(indent / 2);
      path.push(key);
    }
    const name = path.join(".");
    if (key && rest.has(name)) {
      made.push(page.el("mark", {}, `${space}${key}: ${JSON.stringify(rest.get(name))}`), "\n");
      rest.delete(name);
      dropping = indent;
    } else made.push(line, "\n");
  }
  for (const [name, value] of rest) made.push(page.el("mark", {}, `${name}: ${JSON.stringify(value)}`), "\n");
  return made;
};

addEventListener("hashchange", page.showRun);
