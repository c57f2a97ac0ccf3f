"use strict";
// Charts: drawn by Plot at the width that there is, and again when it changes.

/** A figure whose drawing is `draw(width)`, an element. `least` is the width in px below which it scrolls in its box. */
page.chart = ({ title, label, caption, draw, least = 0 }) => {
  const drawing = page.el("div", { class: "drawing", ...(least ? { tabindex: 0, role: "group", "aria-label": label } : {}) });
  const figure = page.el("figure", {}, title && page.el("h3", {}, title), drawing, caption && page.el("figcaption", {}, caption));
  let width = 0;
  figure.redraw = () => {
    if (!width) return;
    const made = draw(Math.max(width, least));
    for (const svg of [made, ...made.querySelectorAll("svg")]) if (svg.tagName === "svg") page.describe(svg, label);
    drawing.replaceChildren(made);
  };
  new ResizeObserver(([entry]) => {
    const found = Math.floor(entry.contentRect.width);
    if (found && Math.abs(found - width) > 1) {
      width = found;
      figure.redraw();
    }
  }).observe(drawing);
  return figure;
};

/** Make an image of an SVG for those who do not see it; its numbers are in a table or in the text beside it. */
page.describe = (svg, label) => {
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  for (const part of svg.querySelectorAll("[aria-label]")) part.removeAttribute("aria-label");
};

/** Plot with the page's measures. */
page.plot = (options) =>
  Plot.plot({ className: "plot", marginTop: 22, marginRight: 16, marginBottom: 44, marginLeft: 48, ...options, style: { fontSize: "12px" } });

/** A tip that keeps to the page's colours. */
page.tip = (data, options) =>
  Plot.tip(data, Plot.pointer({ fill: "var(--paper)", stroke: "var(--edge)", fontSize: 12, lineWidth: 34, textPadding: 8, ...options }));

/** Width in px that texts of `size` px need with a gap, at most `most`. */
page.room = (texts, most, size = 12) => {
  const pen = (page.pen ??= document.createElement("canvas").getContext("2d"));
  pen.font = `${size}px ${getComputedStyle(document.body).fontFamily}`;
  return Math.min(most, Math.ceil(d3.max(texts, (text) => pen.measureText(text).width) ?? 0) + 14);
};

/** Thin grid lines. */
page.gridX = (options = {}) => Plot.gridX({ stroke: "var(--rule)", strokeOpacity: 1, ...options });
page.gridY = (options = {}) => Plot.gridY({ stroke: "var(--rule)", strokeOpacity: 1, ...options });

/** Whole numbers for an axis, at most about `most`. */
page.wholeTicks = (points, key, most) => d3.ticks(...(d3.extent(points, (point) => point[key]).map((x) => x ?? 0)), most).filter(Number.isInteger);

/** Where labels at the ends of lines stand, so that none lies over another: at least 15 px apart. */
page.spread = (ends, [low, high], height) => {
  const step = (15 / height) * (high - low || 1);
  const sorted = d3.sort(ends, (end) => end.mean).map((end) => ({ ...end, at: end.mean }));
  for (let i = 1; i < sorted.length; i++) sorted[i].at = Math.max(sorted[i].at, sorted[i - 1].at + step);
  const over = Math.max(0, (sorted.at(-1)?.at ?? 0) - Math.max(high, sorted.at(-1)?.mean ?? 0));
  if (over) for (let i = sorted.length - 1; i >= 0; i--) sorted[i].at = Math.min(sorted[i].at, i === sorted.length - 1 ? sorted[i].at - over : sorted[i + 1].at - step);
  return sorted;
};

page.metricUnit = (metric) => (/top|f1|recall|accuracy/.test(metric) ? `${metric}, %` : metric);

/** A dot for a legend. */
page.dotKey = (colour, filled) => {
  const svg = d3.create("svg").attr("viewBox", "0 0 12 12").attr("width", 12).attr("height", 12).attr("aria-hidden", "true");
  svg.append("circle").attr("cx", 6).attr("cy", 6).attr("r", 4.5).attr("fill", filled ? colour : "none").attr("stroke", colour).attr("stroke-width", 1.75);
  return svg.node();
};

/** A line for a legend. */
page.lineKey = (colour, dashes) => {
  const svg = d3.create("svg").attr("viewBox", "0 0 24 12").attr("class", "key").attr("aria-hidden", "true");
  svg.append("line").attr("x1", 0).attr("x2", 24).attr("y1", 6).attr("y2", 6).attr("stroke", colour).attr("stroke-width", 2.5).attr("stroke-dasharray", dashes);
  return svg.node();
};
