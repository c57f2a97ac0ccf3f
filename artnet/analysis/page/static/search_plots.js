"use strict";
// The charts of a search.

/** The best metric after so many configurations, beside what random draws would have reached. */
page.bestSoFar = (search, ranked, unit) => {
  const last = d3.max(search.trials, (trial) => trial.n) ?? 0;
  const steps = (line) => (line?.length ? [...line, [Math.max(last, line.at(-1)[0]), line.at(-1)[1]]] : []);
  const [best, random] = [steps(search.best_so_far), steps(search.random_best)];
  const draw = (width) => {
    const right = page.room(["this search", ...(random.length ? ["random"] : [])], 110);
    const ends = page.spread([["this search", best, "var(--c0)"], ["random", random, "var(--quiet)"]].filter(([, line]) => line.length).map(([text, line, colour]) => ({ text, colour, x: last, mean: line.at(-1)[1] })), d3.extent([...best, ...random], ([, y]) => y), 240);
    return page.plot({
      width, height: 320, marginTop: 28, marginLeft: 46, marginRight: right, x: { label: null }, y: { label: null, nice: true },
      marks: [
        page.gridY({ ticks: 5 }), Plot.axisY({ ticks: 5, tickSize: 0, label: unit, labelAnchor: "top", labelArrow: "none" }),
        Plot.axisX({ ticks: Math.floor(width / 90), tickSize: 4, label: "configurations", labelAnchor: "center", labelOffset: 36, labelArrow: "none" }),
        Plot.line(random, { stroke: "var(--quiet)", strokeWidth: 1.5, strokeDasharray: "4 3" }),
        Plot.line(best, { stroke: "var(--c0)", strokeWidth: 2, curve: "step-after" }),
        Plot.dot(search.best_so_far ?? [], { r: 3.5, fill: "var(--c0)" }),
        Plot.text(ends, { x: "x", y: "at", text: "text", fill: "colour", textAnchor: "start", dx: 8 }),
        page.tip(search.best_so_far ?? [], { x: "0", y: "1", title: ([n, score]) => `configuration ${n}\n${unit}: ${page.short(score)}` }),
      ],
    });
  };
  return page.chart({ title: "Best so far", label: `Best ${unit} after each configuration`, draw });
};

page.importance = (shares) => {
  const draw = (width) => {
    const marginLeft = page.room(shares.map(([key]) => key), width * 0.45);
    return page.plot({
      width, height: shares.length * 28 + 30, marginLeft, marginRight: 52, marginTop: 8, marginBottom: 8,
      x: { domain: [0, d3.max(shares, ([, share]) => share) || 1], axis: null }, y: { type: "band", domain: shares.map(([key]) => key), axis: null, padding: 0.35 },
      marks: [
        Plot.barX(shares, { x: "1", y: "0", fill: "var(--c0)" }),
        Plot.text(shares, { y: "0", text: "0", frameAnchor: "left", textAnchor: "start", dx: -marginLeft, lineWidth: (marginLeft - 10) / 12, textOverflow: "ellipsis" }),
        Plot.text(shares, { y: "0", x: "1", text: ([, share]) => `${page.number(share, 0)} %`, textAnchor: "start", dx: 6 }),
        Plot.ruleX([0], { stroke: "var(--edge)" }),
      ],
    });
  };
  return page.chart({ title: "Importance", label: "Share of the metric's variation that each key explains", caption: "Share of the variation of the metric over the configurations that each key explains.", draw });
};

/** The metric by the values of one key. */
page.scatter = (search, trials, key, shape, unit) => {
  const kind = page.scaleOf(search, key);
  const having = trials.filter((trial) => trial.values[key] !== undefined && trial.values[key] !== null);
  const place = (trial) => (kind === "category" ? page.value(trial.values[key]) : trial.values[key]);
  const [stopped, complete] = [having.filter((trial) => shape(trial) !== "complete"), having.filter((trial) => shape(trial) === "complete")];
  const draw = (width) =>
    page.plot({
      width, height: 260, marginTop: 26, marginLeft: 44, marginBottom: 46,
      x: kind === "category" ? { type: "point", label: null, padding: 0.5 } : { type: kind, label: null, inset: 8, nice: kind === "linear" }, y: { label: null, nice: true },
      marks: [
        page.gridY({ ticks: 4 }), Plot.axisY({ ticks: 4, tickSize: 0, label: unit, labelAnchor: "top", labelArrow: "none" }),
        Plot.axisX({ ticks: Math.floor(width / 80), tickSize: 4, label: page.keyName(key), labelAnchor: "center", labelOffset: 38, labelArrow: "none", ...(kind === "category" ? { tickFormat: (text) => page.cut(text, 14) } : kind === "log" ? { tickFormat: (x) => (Math.log10(x) % 1 ? "" : page.short(x)) } : { tickFormat: page.short }) }),
        Plot.dot(stopped, { x: place, y: "score", r: 3, stroke: "var(--quiet)", strokeOpacity: 0.8 }),
        Plot.dot(complete, { x: place, y: "score", r: 3.5, fill: "var(--c0)", fillOpacity: 0.8 }),
        page.tip(having, { x: place, y: "score", title: (trial) => page.trialWords(trial, unit) }),
      ],
    });
  return page.chart({ label: `${unit} by ${key}`, draw });
};

