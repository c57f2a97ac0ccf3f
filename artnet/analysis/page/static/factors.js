"use strict";
// Factors: what each key of the configuration is worth.

page.section("factors", (root) => {
  const { factors, tasks } = page.data;
  const groups = d3.group(factors, (one) => `${one.kind}\n${one.key}`);
  const rows = [];
  const at = new Map();
  for (const [name, members] of groups) {
    const { kind, key } = members[0];
    rows.push({ heading: page.factorTitle(kind, key) });
    const levels = new Map();
    for (const factor of members)
      for (const effect of factor.effects) {
        const id = `${name}\n${effect.level}\n${effect.against}`;
        if (!levels.has(id)) levels.set(id, { id, label: `${effect.level} against ${effect.against}` });
        at.set(`${id}\n${factor.task}`, effect);
      }
    rows.push(...levels.values());
  }
  const shown = tasks.filter((task) => factors.some((one) => one.task === task));
  root.append(
    page.el("p", { class: "note" }, "What one choice changes, in points of test top-1, averaged over the others: over all combinations of a complete factorial part, else over pairs of models that differ in this key alone."),
    page.forest.legend(false, false),
    page.forest({ tasks: shown, rows, at: (task, row) => at.get(`${row.id}\n${task}`) ?? null, label: "Effects of the factors with their 95 % intervals", axis: "points" }),
    page.numbers(
      ["effect", "task", "kind", "difference", "95 % interval", "pairs"],
      factors.flatMap((one) => one.effects.map((effect) => [
        `${one.key}: ${effect.level} against ${effect.against}`, one.task, one.kind + (one.of ? ` with ${one.of}` : ""), page.points(effect.mean), page.range(effect.low, effect.high), page.count(effect.pairs),
      ])),
    ),
  );
});

page.factorTitle = (kind, key) => {
  const name = key.split(" x ").map((one) => one.split(".").pop().replaceAll("_", " ")).join(" × ");
  return kind === "matched pairs" ? `${name} (pairs)` : name;
};
