"use strict";
// Answer: its table, copied for a paper or a note.

page.copyButtons = (root) => {
  if (!page.data.answer?.table.rows.length) return;
  const { header, rows, bold, task } = page.data.answer.table;
  const titles = header.map((title, i) => (task?.[i] ? `${task[i]}: ${title}` : title));
  const buttons = Object.entries(page.formats).map(([name, format]) => page.controls.button(name, () => page.copy(format(titles, rows, bold), name)));
  root.querySelector(".cards").after(page.el("div", { class: "copy" }, page.el("span", {}, "Copy the table as"), buttons));
};

page.section("answer", page.copyButtons);

page.formats = {
  LaTeX(header, rows, bold) {
    const signs = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "±": "$\\pm$", "−": "$-$", "–": "--" };
    const safe = (text) => [...text].map((char) => signs[char] ?? ("&%$#_{}".includes(char) ? `\\${char}` : char)).join("");
    const lines = rows.map((row, r) => row.map((text, c) => (bold[r]?.[c] ? `\\textbf{${safe(text)}}` : safe(text))).join(" & ") + " \\\\");
    const columns = `l${"r".repeat(header.length - 1)}`;
    return [`\\begin{tabular}{${columns}}`, "\\toprule", `${header.map(safe).join(" & ")} \\\\`, "\\midrule", ...lines, "\\bottomrule", "\\end{tabular}", ""].join("\n");
  },
  Markdown(header, rows, bold) {
    const safe = (text) => text.replace(/[\\|*_`<]/g, (char) => `\\${char}`).replace(/[\n\r\u2028\u2029]/g, " ");
    const line = (cells) => `| ${cells.join(" | ")} |`;
    const marked = rows.map((row, r) => line(row.map((text, c) => (bold[r]?.[c] ? `**${safe(text)}**` : safe(text)))));
    return [line(header.map(safe)), line(header.map((_, i) => (i ? "---:" : "---"))), ...marked, ""].join("\n");
  },
  CSV(header, rows) {
    const safe = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    return [header, ...rows].map((row) => row.map(safe).join(",")).join("\r\n") + "\r\n";
  },
};