/** All configurations as lines over the keys; the best tenth stands out. */
page.parallel = (search, ranked, keys, unit) => {
  const axes = [...keys, unit];
  const spans = axes.map((key) => {
    if (key === unit) return d3.scaleLinear(d3.extent(ranked, (trial) => trial.score), [0, 1]);
    const values = ranked.map((trial) => trial.values[key]).filter((value) => value !== undefined && value !== null);
    if (page.scaleOf(search, key) === "category") return d3.scalePoint([...new Set(values.map(page.value))].sort(), [0, 1]).padding(0.15);
    return (page.scaleOf(search, key) === "log" ? d3.scaleLog : d3.scaleLinear)(d3.extent(values), [0, 1]);
  });
  const at = (trial, i) => {
    const value = axes[i] === unit ? trial.score : trial.values[axes[i]];
    if (value === undefined || value === null) return null;
    return spans[i].padding ? spans[i](page.value(value)) : spans[i](value);
  };
  const titles = axes.map((key) => (key === unit ? unit : page.keyName(key)));
  const best = new Set(ranked.slice(0, Math.max(1, Math.ceil(ranked.length / 10))));
  const points = [...ranked].reverse().flatMap((trial) => axes.map((key, x) => ({ x, y: at(trial, x), trial })));
  const ends = axes.flatMap((key, x) => (spans[x].padding ? spans[x].domain().map((text) => [x, spans[x](text), page.cut(text, 12)]) : spans[x].domain().map((value, end) => [x, end, page.short(value)])));
  const draw = (width) =>
    page.plot({
      width, height: 360, marginLeft: 70, marginRight: 70, marginTop: 44, marginBottom: 22, x: { domain: [0, axes.length - 1], axis: null }, y: { domain: [0, 1], axis: null },
      marks: [
        Plot.line(points, { x: "x", y: "y", z: "trial", stroke: (point) => (best.has(point.trial) ? "var(--c0)" : "var(--quiet)"), strokeOpacity: (point) => (best.has(point.trial) ? 0.9 : 0.66), strokeWidth: (point) => (best.has(point.trial) ? 2 : 0.75) }),
        Plot.ruleX(d3.range(axes.length), { stroke: "var(--ink)" }),
        Plot.text(titles, { x: (_, i) => i, text: (name) => page.cut(name, 24), title: (name) => name, frameAnchor: "top", dy: -34, fontWeight: 600 }),
        Plot.text(ends, { x: "0", y: "1", text: "2", dx: 6, textAnchor: "start", stroke: "var(--paper)", strokeWidth: 4, fill: "currentColor" }),
        page.tip(points.filter((point) => point.y !== null), { x: "x", y: "y", title: (point) => page.trialWords(point.trial, unit) }),
      ],
    });
  return page.chart({ title: "All configurations", label: "Each configuration as a line over its values", caption: "Blue: the best tenth. Each axis runs from the lowest to the highest value drawn.", draw, least: Math.max(110, page.room(titles.map((name) => `${page.cut(name, 24)}  `), 220, 13)) * axes.length });
};

page.scaleOf = (search, key) => search.scales?.[key] ?? (search.trials.every((trial) => typeof (trial.values[key] ?? 0) === "number") ? "linear" : "category");

page.trialWords = (trial, unit) => [`configuration ${trial.n}: ${unit} ${page.short(trial.score)}`, `${trial.state.replaceAll("_", " ")}, ${page.short(trial.epochs)} of ${page.short(trial.planned)} epochs`, ...Object.entries(trial.values).map(([key, value]) => `${page.keyName(key)}: ${page.shortValue(value)}`)].join("\n");
